"""Everything that reads what others made is fuzzed: by enumeration, so that no new reader or type is missed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.core import WIRE_KINDS
from consensus import messages, records
from consensus.records import decode_record
from ledger import rows
from ledger.arrival import BODY, GOING
from ledger.registry import KINDS
from p2p import handshake
from rpc.methods.catalogue import METHODS
from sim.mutator import TYPES
from tests.fuzz import victim_fixtures
from tests.fuzz.reader_targets import CONTROL, joined_rows, record_types
from tests.fuzz.reader_targets import rows as stored_rows
from tests.fuzz.targets import TARGETS, seed_inputs
from tests.fuzz.victim_fixtures import examples

PACKAGES = ("primitives", "consensus", "ledger", "p2p", "chainnode", "rpc", "torment")
READS = re.compile(
    r"^(parse|decode|scan|read|load|ingest|verify)(_|$)|^(check_hello|check_event|goodbye_reason)$|_from_json$"
)
GIVEN = ("bytes", "str", "Mapping", "Path", "pathlib.Path", "memoryview")

READERS = {
    "chainnode.analysis.manifest.parse_export_manifest": "proof",
    "chainnode.audit_deadlines.parse_book": "proof",
    "chainnode.audit_findings.parse_findings": "proof",
    "chainnode.audit_state.parse_audit_state": "proof",
    "chainnode.config.load_config": "file",
    "chainnode.config.load_node_config": "file",
    "chainnode.decisions.read_decision": "file",
    "chainnode.founding.read_entry": "file",
    "chainnode.founding.read_genesis": "file",
    "chainnode.files.read_file": "file",
    "chainnode.files.read_secret": "file",
    "chainnode.inspections.read_draw_file": "file",
    "chainnode.inspections.read_draw_secret": "file",
    "chainnode.identity.read_hex_secret": "file",
    "chainnode.identity.read_key": "file",
    "chainnode.identity.read_pairs": "file",
    "chainnode.identity.read_token": "file",
    "chainnode.joining.read_log_key_entry": "file",
    "chainnode.joining.read_source_entry": "file",
    "chainnode.joining.read_ca_entry": "file",
    "chainnode.joining.read_catalogue_entry": "file",
    "chainnode.joining.read_validator_entry": "file",
    "chainnode.ingest.card_network.parse_card_network": "cards",
    "chainnode.ingest.csv_mapping.read_mapping": "mapping",
    "chainnode.ingest.csv_rows.parse_csv": "samples",
    "chainnode.ingest.emvqr.parse_objects": "samples",
    "chainnode.ingest.emvqr.parse_qr": "samples",
    "chainnode.ingest.formats.ingest": "samples",
    "chainnode.ingest.iso8583.parse_iso8583": "samples",
    "chainnode.ingest.iso8583_fields.decode_fields": "card",
    "chainnode.ingest.iso20022.parse_iso20022": "samples",
    "chainnode.ingest.iso20022_xml.read_messages": "samples",
    "chainnode.ingest.json_text.parse_object": "json_event",
    "chainnode.ingest.jsonl.parse_jsonl": "samples",
    "chainnode.ingest.register_rows.read_register_rows": "register",
    "chainnode.interop.stapled.read_stapled_status": "proof",
    "chainnode.disclosing.read_package": "private",
    "chainnode.payloads.read_payload": "private",
    "chainnode.source_outbox.parse_record": "outbox",
    "chainnode.vouchers.read_double_spend": "voucher",
    "chainnode.vouchers.read_vouchers": "voucher",
    "chainnode.vouchers.read_wallet_request": "voucher",
    "chainnode.wal_format.scan": "log",
    "chainnode.watching.parse_state": "proof",
    "chainnode.witness_protocol.parse_add_checkpoint": "witness",
    "chainnode.witness_protocol.parse_size": "witness",
    "consensus.messages.decode_message": "message",
    "consensus.records.decode_record": "record",
    "ledger.archive_manifest.parse_manifest": "archive",
    "ledger.batches.check_event": "event",
    "ledger.batches.parse_batch": "batch",
    "ledger.batches.read_events": "batch",
    "ledger.certificate_history.verify_certificate_history": "proof",
    "ledger.completeness.verify_completeness": "proof",
    "ledger.entry_proofs.verify_entry": "proof",
    "ledger.event_json.event_from_json": "json_event",
    "ledger.event_json.record_from_json": "json_event",
    "ledger.evidence_proofs.proof_from_json": "proof",
    "ledger.forks.parse_fork": "proof",
    "ledger.forks.verify_fork": "proof",
    "ledger.genesis.parse_address": "words",
    "ledger.genesis.parse_genesis": "genesis",
    "ledger.genesis_json.genesis_from_json": "file",
    "ledger.payments_json.statement_from_json": "json_event",
    "ledger.receipts.verify": "proof",
    "ledger.rows.read_row": "store",
    "ledger.mark_codes.parse_mark": "mark",
    "ledger.mark_codes.parse_mark_code": "mark",
    "ledger.snapshots.parse_head": "snapshot",
    "ledger.snapshots.parse_manifest": "snapshot",
    "ledger.status_proofs.verify_status": "proof",
    "ledger.tile_paths.parse_bundle": "proof",
    "ledger.times.parse_date": "words",
    "ledger.times.parse_time": "words",
    "ledger.tlog_proofs.parse_tlog_proof": "proof",
    "ledger.trust_policy.parse_policy": "proof",
    "p2p.certificates.load_private_key": "genesis",
    "p2p.handshake.check_hello": "link",
    "p2p.handshake.goodbye_reason": "link",
    "p2p.gossip.decode_ids": "link",
    "primitives.encoding.decode": "types",
    "primitives.notes.parse_checkpoint": "proof",
    "primitives.notes.parse_note": "proof",
    "primitives.notes.parse_vkey": "proof",
    "rpc.jsonrpc.parse": "body",
    "rpc.resources.parse_tile_path": "words",
    "rpc.streams.parse_place": "words",
    "rpc.types.read_cursor": "words",
    "torment.manifest.read_manifest": "file",
}
"""Every reader, and the target whose seeds run it."""

INSIDE = {
    "chainnode.ingest.iso20022_fields.read_date": "a part of a message that `parse_iso20022` has read",
    "chainnode.ingest.iso20022_fields.read_party": "a part of a message that `parse_iso20022` has read",
    "chainnode.ingest.iso20022_fields.read_uetr": "a part of a message that `parse_iso20022` has read",
    "chainnode.ingest.iso20022_types.read_group_header": "a part of a message that `parse_iso20022` has read",
    "ledger.accreditations.read_accreditation": "a row of the state, which execution wrote",
    "ledger.certificate_records.read_application": "a row of the state, which execution wrote",
    "ledger.certificate_records.read_certificate": "a row of the state, which execution wrote",
    "ledger.inspection_records.read_certificate_inspections": "a row of the state, which execution wrote",
    "ledger.inspection_records.read_inspection": "a row of the state, which execution wrote",
    "ledger.inspection_records.read_report": "a row of the state, which execution wrote",
    "ledger.inspection_records.read_under_way": "a row of the state, which execution wrote",
    "ledger.scheme_records.read_application_scheme": "a row of the state, which execution wrote",
    "ledger.scheme_records.read_certificate_scheme": "a row of the state, which execution wrote",
    "ledger.certificate_versions.read_versions": "rows of the state, which execution wrote",
    "ledger.reconciliation_rows.parse_parties": "a key of the index, which its follower wrote",
    "ledger.totals_rows.parse_key": "a key of the index, which its follower wrote",
    "ledger.reconciliation_rows.read_row": "a row of the index, which its follower wrote",
    "ledger.disclosures.read_disclosure": "a row of the state, which execution wrote",
    "ledger.disclosures.read_disclosures": "a row of the state, which execution wrote",
    "ledger.pairing_keys.read_pairing_keys": "a row of the state, which execution wrote",
    "ledger.voucher_bodies.verify_double_spend": "arithmetic over decoded vouchers; its own tests change them",
    "ledger.wallet_records.read_voucher": "a row of the state, which execution wrote",
    "ledger.wallet_records.read_wallet": "a row of the state, which execution wrote",
    "ledger.governance_records.read_proposal": "a row of the state, which execution wrote",
    "ledger.mark_records.read_count": "a row of the state, which execution wrote",
    "ledger.mark_records.read_license": "a row of the state, which execution wrote",
    "ledger.member_index.read_old_ca": "a row of the state, which execution wrote",
    "ledger.member_index.read_officer": "a row of the state, which execution wrote",
    "ledger.members.read_member": "a row of the state, which execution wrote",
    "ledger.members.read_source": "a row of the state, which execution wrote",
    "ledger.nodes.read_key_use": "a row of the state, which execution wrote",
    "ledger.nodes.read_node": "a row of the state, which execution wrote",
    "ledger.policy_epochs.parse_epoch_line": "a line of a policy that `parse_policy` has read",
    "ledger.register_records.read_imported": "a row of the state, which execution wrote",
    "ledger.register_records.read_register": "a row of the state, which execution wrote",
    "ledger.rows.parse_position": "8 bytes of a key",
    "ledger.rows.parse_witness": "the bytes of a key",
    "ledger.smt.verify_state": "arithmetic over a proof that was decoded; `proof` reaches it with real ones",
    "primitives.keys.verify": "libsodium's verifier, which takes any bytes",
    "primitives.merkle.verify_consistency": "arithmetic over a proof that was decoded",
    "primitives.merkle.verify_inclusion": "arithmetic over a proof that was decoded",
    "torment.checks.read_answers": "what the same run wrote",
}
"""What looks like a reader and is none of others' bytes, with the reason."""


def readers() -> Iterator[tuple[str, FunctionType]]:
    """Yield every public function that by its name and parameters reads bytes, text or a file."""
    for package in PACKAGES:
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if info.name.endswith("__main__"):
                continue
            module = importlib.import_module(info.name)
            for name, item in vars(module).items():
                if inspect.isfunction(item) and item.__module__ == module.__name__ and READS.search(name):
                    given = [_annotation(each) for each in list(inspect.signature(item).parameters.values())[:2]]
                    if any(each.startswith(GIVEN) for each in given):
                        yield f"{info.name}.{name}", item


def _annotation(parameter: inspect.Parameter) -> str:
    said = parameter.annotation
    return said if isinstance(said, str) else str(getattr(said, "__name__", said))


def ran(target: str) -> set[CodeType]:
    """Return the code that a target's seeds run."""
    inputs, found = list(seed_inputs(target)), set()
    TARGETS[target](inputs[0])

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    sys.setprofile(profile)
    try:
        for data in inputs:
            TARGETS[target](data)
    finally:
        sys.setprofile(None)
    return found


def test_every_reader_has_a_target() -> None:
    known = {name for name, _ in readers()}
    assert known - READERS.keys() - INSIDE.keys() == set(), "new readers: fuzz them, and say by which target"
    assert (READERS.keys() | INSIDE.keys()) - known == set(), "readers that are no more"
    assert set(READERS.values()) <= TARGETS.keys()


@pytest.mark.parametrize("target", sorted(set(READERS.values())))
def test_the_seeds_of_a_target_run_the_readers_that_it_stands_for(target: str) -> None:
    found = ran(target)
    missed = [name for name, item in readers() if READERS.get(name) == target and item.__code__ not in found]
    assert missed == []


def test_every_kind_that_crosses_a_link_has_a_target() -> None:
    assert set(WIRE_KINDS) == set(TYPES) == set(victim_fixtures.KINDS)
    assert set(messages.KINDS) <= set(WIRE_KINDS)
    control = {getattr(handshake, name) for name in ("HELLO", "GOODBYE", "PING", "PONG")}
    assert control == set(CONTROL)


def test_every_record_of_the_log_and_every_row_of_the_store_has_a_seed() -> None:
    assert {type(decode_record(data)) for data in seed_inputs("record")} == set(records.TYPES)
    assert rows.__doc__ is not None
    beside = {BODY.decode(), GOING.decode()}  # in a LevelDB of their own, whose values are read as `B` alone
    letters = set(re.findall(r"^    ([a-zA-Z])  ", rows.__doc__, re.MULTILINE)) - beside
    assert {key[:1].decode() for key, _ in (*stored_rows(), *joined_rows()[1])} == letters


def test_every_record_type_kind_of_event_and_method_is_among_the_seeds() -> None:
    assert len(list(seed_inputs("types"))) >= len(record_types()) > 100
    assert {type_ for type_, _ in messages.KINDS.values()} <= set(record_types())
    assert {type_ for spec in KINDS.values() for type_ in spec.schemas.values()} <= set(record_types())
    assert set(records.TYPES) <= set(record_types())
    assert len(list(seed_inputs("body"))) > len(METHODS)


changes = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), st.binary(max_size=9)), max_size=4)


def garbled(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return an input in which, at each edit's place, so many bytes were replaced by others."""
    for at, count, put in edits:
        place = at % (len(data) + 1)
        data = data[:place] + put + data[place + count :]
    return data


@pytest.mark.parametrize("target", sorted(TARGETS))
@given(number=st.integers(0, 1 << 16), edits=changes, other=st.binary(max_size=300))
@examples(40)
def test_whatever_a_target_is_given_is_taken_or_refused(
    target: str, number: int, edits: list[tuple[int, int, bytes]], other: bytes
) -> None:
    inputs = _inputs(target)
    run: Callable[[bytes], None] = TARGETS[target]
    run(garbled(inputs[number % len(inputs)], edits))
    run(other)


_known: dict[str, list[bytes]] = {}


def _inputs(target: str) -> list[bytes]:
    if target not in _known:
        _known[target] = list(seed_inputs(target))
    return _known[target]
