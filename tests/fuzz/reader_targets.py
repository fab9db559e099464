"""Targets for whatever is read of others' making but messages: files, rows of a store, records, proofs, texts, bodies.

Each takes arbitrary bytes, of which the first say what they pose as, and may raise nothing but the errors that the
readers document. Not here: what peers send (`tests.fuzz.targets`), and which reader is run by which target
(`tests.fuzz.test_readers`).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from nacl.public import PublicKey, SealedBox

from chainnode import founding, identity, joining
from chainnode.analysis.layouts import layout_of
from chainnode.analysis.log_walk import entry_places
from chainnode.analysis.manifest import parse_export_manifest
from chainnode.archive_checking import driven
from chainnode.audit_deadlines import parse_book
from chainnode.audit_findings import parse_findings
from chainnode.audit_state import parse_audit_state
from chainnode.config import load_node_config
from chainnode.decisions import Prepared, Upon, read_decision
from chainnode.disclosing import OpenedEvent, OpenedField, Package, SealedPackage, open_package, read_package
from chainnode.ingest.agreement import public_of
from chainnode.ingest.card_network import parse_card_network
from chainnode.ingest.csv_mapping import read_mapping
from chainnode.ingest.formats import FORMATS, Options, ingest
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_fields import DROPPED, Encoding, decode_fields
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.parsed import ParsedPayment
from chainnode.ingest.privacy import PrivateField
from chainnode.ingest.register_rows import ENCODINGS, read_register_rows
from chainnode.ingest.register_rows import FORMATS as REGISTER_FORMATS
from chainnode.inspections import FORMAT, read_draw_file, read_draw_secret
from chainnode.interop.stapled import read_stapled_status
from chainnode.payloads import Payload, PayloadField, read_payload
from chainnode.source_outbox import parse_record
from chainnode.vouchers import proof_document, read_double_spend, read_vouchers, read_wallet_request
from chainnode.watching import parse_state
from chainnode.witness_protocol import cosignature_of, parse_add_checkpoint, parse_size, request_body
from ledger import receipts, status_proofs
from ledger.archive import (
    Anchor,
    ArchiveDamaged,
    BodyPlace,
    SegmentEntry,
    describe,
    read_index,
    segment_name,
    verify_segment,
)
from ledger.archive_manifest import Manifest, manifest_text
from ledger.archive_manifest import parse_manifest as parse_archive_manifest
from ledger.archive_store import ArchivedStore, Pruned, moving_rows
from ledger.archive_writer import SegmentWriter
from ledger.base import NotHere
from ledger.batches import check_event
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.certificate_history import CertificateHistory, verify_certificate_history
from ledger.certificate_history_reading import make_certificate_history
from ledger.certificate_records import certificate_key
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.completeness import verify_completeness
from ledger.completeness_reading import make_completeness
from ledger.disclosure_bodies import PrivateFieldName
from ledger.entry_proofs import verify_entry
from ledger.event_json import event_from_json, record_to_json
from ledger.events import Event
from ledger.evidence_bodies import EVIDENCE_VOTES, SignedVote, VotesEvidence, accused_bytes
from ledger.evidence_proofs import proof_from_json, verify_evidence_proof
from ledger.forks import make_fork, verify_fork
from ledger.fsck import verify_all
from ledger.genesis import Genesis, genesis_bytes, parse_address, parse_genesis
from ledger.genesis_json import genesis_to_json
from ledger.kinds import KindSpec
from ledger.mark_codes import parse_mark, parse_mark_code
from ledger.mark_errors import MarkCodeError
from ledger.payments_json import statement_from_json
from ledger.proof_kinds import kind_of
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.rows import batch_key, finding_key, handover_key
from ledger.snapshots import (
    HEAD_BYTES,
    ChunkEntry,
    Section,
    SnapshotChunk,
    SnapshotRefused,
    file_head,
    parse_head,
    parse_manifest,
    unpack_chunk,
)
from ledger.snapshots_restoring import Restoring
from ledger.store import MemoryStore
from ledger.tile_paths import parse_bundle
from ledger.times import parse_date, parse_time
from ledger.tlog_proofs import parse_tlog_proof
from ledger.trust_policy import parse_policy
from ledger.voucher_bodies import ReportDoubleSpend, Voucher, verify_double_spend, voucher_statement
from ledger.witnessed import checkpoint_for_proof, witnessed_rows
from p2p.certificates import load_private_key
from p2p.gossip import decode_ids
from p2p.handshake import GOODBYE, HELLO, LIMITS_AFTER_HELLO, LIMITS_BEFORE_HELLO, Hello, check_hello, goodbye_reason
from p2p.tls import TrustAnchors
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError, ProofError, StorageError, UsageError
from primitives.ids import Hash, Height
from primitives.keys import SigningKey
from primitives.notes import (
    COSIGNATURE_V1,
    Checkpoint,
    NoteKey,
    assemble_note,
    cosign,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    sign_note,
)
from rpc.errors import RpcError
from rpc.jsonrpc import Call, parse
from rpc.methods.catalogue import METHODS
from rpc.resources import parse_tile_path
from rpc.streams import parse_place
from rpc.types import base64_bytes, read_cursor
from sim.workload import genesis_of
from tests.chainnode.ingest.card_fixtures import ANSWER, PURCHASE, REVERSAL, message
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of
from tests.ledger import chain_fixtures
from tests.ledger.certificate_fixtures import NUMBER, State
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.governance_fixtures import Council
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from torment.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("primitives", "consensus", "ledger", "p2p", "chainnode")
VALUE_SIZE_MAX = 64 * 1024
ENCODINGS_OF_CARDS: tuple[Encoding, ...] = ("ascii", "unionpay", "bcd")
NOW_MS = 1_767_225_600_000
WITNESS = chain_fixtures.key_of("regulator", "witness")


# --- every record that has a canonical form


@cache
def record_types() -> tuple[type[Record], ...]:
    """Return every Record of the project, by name: a new one is fuzzed from the day that it is written."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    found: set[type[Record]] = set()
    waiting: list[type[Record]] = [Record]
    while waiting:
        for type_ in waiting.pop().__subclasses__():
            waiting.append(type_)
            if type_.__module__.split(".")[0] in PACKAGES:
                found.add(type_)
    return tuple(sorted(found, key=lambda type_: (type_.__module__, type_.__qualname__)))


def types(data: bytes) -> None:
    """A record of any type: two bytes choose it."""
    known = record_types()
    type_, payload = known[int.from_bytes(data[:2], "big") % len(known)], data[2:]
    with suppress(EncodingError):
        assert encode(decode(type_, payload, size_max=VALUE_SIZE_MAX)) == payload


def event(data: bytes) -> None:
    """An event: one byte chooses the kind that the rest is a body of, 0 that the rest is the whole event."""
    kinds = sorted(KINDS)
    kind = (0, *kinds)[(data[0] if data else 0) % (len(kinds) + 1)]
    raw = data[1:] if kind == 0 else encode(Event("bank-a", bytes(16), NOW_MS, kind, 1, data[1:]))
    with suppress(InputError):
        check_event(raw)


# --- a store


class HeldBodies:
    """An archive in memory."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}

    def body(self, batch_hash: Hash, height: Height) -> bytes:
        """Return a body that was moved."""
        if batch_hash not in self.held:
            raise Pruned("not here", where=f"block {height}")
        return self.held[batch_hash]


ARCHIVE = HeldBodies()


def _move(memory: MemoryStore, batch_hash: Hash) -> None:
    """Move the body of the batch of block 1."""
    ARCHIVE.held[batch_hash] = memory.get(batch_key(batch_hash)) or b""
    entry = SegmentEntry(segment_name(1, 1, "00" * 32), 1, 1, 1, 262, 1, 260, 1, 1, "00" * 32)
    memory.write(moving_rows(memory, entry, [(batch_hash, 1)], time_ms=NOW_MS, by="operator"), sync=True)


@cache
def chain_of_rows() -> tuple[Genesis, tuple[tuple[bytes, bytes], ...]]:
    """Return the genesis and the rows of a short chain with rows of every kind, a finding among them."""
    memory = MemoryStore()
    ledger = chain_fixtures.Ledger(memory)
    bank, other = ledger.banks["bank-a"], ledger.banks["bank-b"]
    first = ledger.extend(bank.notes(260))
    ledger.extend(other.sets(key="value"))
    text = Checkpoint(ledger.genesis.origin, ledger.chain.log_size, ledger.chain.log_root).text()
    note = assemble_note(text, [sign_note(text, ledger.genesis.origin, chain_fixtures.key_of("bank-a", "log"))])
    memory.write(checkpoint_rows(memory, note), sync=True)
    witness = NoteKey("regulator.example/w", COSIGNATURE_V1, WITNESS.public)
    memory.write(witnessed_rows(note + cosign(text, witness.name, WITNESS, 7), [witness]), sync=True)
    ledger.add(bank.notes(1))
    votes = (SignedVote(bytes([number]) * 32, bytes(64)) for number in (1, 2))
    finding = VotesEvidence(0, 0, 7, 1, 2, *votes)
    memory.write([(finding_key(EVIDENCE_VOTES, accused_bytes(finding)), encode(finding))], sync=True)
    memory.write([(handover_key(0), b"")], sync=True)
    _move(memory, first.batches[0].hash)
    return ledger.genesis, tuple(sorted(memory.rows().items()))


def rows() -> tuple[tuple[bytes, bytes], ...]:
    """Return the rows of a short chain."""
    return chain_of_rows()[1]


@cache
def joined_rows() -> tuple[Genesis, tuple[tuple[bytes, bytes], ...]]:
    """Return the genesis and the rows of a store that was made from a snapshot in a chain's second epoch."""
    council = snapshot_council()
    restored_store = restored(made(council.store, council.genesis), council.genesis)
    return council.genesis, tuple(sorted(restored_store.rows().items()))


@cache
def snapshot_council() -> Council:
    """Return a consortium in its second epoch, with a checkpoint."""
    council = Council()
    council.rekey(1, 1)
    council.block()
    make_stable(council.store, council.genesis, council.set)
    return council


@cache
def snapshot_file() -> bytes:
    """Return a snapshot as a file."""
    council = snapshot_council()
    snapshot = made(council.store, council.genesis)
    manifest = encode(snapshot.manifest)
    return file_head(manifest) + manifest + b"".join(snapshot.chunks)


def store(data: bytes) -> None:
    """A store in which one row was replaced: two bytes choose it, a third says how."""
    _damaged(data, rows(), chain_of_rows()[0], chain_fixtures.KINDS)


def joined(data: bytes) -> None:
    """The same of a store that was made from a snapshot."""
    founding_genesis, held = joined_rows()
    _damaged(data, held, founding_genesis, KINDS)


def snapshot(data: bytes) -> None:
    """A snapshot's file, or where the first byte is 1 a chunk that its manifest names."""
    chain = snapshot_council().genesis
    with suppress(SnapshotRefused):
        if data[:1] == b"\1":
            unpack_chunk(ChunkEntry(len(data) - 1, 4_096, sha256(data[1:]).digest()), data[1:])
            return
        size, name = parse_head(data[:HEAD_BYTES])
        manifest = parse_manifest(data[HEAD_BYTES : HEAD_BYTES + size], name)
        restoring, at = Restoring(chain, manifest), HEAD_BYTES + size
        for entry in manifest.chunks:
            for _ in restoring.take(data[at : at + entry.size]):
                pass
            at += entry.size
        restoring.finish()


def _damaged(
    data: bytes, held: tuple[tuple[bytes, bytes], ...], founding_genesis: Genesis, kinds: Mapping[int, KindSpec]
) -> None:
    key, value = held[int.from_bytes(data[:2], "big") % len(held)]
    how, rest = (data[2] if len(data) > 2 else 0), data[3:]
    if how % 4 == 0:
        value = rest
    elif how % 4 == 1:
        value = value[: how >> 2] + rest + value[(how >> 2) + len(rest) :]
    elif how % 4 == 2:
        key += rest[:16]
    memory = MemoryStore()
    memory.write([*held, (key, None if how % 4 == 3 else value)], sync=True)
    damaged = ArchivedStore(memory, ARCHIVE)
    with suppress(StorageError, NotHere):
        for _ in verify_all(damaged, founding_genesis, kinds):
            pass
    with suppress(StorageError, UsageError):
        Chain(damaged, founding_genesis, kinds)
    with suppress(StorageError, InputError, NotHere):
        reader = LedgerReader(damaged, founding_genesis)
        tip = reader.tip()
        if tip is not None:
            reader.block(int(tip.height) & 0xFFFF)
        reader.checkpoint()
        checkpoint_for_proof(reader)


def outbox(data: bytes) -> None:
    """A record of a gateway's outbox."""
    with suppress(InputError, StorageError):
        parse_record(data, where="outbox")


# --- an archive


@cache
def segment() -> tuple[Hash, bytes, SegmentEntry]:
    """Return a chain id, a good segment of that chain, and its entry."""
    ledger = chain_fixtures.Ledger(MemoryStore())
    writer = SegmentWriter(ledger.genesis.chain_id)
    data = b""
    for count in (3, 30):
        result = ledger.extend(ledger.banks["bank-a"].notes(count))
        committed = LedgerReader(ledger.store, ledger.genesis).committed_block(result.header.height)
        assert committed is not None
        data += writer.add(committed.block, [batch.raw for batch in result.batches])
    end, entry = writer.finish(Anchor("a note", (bytes(32),)))  # type: ignore[arg-type]  # 32 bytes are a hash
    return ledger.genesis.chain_id, data + end, entry


@cache
def segment_bodies() -> tuple[BodyPlace, ...]:
    """Return where the bodies of that segment lie."""
    chain_id, good, entry = segment()
    return read_index(lambda offset, size: good[offset : offset + size], entry, chain_id).bodies


def archive(data: bytes) -> None:
    """A manifest, a segment, or the index of one with a trailer that fits it: the first byte says which."""
    how, rest = (data[0] if data else 0), data[1:]
    chain_id, good, entry = segment()
    if how % 3 == 0:
        with suppress(ArchiveDamaged):
            assert manifest_text(parse_archive_manifest(rest, where="manifest")) == rest
        return
    if how % 3 == 2:
        size = int.from_bytes(good[-40:-32], "big")
        rest = good[: -40 - size] + rest + len(rest).to_bytes(8, "big") + sha256(rest).digest()
    digest = sha256(rest).hexdigest()
    name = segment_name(entry.first_height, entry.last_height, digest)
    listed = msgspec.structs.replace(entry, size=len(rest), sha256=digest, name=name)
    with suppress(ArchiveDamaged):
        found = driven(verify_segment(lambda offset, size: rest[offset : offset + size], listed, chain_id), int)
        assert [block.header.height for block in found.blocks] == [1, 2]
        assert [place.size for place in found.index.bodies] == [place.size for place in segment_bodies()]
        return
    with suppress(ArchiveDamaged):
        describe(lambda offset, size: rest[offset : offset + size], name, len(rest), digest)


# --- files


def _config(path: Path) -> object:
    return load_node_config(path)


FILES: tuple[Callable[[Path], object], ...] = (
    _config,
    founding.read_genesis,
    founding.read_entry,
    read_decision,
    joining.read_validator_entry,
    joining.read_source_entry,
    joining.read_ca_entry,
    joining.read_catalogue_entry,
    joining.read_log_key_entry,
    identity.read_key,
    identity.read_pairs,
    identity.read_token,
    identity.read_hex_secret,
    read_manifest,
    read_draw_file,
    read_draw_secret,
)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="chainnode-fuzz-")


def file(data: bytes) -> None:
    """A file of a home, or one that a person hands in: one byte says which."""
    if not data:
        return
    path = Path(_folder().name) / "file"
    path.touch(mode=0o600)
    path.write_bytes(data[1:])
    with suppress(InputError, StorageError, UsageError):
        FILES[data[0] % len(FILES)](path)


def genesis(data: bytes) -> None:
    """A genesis in its canonical bytes, and a key in PEM."""
    with suppress(InputError):
        assert genesis_bytes(parse_genesis(data)) == data
    with suppress(UsageError):
        load_private_key(data)


# --- what is given to `verify`, and other texts


def proof(data: bytes) -> None:
    """A proof of whatever kind, a fork, a note, a policy, a bundle of entries: all readers of such texts take it."""
    text = data.decode("utf-8", "surrogateescape")
    chain = genesis_of(4)
    policy = proofs().policy
    readers: tuple[Callable[[], object], ...] = (
        lambda: receipts.verify(text, policy),
        lambda: status_proofs.verify_status(text, policy),
        lambda: read_stapled_status(text, policy, NUMBER, None, 0),
        lambda: verify_completeness(text, policy),
        lambda: _true_history(text),
        lambda: verify_evidence_proof(
            proof_from_json(parse_object(data, where="proof", size_max=VALUE_SIZE_MAX, brackets_max=VALUE_SIZE_MAX)),
            chain,
        ),
        lambda: parse_tlog_proof(text),
        lambda: parse_checkpoint(parse_note(text).text),
        lambda: parse_checkpoint(text),
        lambda: parse_vkey(text),
        lambda: parse_policy(text).check(text),
        lambda: verify_fork(text, policy),
        lambda: verify_entry(text, policy),
        lambda: parse_bundle(data, 3),
        lambda: parse_state(data, where="state"),
        lambda: parse_audit_state(data, where="state"),
        lambda: parse_findings(data, where="findings"),
        lambda: parse_book(data, where="book"),
        lambda: parse_export_manifest(data, where="manifest"),
        lambda: layout_of(data),
        lambda: entry_places(data, 3),
    )
    for reader in readers:
        with suppress(InputError):
            reader()


@dataclass(frozen=True)
class Proofs:
    """A proof of each kind of one chain, its policy, and the ids of the events that made its certificate."""

    policy: str
    ids: tuple[bytes, ...]
    texts: tuple[str, ...]


@cache
def proofs() -> Proofs:
    """Return proofs of a certificate that was granted and suspended, on a chain whose validators changed before."""
    chain = Certifying()
    chain.next_epoch(1)
    ids = tuple(bytes(item) for item in chain.bring_to(State.SUSPENDED))
    chain.stable()
    reader, height = chain.reader, chain.chain.height
    history = make_certificate_history(reader, NUMBER, height)
    complete = make_completeness(reader, "cb", 0, height)
    assert history is not None
    assert complete is not None
    receipt, status = (
        receipts.make_receipt(reader, ids[-1]),
        status_proofs.make_status_proof(reader, certificate_key(NUMBER), height),
    )
    assert receipt is not None
    assert status is not None
    return Proofs(chain.policy(0), ids, (receipt, status, complete.proof, history.proof))


def _true_history(text: str) -> None:
    """Whatever is accepted as a page of the certificate's history is one."""
    verdict = verify_certificate_history(text, proofs().policy, NUMBER)
    shown = tuple(bytes(event.event_id) for event in verdict.events)
    assert shown == proofs().ids[verdict.first : verdict.first + len(shown)]
    assert kind_of(text) is CertificateHistory


def words(data: bytes) -> None:
    """A time, a date, an address, a tile's path, a cursor, base64."""
    text = data.decode("utf-8", "replace")
    for reader in (parse_time, parse_date, parse_address):
        with suppress(InputError):
            reader(text)
    parts: tuple[Callable[[], object], ...] = (
        lambda: parse_tile_path(text),
        lambda: read_cursor(text, "cert_list", tuple[int, str]),
        lambda: base64_bytes(text, "$"),
        lambda: parse_place(text, bytes(32), "events"),
    )
    for read in parts:
        with suppress(RpcError):
            read()


def mark(data: bytes) -> None:
    """What somebody's QR code says: taken only in the one way in which it is written."""
    text = data.decode("utf-8", "replace")
    with suppress(MarkCodeError):
        code = parse_mark_code(text)
        assert code.text == text
        assert parse_mark(code.number, code.mark).hash == code.hash
    with suppress(MarkCodeError):
        assert parse_mark("FTP-2026-06-000001", text).mark == text


# --- bodies


def body(data: bytes) -> None:
    """The body of an HTTP request: calls of every method with whatever parameters."""
    try:
        request = parse(data)
    except RpcError:
        return
    for call in request.calls:
        method = METHODS.get(call.method) if isinstance(call, Call) else None
        if isinstance(call, Call) and method is not None and call.params is not None:
            with suppress(msgspec.MsgspecError):
                method.decoder.decode(call.params)


def json_event(data: bytes) -> None:
    """An event, or the body of a payment statement, in JSON."""
    with suppress(InputError):
        value = parse_object(data, where="event", size_max=VALUE_SIZE_MAX)
        with suppress(InputError):
            event_from_json(value)
        statement_from_json(value)


def samples(data: bytes) -> None:
    """A file of payments: one byte chooses the format that it is taken for."""
    name = ("auto", *FORMATS)[(data[0] if data else 0) % (len(FORMATS) + 1)]
    with suppress(InputError):
        ingest(data[1:], _context(), where="fuzz", format_name=name, options=Options(skip_bad=bool(data[:1] > b"\x7f")))


def card(data: bytes) -> None:
    """A card message: one byte chooses how it is written and padded; and the same bytes as a file."""
    first = data[0] if data else 0
    encoding, padding = ENCODINGS_OF_CARDS[first % 3], ("right", "left")[first // 3 % 2]
    with suppress(InputError):
        fields = decode_fields(data[1:], encoding, padding)  # type: ignore[arg-type]  # one of the two
        assert fields.keys().isdisjoint(DROPPED)
    for found in parse_iso8583(data[1:], _context(), where="fuzz", leaves_out=lambda _: True):
        assert isinstance(found, InputError | ParsedPayment)


def cards(data: bytes) -> None:
    """The file of a bank's card network."""
    with suppress(InputError):
        parse_card_network(data, where="cards.json")


def private(data: bytes) -> None:
    """What a bank kept of a payment, a package that it sealed, and what is in one, as its asker opens it."""
    with suppress(InputError):
        read_payload(data)
    with suppress(InputError):
        read_package(data)
    secret_key = bytes(range(32))
    key = public_of(secret_key)
    for sealed in (data, encode(SealedPackage(1, b"", key, SealedBox(PublicKey(key)).encrypt(data)))):
        with suppress(InputError, UsageError):
            open_package(sealed, secret_key, proofs().policy)


def mapping(data: bytes) -> None:
    """What the columns of a CSV file mean, a zero byte, and such a file."""
    meaning, _, rows = data.partition(b"\0")
    with suppress(InputError):
        options = Options(skip_bad=True, mapping=read_mapping(meaning, where="mapping.toml"))
        ingest(rows, _context(), where="fuzz", options=options)


def voucher(data: bytes) -> None:
    """Files of vouchers, a wallet's request, a proof of double spending."""
    for reader in (read_vouchers, read_wallet_request):
        with suppress(InputError):
            reader(data, where="file")
    with suppress(InputError):
        verify_double_spend(*read_double_spend(data, where="file"))


def register(data: bytes) -> None:
    """A register's file: one byte chooses format and encoding, and whether a column is mapped."""
    first = data[0] if data else 0
    with suppress(InputError):
        read_register_rows(
            data[1:],
            where="fuzz",
            body="cb",
            catalogues=PUBLISHED_CATALOGUES,
            form=REGISTER_FORMATS[first % len(REGISTER_FORMATS)],
            encoding=ENCODINGS[first // 64 % len(ENCODINGS)],
            mapping={"no": "number"} if first & 32 else None,
        )


@cache
def _context() -> Any:
    return context_of("bank-a")


# --- the first frames of a link


OWN = Hello(1, 1, bytes(32), "bank-0", bytes(8), "chainnode/0", b"")
CONTROL = {**LIMITS_BEFORE_HELLO, **LIMITS_AFTER_HELLO}


def link(data: bytes) -> None:
    """A peer's HELLO, GOODBYE, and the certificate that it shows."""
    with suppress(InputError):
        check_hello(data, own=OWN, certified_name="bank-1")
    goodbye_reason(data)
    with suppress(InputError):
        decode_ids(data)
    with suppress(InputError):
        _anchors().identify(data, NOW_MS)


@cache
def _anchors() -> TrustAnchors:
    return TrustAnchors({}, bytes(32))


def witness(data: bytes) -> None:
    """What a log sends to a witness, and what the witness answers."""
    for reader in (
        parse_add_checkpoint,
        parse_size,
        lambda answer: cosignature_of(_checkpoint_note(), answer, NoteKey("w", COSIGNATURE_V1, bytes(32))),
    ):
        with suppress(ProofError):
            reader(data)


@cache
def _checkpoint_note() -> str:
    text = Checkpoint("log.example/one", 3, Hash(bytes(32))).text()
    return assemble_note(text, [sign_note(text, "log.example/one", chain_fixtures.key_of("bank-a", "log"))])


READER_TARGETS: dict[str, Callable[[bytes], None]] = {
    "types": types,
    "event": event,
    "store": store,
    "joined": joined,
    "snapshot": snapshot,
    "outbox": outbox,
    "archive": archive,
    "file": file,
    "genesis": genesis,
    "proof": proof,
    "words": words,
    "mark": mark,
    "body": body,
    "json_event": json_event,
    "register": register,
    "samples": samples,
    "card": card,
    "cards": cards,
    "private": private,
    "voucher": voucher,
    "mapping": mapping,
    "link": link,
    "witness": witness,
}


def reader_seeds(target: str) -> Iterator[bytes]:
    """Return inputs of a target that reach past its first door."""
    match target:
        case "types":
            yield from (index.to_bytes(2, "big") + b"\x90" for index in range(len(record_types())))
            for name, value in _records():
                yield record_types().index(name).to_bytes(2, "big") + value
        case "event":
            yield from (bytes([index]) + b"\x91\x00" for index in range(len(KINDS) + 1))
            yield b"\0" + encode(Event("bank-a", bytes(16), NOW_MS, 32, 1, b""))
        case "store":
            last = {key[:1]: place for place, (key, _) in enumerate(rows())}
            for place in last.values():
                yield from (place.to_bytes(2, "big") + bytes([how, 0x90]) for how in (0, 3))
        case "joined":
            last = {key[:1]: place for place, (key, _) in enumerate(joined_rows()[1])}
            for place in last.values():
                yield from (place.to_bytes(2, "big") + bytes([how, 0x90]) for how in (0, 3))
        case "snapshot":
            yield snapshot_file()
            yield snapshot_file()[:-1]
            yield b"\1" + zlib.compress(encode(SnapshotChunk(Section.STATE, (b"x",))))
        case "archive":
            chain_id, good, entry = segment()
            yield b"\0" + manifest_text(Manifest(chain_id, (entry,)))
            yield b"\1" + good
            yield b"\2" + good[-40 - int.from_bytes(good[-40:-32], "big") : -40]
        case "outbox":
            yield from (b"M" + encode((3, bytes(32))), b"Bbatch", b"?")
        case "file":
            yield from (bytes([index]) + data for index, data in enumerate(_files()))
            yield from (bytes([index]) + b"{}" for index in range(len(FILES)))
            yield bytes([FILES.index(read_draw_file)]) + _draw_file()
            secret = {"chain_id": "00" * 32, "draw": "cb.1", "member": "cb", "secret": "11" * 32}
            yield bytes([FILES.index(read_draw_secret)]) + json.dumps(secret).encode()
        case "genesis":
            yield genesis_bytes(genesis_of(4))
            yield b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"
        case "proof":
            chain = genesis_of(4)
            yield proofs().policy.encode()
            yield from (text.encode() for text in proofs().texts)
            yield b"log x+01020304+AQ==\n#chainnode epoch 0 from 1 kgCQ\nquorum none\n"
            yield f"{chain.origin}\n5\n{'A' * 43}=\n\n\u2014 {chain.origin} {'A' * 88}\n".encode()
            yield f"c2sp.org/tlog-proof@v1\nextra AAAA\nindex 1\n\n{chain.origin}\n5\n{'A' * 43}=\n".encode()
            note = f"{chain.origin}\n5\n{'A' * 43}=\n\n\u2014 {chain.origin} {'A' * 88}\n"
            yield make_fork(note, note, ()).text().encode()
            yield b"\0\1x\0\0\0\2yz"
            yield b'{"policy": "quorum none", "note": "", "handovers": ["AAAA"]}'
            yield b'{"version": 1, "number": 0}'
            yield b"name+01020304+AQIDBA=="
        case "words":
            texts = (
                "2026-01-01T00:00:00Z",
                "2026-01-01",
                "host:1",
                "[::1]:65535",
                "tile/0/x001/067.p/3",
                "wqhjZXJ0",
                "YQ==",
            )
            yield from (text.encode() for text in texts)
        case "mark":
            said = "1.0011223344556677.00112233445566778899aabbccddeeff"
            for number in (
                "FTP-2026-06-000001",
                "FTP-2026-O6-00000l",
                "\u0424TP-2026-06-000001",
                "FTP-2026-06-00000\uff11",
            ):
                yield f"https://ledger.example:7401/explorer/certificate/{number}?mark={said}".encode()
            yield said.encode()
            yield b"http://[::1]:7401/certificate/FTP-2026-06-000001?mark=2" + said[1:].encode()
        case "body":
            for name in METHODS:
                yield json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": {}}).encode()
            yield b'[{"jsonrpc": "2.0", "method": "net_status", "params": [1]}, 7]'
        case "json_event":
            for name in sorted(spec.name for spec in KINDS.values()):
                yield json.dumps({"kind": name, "member": "bank-a", "body": {}}).encode()
            yield b'{"side": "debtor"}'
        case "register":
            folder = SAMPLES.parent / "registers"
            yield from (b"\0" + path.read_bytes() for path in sorted(folder.glob("*.*")))
            yield from (bytes([index]) + b'{"no": "x"}' for index in (2, 34, 66))
        case "samples":
            yield from (b"\0" + path.read_bytes()[:4_000] for path in sorted(SAMPLES.iterdir())[::4])
            yield b"\0" + (SAMPLES / "cards-bank-a.iso8583").read_bytes()
            yield from (bytes([index]) + b"{}" for index in range(len(FORMATS) + 1))
        case "card":
            for number, encoding in enumerate(ENCODINGS_OF_CARDS):
                yield from (bytes([number]) + message(fields, encoding) for fields in (PURCHASE, ANSWER, REVERSAL))
            yield from (b"\0" + path.read_bytes() for path in sorted(SAMPLES.glob("*.iso8583")))
        case "cards":
            yield (SAMPLES / "cards.json").read_bytes()
        case "private":
            fields = (PayloadField(PrivateField.AMOUNT, b"CNY 1.00"), PayloadField(PrivateField.SOURCE, bytes(32)))
            yield encode(Payload(1, bytes(32), fields))
            yield encode(Payload(1, bytes(32), fields[::-1]))
            opened = OpenedField(PrivateFieldName.AMOUNT, b"CNY 1.00", bytes(32), (bytes(32),))
            for text in proofs().texts[:3]:
                yield encode(Package(1, b"", "", (OpenedEvent(text, (opened,), b"", b"", b""),)))
                yield encode(Package(1, bytes(32), text, (OpenedEvent(text, (opened,), b"x", bytes(32), b"y"),)))
            yield encode(SealedPackage(1, bytes(32), public_of(bytes(range(32))), bytes(60)))
        case "mapping":
            folder = SAMPLES.parent / "mapped"
            yield (folder / "bank-c.toml").read_bytes() + b"\0" + (folder / "bank-c.csv").read_bytes()
        case "voucher":
            key = SigningKey(bytes(range(32)))
            vouchers = [Voucher(key.public, 0, bytes(32), bytes(32), amount, "CNY", 0, bytes(64)) for amount in (1, 2)]
            signed = [
                msgspec.structs.replace(each, signature=key.sign(voucher_statement(bytes(32), each)))
                for each in vouchers
            ]
            yield b"\n".join(json.dumps(record_to_json(each)).encode() for each in signed)
            yield json.dumps(proof_document(bytes(32), ReportDoubleSpend(signed[0], signed[1]))).encode()
            yield json.dumps({"key": "00" * 32, "holder_commitment": "00" * 32, "proof": "00" * 64}).encode()
        case "link":
            yield encode(Hello(1, 1, bytes(32), "bank-1", bytes(8), "chainnode/0", b""))
            yield from (b"", b"banned", b"\x30\x03\x02\x01\x01")
        case "witness":
            yield request_body(2, [Hash(bytes(32))], _checkpoint_note())
            yield b"20\n"
            yield _checkpoint_note().split("\n\n")[1].encode()


def _records() -> Iterator[tuple[type[Record], bytes]]:
    """Yield the blocks of a short chain."""
    from primitives.block import CommittedBlock

    for key, value in rows():
        if key[:1] == b"b":
            yield CommittedBlock, value


def _draw_file() -> bytes:
    """Return the draw of the API's examples, exported."""
    examples = json.loads((ROOT / "rpc/examples.json").read_bytes())
    inspection = examples["cert_getInspection"]["result"]["inspection"]
    candidates = examples["cert_inspectionCandidates"]["result"]["candidates"]
    found = {"format": FORMAT, "chain_id": "00" * 32, "inspection": inspection, "candidates": candidates}
    return json.dumps(found).encode()


def _files() -> Iterator[bytes]:
    """Yield a good file for each of FILES, in their order, as far as the tree has one."""
    chain = genesis_of(4)
    yield (ROOT / "configs/node.toml").read_bytes()
    yield genesis_to_json(chain)
    yield b'{"member": {"id": "bank-a"}}'
    said = {"application": "bank-a.0001", "number": NUMBER}
    decision = Prepared("00" * 32, "cb", "certificate.grant", said, Upon(5, "00" * 32))
    yield msgspec.json.encode(decision.signed(identity.new_key("officer", member="cb", seed=bytes(32))))
    yield b'{"name": "a", "member": "b", "address": "c:1", "keys": {}}'
    yield b'{"member": "a", "key": "", "roles": [], "proof": ""}'
    key = identity.new_key("vote", seed=bytes(32))
    yield msgspec.json.encode(key)
    yield b'{"bank-b": "' + b"00" * 32 + b'"}'
    yield b"token"
    yield b"00" * 32
    yield b'{"version": 1, "perturbations": []}'


assert {HELLO, GOODBYE} <= CONTROL.keys(), "the first frames of a link"
