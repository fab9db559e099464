"""Receipts: what they prove, offline, and that no byte of them can be changed."""

import base64
from dataclasses import replace

import pytest

from ledger.batch_headers import batch_statement
from ledger.chain import CommitResult
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import validator_set
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.receipts import Receipt, make_receipt, verify
from ledger.store import MemoryStore
from ledger.tlog_proofs import parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint, parse_policy, policy_text
from primitives.encoding import decode, encode
from primitives.errors import ProofError, UsageError
from primitives.notes import Checkpoint, NoteKey, cosign_statement, parse_vkey
from tests.ledger.chain_fixtures import NAMES, SET, START_MS, Ledger, Note, SetValue, key_of

TIME_S = START_MS // 1000 + 60


def stable(ledger: Ledger, signers: tuple[str, ...] = NAMES[1:]) -> str:
    """Sign and store the checkpoint of the tip, and return its note."""
    chain = ledger.chain
    text = Checkpoint(ledger.genesis.origin, chain.log_size, chain.log_root).text()
    cosignatures = [
        (NAMES.index(name), TIME_S + i, key_of(name, "cosign").sign(cosign_statement(text, TIME_S + i)))
        for i, name in enumerate(signers)
    ]
    note = assemble_checkpoint(
        ledger.genesis,
        validator_set(ledger.genesis),
        "node-bank-a",
        key_of("bank-a", "log"),
        chain.log_size,
        chain.log_root,
        cosignatures,
    )
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    return note


def busy_ledger() -> tuple[Ledger, CommitResult]:
    """Return a ledger with a few blocks, of which the last holds five events of two banks, one of them rejected."""
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    ledger.extend(a.notes(300))
    ledger.extend(b.notes(2), a.notes(1))
    failing = b.batch([b.event(Note("fine")), b.event(SetValue("x", "1", fails=True), SET), b.event(Note("too"))])
    return ledger, ledger.extend(a.notes(2), failing)


@pytest.fixture(scope="module")
def proved() -> tuple[Ledger, CommitResult, str]:
    """A ledger with a stable checkpoint, its last commit, and its policy."""
    ledger, result = busy_ledger()
    stable(ledger)
    return ledger, result, policy_text(ledger.genesis, (first_span(ledger.genesis),))


def receipt_of(ledger: Ledger, event_id: bytes) -> str:
    """Return the receipt of an event."""
    text = make_receipt(LedgerReader(ledger.store, ledger.genesis), event_id)
    assert text is not None
    return text


def test_receipt_says_applied_by_whom_and_when(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    verdict = verify(receipt_of(ledger, result.event_ids[1]), policy)
    assert verdict.applied
    assert verdict.event_id == result.event_ids[1]
    assert verdict.member == "bank-a"
    assert verdict.source == key_of("bank-a", "source").public
    assert (verdict.height, verdict.index, verdict.time_ms) == (3, 1, result.header.time_ms)
    assert verdict.cosigners == ("node-bank-b", "node-bank-c", "node-bank-d")
    assert (verdict.cosigned_first_s, verdict.cosigned_last_s) == (TIME_S, TIME_S + 2)


def test_receipt_of_a_rejected_event_names_the_rule(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    verdict = verify(receipt_of(ledger, result.event_ids[3]), policy)
    assert not verdict.applied
    assert (verdict.rule, verdict.detail, verdict.member) == ("told_to_fail", "x", "bank-b")


def test_every_event_of_every_block_has_a_receipt(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, _, policy = proved
    reader = LedgerReader(ledger.store, ledger.genesis)
    for height in (1, 2, 3):
        events = reader.block_events(height)
        for view in events[:: max(1, len(events) // 7)]:
            assert verify(receipt_of(ledger, view.id), policy).log_index == view.position.log_index


def test_no_receipt_before_a_stable_checkpoint_covers_the_block() -> None:
    ledger, result = busy_ledger()
    reader = LedgerReader(ledger.store, ledger.genesis)
    assert make_receipt(reader, result.event_ids[0]) is None
    stable(ledger)
    later = ledger.extend(ledger.banks["bank-c"].notes(1))
    assert make_receipt(reader, result.event_ids[0]) is not None
    assert make_receipt(reader, later.event_ids[0]) is None
    assert make_receipt(reader, bytes(32)) is None


def test_receipt_with_any_character_changed_is_refused(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    receipt = receipt_of(ledger, result.event_ids[3])
    for place, character in enumerate(receipt):
        other = "B" if character == "A" else "A"
        with pytest.raises(ProofError):
            verify(receipt[:place] + other + receipt[place + 1 :], policy)


def test_receipt_with_any_bit_of_its_extra_data_flipped_is_refused(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    receipt = receipt_of(ledger, result.event_ids[0])
    extra = parse_tlog_proof(receipt).extra
    encoded = base64.b64encode(extra).decode()
    for place in range(len(extra)):
        changed = bytearray(extra)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(ProofError):
            verify(receipt.replace(encoded, base64.b64encode(changed).decode()), policy)


def test_receipt_cut_short_or_prolonged_is_refused(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    receipt = receipt_of(ledger, result.event_ids[0])
    for length in range(0, len(receipt), 7):
        with pytest.raises(ProofError):
            verify(receipt[:length], policy)
    for tail in ("\n", " ", "A", "\x00", "\ud800"):
        with pytest.raises(ProofError):
            verify(receipt + tail, policy)


def test_fields_taken_from_another_receipt_are_refused(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    good = receipt_of(ledger, result.event_ids[3])
    other = receipt_of(ledger, result.event_ids[0])
    mine = decode(Receipt, parse_tlog_proof(good).extra, size_max=1 << 20)
    theirs = decode(Receipt, parse_tlog_proof(other).extra, size_max=1 << 20)
    for name in ("event", "batch_header", "batch_signature", "batch_index"):
        if getattr(mine, name) == getattr(theirs, name):
            continue
        fields = {field: getattr(mine, field) for field in Receipt.__struct_fields__}
        forged = Receipt(**{**fields, name: getattr(theirs, name)})
        before = base64.b64encode(encode(mine)).decode()
        with pytest.raises(ProofError):
            verify(good.replace(before, base64.b64encode(encode(forged)).decode()), policy)


def test_batch_that_somebody_else_signed_over_the_event_is_refused(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, policy = proved
    proof = parse_tlog_proof(receipt_of(ledger, result.event_ids[1]))
    mine = decode(Receipt, proof.extra, size_max=1 << 20)
    thief = key_of("thief", "source")
    old = mine.batch_header
    header = type(old)(**{**{n: getattr(old, n) for n in old.__struct_fields__}, "source": thief.public})
    fields = {name: getattr(mine, name) for name in Receipt.__struct_fields__}
    forged = {**fields, "batch_header": header, "batch_signature": thief.sign(batch_statement(header))}
    with pytest.raises(ProofError, match="does not lead to the root"):
        verify(replace(proof, extra=encode(Receipt(**forged))).text(), policy)


def test_receipt_is_refused_where_the_quorum_of_the_policy_is_not_reached(
    proved: tuple[Ledger, CommitResult, str],
) -> None:
    ledger, result, policy = proved
    receipt = receipt_of(ledger, result.event_ids[0])
    lines = receipt.splitlines(keepends=True)
    for place in range(len(lines) - 3, len(lines)):
        with pytest.raises(ProofError, match="too few cosignatures"):
            verify("".join(lines[:place] + lines[place + 1 :]), policy)
    twice = "".join([*lines[:-1], lines[-2]])
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(twice, policy)


def test_receipt_is_refused_under_the_policy_of_another_chain(proved: tuple[Ledger, CommitResult, str]) -> None:
    ledger, result, _ = proved
    receipt = receipt_of(ledger, result.event_ids[0])
    with pytest.raises(ProofError, match="log that the policy does not name"):
        verify(receipt, policy_text(_renamed(ledger), (first_span(ledger.genesis),)))


def _renamed(ledger: Ledger):  # type: ignore[no-untyped-def]  # a Genesis of another name
    genesis = ledger.genesis
    fields = {name: getattr(genesis, name) for name in genesis.__struct_fields__}
    return type(genesis)(**{**fields, "chain": "other-net"})


def _second_name(text: str) -> str:
    """Return the first cosigner's key under another name."""
    key = parse_vkey(text.split("witness node-bank-a ")[1].split("\n")[0])
    return NoteKey(f"{key.name}-again", key.type, key.public).vkey()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("quorum ", "quorun "), "not understood"),
        (lambda text: text.replace("group validators-of-epoch-0 3", "group validators-of-epoch-0 5"), "threshold"),
        (lambda text: text.replace("group validators-of-epoch-0 3", "group validators-of-epoch-0 03"), "threshold"),
        (lambda text: text + "quorum none\n", "second quorum"),
        (
            lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("quorum")),
            "without a quorum",
        ),
        (lambda text: text.replace("witness node-bank-a ", "witness node-bank-b "), "name of a policy taken"),
        (lambda text: "quorum x\n" + text, "not defined above"),
        (lambda text: text + "witness again " + text.split("witness node-bank-a ")[1].split("\n")[0], "stands twice"),
        (lambda text: text + f"witness other {_second_name(text)}\n", "stands twice"),
        (lambda text: text.replace("log ", "witness x", 1), "not understood"),
        (lambda text: text + "\x07", "control character"),
        (lambda text: text + "group more 1 node-bank-a\n", "two places"),
        (lambda text: text.replace("3 node-bank-a node-bank-b", "3 node-bank-a node-bank-a"), "two places"),
    ],
)
def test_malformed_policy_is_refused_with_the_line(change, message, proved) -> None:  # type: ignore[no-untyped-def]  # a table of functions
    with pytest.raises(ProofError, match=message):
        parse_policy(change(proved[2]))


def test_policy_takes_nested_groups_any_all_and_comments() -> None:
    keys = policy_text(Ledger(MemoryStore()).genesis, (first_span(Ledger(MemoryStore()).genesis),)).split("\n")
    witnesses = [line for line in keys if line.startswith("witness")]
    text = "\n".join(
        [
            " # comment",
            *witnesses,
            "group\tpair all node-bank-a node-bank-b",
            "group other any node-bank-c node-bank-d",
            "group both 2 pair other",
            "quorum both",
        ]
    )
    policy = parse_policy(text)
    assert policy._holds("both", {"node-bank-a", "node-bank-b", "node-bank-d"})
    assert not policy._holds("both", {"node-bank-a", "node-bank-c", "node-bank-d"})


def test_checkpoint_is_not_assembled_without_a_quorum_or_with_a_foreign_log_key() -> None:
    ledger = Ledger(MemoryStore())
    with pytest.raises(UsageError, match="too few cosignatures"):
        stable(ledger, NAMES[:2])
    with pytest.raises(UsageError, match="log key is not the registered one"):
        assemble_checkpoint(
            ledger.genesis, validator_set(ledger.genesis), "node-bank-b", key_of("bank-a", "log"), 1, bytes(32), []
        )
