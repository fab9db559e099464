"""Evidence as an event: what is recorded, what is refused as which outcome, and that no honest key can be framed."""

from __future__ import annotations

import base64
from hashlib import sha256

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from msgspec.structs import replace
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from ledger.batch_headers import BatchHeader, batch_statement
from ledger.batches import parse_batch
from ledger.evidence import (
    COUNT_KEY,
    ENOUGH_RECORDED,
    RECORDED_MAX,
    UNKNOWN_ACCUSED,
    EvidenceCount,
    RecordedEvidence,
    count_against,
    evidence_kinds,
    read_recorded,
    recorded_count,
)
from ledger.evidence_bodies import (
    BAD_SIGNATURE,
    EVIDENCE_BATCHES,
    NOT_CONTRADICTORY,
    OTHER_CHAIN,
    BatchesEvidence,
    CosignaturesEvidence,
    EvidenceBody,
    SignedCheckpoint,
    SignedHeader,
    SignedVote,
    VotesEvidence,
    arranged,
    check_evidence,
    kind_of,
)
from ledger.execution import DEAR_EVENTS_A_MEMBER_MAX
from ledger.fsck import verify_all
from ledger.kinds import RuleBroken
from ledger.outcomes import DUPLICATE, TOO_MANY_IN_BLOCK
from ledger.reader import LedgerReader
from ledger.registry import KINDS as REAL_KINDS
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.errors import InputError
from primitives.ids import Epoch, Hash, Height, View
from primitives.keys import SigningKey, verify
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE, vote_statement
from tests.ledger.chain_fixtures import KINDS, Bank, Ledger, Note, event, key_of

A, B = Hash(b"\x0a" * 32), Hash(b"\x0b" * 32)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(MemoryStore())


def signed_vote(
    ledger: Ledger, block_hash: Hash, *, by: str = "bank-b", chain_id: Hash | None = None, **place: int
) -> SignedVote:
    at = {"phase": PREPARE, "epoch": 0, "view": 3, "height": 7, **place}
    statement = vote_statement(
        at["phase"],
        chain_id or ledger.genesis.chain_id,
        Epoch(at["epoch"]),
        View(at["view"]),
        Height(at["height"]),
        block_hash,
    )
    return SignedVote(block_hash, key_of(by, "vote").sign(statement))


def votes(ledger: Ledger, **place: int) -> VotesEvidence:
    """Return evidence that holds: validator 1 (bank-b) voted for two blocks."""
    at = {"phase": PREPARE, "view": 3, "height": 7, **place}
    first, second = (signed_vote(ledger, block_hash, by="bank-b", chain_id=None, **at) for block_hash in (A, B))
    return VotesEvidence(0, at["view"], at["height"], at["phase"], 1, first, second)


def checkpoint(
    ledger: Ledger, size: int, root: Hash, time_s: int, *, by: str = "bank-b", origin: str = ""
) -> SignedCheckpoint:
    text = Checkpoint(origin or ledger.genesis.origin, size, root).text()
    return SignedCheckpoint(size, root, time_s, key_of(by, "cosign").sign(cosign_statement(text, time_s)))


def cosignatures(ledger: Ledger, *pair: tuple[int, Hash, int]) -> CosignaturesEvidence:
    """Return evidence of validator 1's two cosignatures, by default of one size with two roots."""
    first, second = (checkpoint(ledger, *item) for item in pair or ((9, A, 100), (9, B, 90)))
    body = arranged(CosignaturesEvidence(0, 1, ledger.genesis.origin, first, second))
    assert isinstance(body, CosignaturesEvidence)
    return body


def header(bank: Bank, **fields: object) -> SignedHeader:
    """Return a signed header of the bank's next batch, changed as said."""
    raw = Bank(bank.name, bank.chain_id).raw([event(Note("x"), member=bank.name)])
    made = replace(parse_batch(raw, KINDS).header, **fields)
    return SignedHeader(made, bank.key.sign(batch_statement(made)))


def batches(ledger: Ledger, first: dict[str, object], second: dict[str, object]) -> BatchesEvidence:
    bank = ledger.banks["bank-c"]
    body = arranged(BatchesEvidence(header(bank, **first), header(bank, **second)))
    assert isinstance(body, BatchesEvidence)
    return body


def rivals(ledger: Ledger, number: int = 0) -> BatchesEvidence:
    """Return evidence of two batches of one number."""
    return batches(ledger, {"number": number, "root": A}, {"number": number, "root": B})


def submit(ledger: Ledger, *bodies: EvidenceBody, by: str = "bank-a") -> list[str]:
    """Put evidence in a block; return the rules that it broke, empty where it was applied."""
    bank = ledger.banks[by]
    events = [bank.event(body, kind_of(body)) for body in bodies]
    return [outcome.rule for outcome in ledger.extend(bank.batch(events)).outcomes]


def recorded(ledger: Ledger) -> list[RecordedEvidence]:
    state = ledger.chain.state_after(ledger.chain.tip_hash)
    rows = [read_recorded(state, number) for number in range(recorded_count(state))]
    return [row for row in rows if row is not None]


# --- what is recorded


def test_each_kind_of_evidence_is_recorded_with_whom_it_names_and_where_it_stands(ledger: Ledger) -> None:
    bodies = votes(ledger), cosignatures(ledger), rivals(ledger)
    assert submit(ledger, *bodies) == ["", "", ""]
    reader = LedgerReader(ledger.store, ledger.genesis)
    rows = recorded(ledger)
    assert [(row.name, row.member, row.reporter, row.height) for row in rows] == [
        ("node-bank-b", "bank-b", "bank-a", 1),
        ("node-bank-b", "bank-b", "bank-a", 1),
        ("", "bank-c", "bank-a", 1),
    ]
    for body, row in zip(bodies, rows, strict=True):
        view = reader.event(row.event_id)
        assert view is not None
        assert (view.event.kind, view.event.body) == (row.kind, encode(body))
        assert view.outcome.applied
    assert [row.key for row in rows] == [
        key_of("bank-b", "vote").public,
        key_of("bank-b", "cosign").public,
        key_of("bank-c", "source").public,
    ]


@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_votes_of_either_phase_are_evidence(ledger: Ledger, phase: int) -> None:
    assert submit(ledger, votes(ledger, phase=phase)) == [""]


def test_a_later_cosignature_of_a_smaller_log_is_evidence(ledger: Ledger) -> None:
    assert submit(ledger, cosignatures(ledger, (9, A, 100), (8, B, 101))) == [""]


def test_a_batch_that_follows_another_one_than_its_source_signed_is_evidence(ledger: Ledger) -> None:
    first: dict[str, object] = {"number": 4, "previous": A}
    assert submit(ledger, batches(ledger, first, {"number": 5, "previous": B})) == [""]
    assert recorded(ledger)[0].place == "4"


def test_the_first_evidence_of_a_place_is_recorded_and_the_next_is_a_duplicate(ledger: Ledger) -> None:
    other = votes(ledger)
    third = replace(other, second=signed_vote(ledger, Hash(b"\x0c" * 32)))
    assert submit(ledger, votes(ledger)) == [""]
    assert submit(ledger, other, third, by="bank-d") == [DUPLICATE, DUPLICATE]
    assert submit(ledger, votes(ledger, view=4), by="bank-d") == [""]
    assert [row.reporter for row in recorded(ledger)] == ["bank-a", "bank-d"]


def test_votes_of_each_view_height_and_phase_stand_at_a_place_of_their_own(ledger: Ledger) -> None:
    places: list[dict[str, int]] = [{}, {"view": 4}, {"height": 8}, {"phase": COMMIT}]
    assert [submit(ledger, votes(ledger, **place)) for place in places] == [[""]] * 4
    assert [row.place for row in recorded(ledger)] == ["3/7/1", "4/7/1", "3/8/1", "3/7/2"]


def test_evidence_recorded_of_one_key_is_bounded(ledger: Ledger) -> None:
    for height in range(1, RECORDED_MAX + 1):
        assert submit(ledger, votes(ledger, height=height)) == [""]
    assert submit(ledger, votes(ledger, height=RECORDED_MAX + 1)) == [ENOUGH_RECORDED]
    state = ledger.chain.state_after(ledger.chain.tip_hash)
    assert count_against(state, recorded(ledger)[0].accused) == RECORDED_MAX
    assert state.get(COUNT_KEY, EvidenceCount) == EvidenceCount(RECORDED_MAX)
    assert submit(ledger, rivals(ledger)) == [""], "that of another key is recorded all the same"


def test_a_block_verifies_the_evidence_of_a_few_events_of_each_member(ledger: Ledger) -> None:
    bodies = [votes(ledger, height=height) for height in range(1, DEAR_EVENTS_A_MEMBER_MAX + 3)]
    flooder, other = ledger.banks["bank-a"], ledger.banks["bank-d"]
    first = flooder.batch([flooder.event(body, kind_of(body)) for body in bodies])
    second = flooder.batch([flooder.event(body, kind_of(body)) for body in bodies[-2:]])
    third = other.batch([other.event(rivals(ledger), EVIDENCE_BATCHES)])
    outcomes = [outcome.rule for outcome in ledger.extend(first, second, third).outcomes]
    assert outcomes == [""] * DEAR_EVENTS_A_MEMBER_MAX + [TOO_MANY_IN_BLOCK] * 4 + [""]
    assert submit(ledger, *bodies[-2:]) == ["", ""], "what was too many for one block may come again"


def test_of_the_rules_that_evidence_breaks_the_cheapest_to_judge_is_its_outcome(ledger: Ledger) -> None:
    """Outcomes stand under the header's root, so nodes that judged in another order would part ways."""
    good = votes(ledger)
    forged = replace(good, second=SignedVote(B, bytes(64)))
    same = replace(good, second=good.first)
    assert submit(ledger, replace(same, validator=4)) == [NOT_CONTRADICTORY], "before whom it names"
    assert submit(ledger, good) == [""]
    assert submit(ledger, same) == [NOT_CONTRADICTORY], "before what is recorded"
    assert submit(ledger, forged) == [DUPLICATE], "before its signatures"


def test_whoever_checks_evidence_offline_is_told_what_does_not_contradict(ledger: Ledger) -> None:
    good, key = votes(ledger), key_of("bank-b", "vote").public
    check_evidence(good, ledger.genesis.chain_id, key, verify)
    with pytest.raises(RuleBroken, match=NOT_CONTRADICTORY):
        check_evidence(replace(good, second=good.first), ledger.genesis.chain_id, key, verify)
    for name, forged in (
        ("first", replace(good, first=SignedVote(A, bytes(64)))),
        ("second", replace(good, second=SignedVote(B, bytes(64)))),
    ):
        with pytest.raises(RuleBroken, match=f"the {name} statement is not signed"):
            check_evidence(forged, ledger.genesis.chain_id, key, verify)


def test_a_store_with_evidence_in_it_is_found_in_order(ledger: Ledger) -> None:
    submit(ledger, votes(ledger), cosignatures(ledger), rivals(ledger))
    *_, last = verify_all(ledger.store, ledger.genesis, KINDS)
    assert last is not None


def test_the_kinds_of_evidence_verify_with_the_one_verifier() -> None:
    for spec in evidence_kinds():
        registered = REAL_KINDS[spec.kind]
        assert registered.apply._verifier is verify  # type: ignore[union-attr]  # an applier


# --- anybody can check it


def packed(tag: str, *fields: object) -> bytes:
    """Return the bytes that a signature covers, as docs/formats.md says, by nothing of the project's."""
    body: bytes = msgpack.packb(list(fields), use_bin_type=True)
    return b"chainnode/v1/" + tag.encode() + b"\0" + body


def holds(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def test_recorded_evidence_can_be_checked_from_its_bytes_by_other_code(ledger: Ledger) -> None:
    submit(ledger, votes(ledger), cosignatures(ledger), rivals(ledger))
    reader = LedgerReader(ledger.store, ledger.genesis)
    views = [reader.event(row.event_id) for row in recorded(ledger)]
    voted, cosigned, sourced = (msgpack.unpackb(view.event.body) for view in views if view is not None)
    chain_id, validator = bytes(ledger.genesis.chain_id), ledger.genesis.validators[1]

    epoch, view, height, phase, index, *pair = voted
    assert (index, phase) == (1, PREPARE)
    assert pair[0][0] != pair[1][0]
    for block_hash, signature in pair:
        message = packed("prepare", chain_id, epoch, view, height, block_hash)
        assert holds(validator.vote_key, message, signature)
        assert not holds(validator.vote_key, message + b"\0", signature)

    _, _, origin, *pair = cosigned
    assert origin == f"test-net/{chain_id.hex()}"
    assert pair[0][0] == pair[1][0]
    assert pair[0][1] != pair[1][1]
    for size, root, time_s, signature in pair:
        note = f"cosignature/v1\ntime {time_s}\n{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        assert holds(validator.cosign_key, note.encode(), signature)

    assert sourced[0][0][4] == sourced[1][0][4], "the number"
    assert sourced[0][0] != sourced[1][0]
    for fields, signature in sourced:
        assert fields[1] == chain_id
        assert holds(fields[3], packed("batch", fields), signature)


# --- nobody is framed


def malleated(signature: bytes) -> bytes:
    """Return the same signature with the group's order added to its scalar: the equation holds, the form does not."""
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


def test_votes_that_do_not_frame_anybody(ledger: Ledger) -> None:
    good = votes(ledger)
    other_chain = Hash(sha256(b"another chain").digest())
    cosigned = checkpoint(ledger, 9, A, 100)
    cases: dict[str, tuple[VotesEvidence, str]] = {
        "one vote twice": (replace(good, second=good.first), NOT_CONTRADICTORY),
        "one block signed twice": (
            replace(
                good, first=SignedVote(A, good.first.signature), second=SignedVote(A, malleated(good.first.signature))
            ),
            NOT_CONTRADICTORY,
        ),
        "another chain": (replace(good, second=signed_vote(ledger, B, chain_id=other_chain)), BAD_SIGNATURE),
        "another view": (replace(good, second=signed_vote(ledger, B, view=4)), BAD_SIGNATURE),
        "another height": (replace(good, second=signed_vote(ledger, B, height=8)), BAD_SIGNATURE),
        "another phase": (replace(good, second=signed_vote(ledger, B, phase=COMMIT)), BAD_SIGNATURE),
        "another epoch signed": (replace(good, second=signed_vote(ledger, B, epoch=1)), BAD_SIGNATURE),
        "an epoch that is not": (replace(good, epoch=1), UNKNOWN_ACCUSED),
        "an index that is not": (replace(good, validator=4), UNKNOWN_ACCUSED),
        "another validator's index": (replace(good, validator=2), BAD_SIGNATURE),
        "votes of two validators": (replace(good, second=signed_vote(ledger, B, by="bank-c")), BAD_SIGNATURE),
        "signatures swapped": (
            replace(good, first=SignedVote(A, good.second.signature), second=SignedVote(B, good.first.signature)),
            BAD_SIGNATURE,
        ),
        "a malleated signature": (
            replace(good, second=SignedVote(B, malleated(good.second.signature))),
            BAD_SIGNATURE,
        ),
        "a cosignature for a vote": (replace(good, second=SignedVote(B, cosigned.signature)), BAD_SIGNATURE),
        "the cosigning key": (
            replace(good, second=SignedVote(B, key_of("bank-b", "cosign").sign(b"x"))),
            BAD_SIGNATURE,
        ),
        "no signature": (replace(good, second=SignedVote(B, bytes(64))), BAD_SIGNATURE),
    }
    for name, (body, rule) in cases.items():
        assert submit(ledger, body) == [rule], name
    assert recorded(ledger) == []


def test_cosignatures_that_do_not_frame_anybody(ledger: Ledger) -> None:
    good = cosignatures(ledger)
    vote = signed_vote(ledger, A)
    elsewhere = f"test-net/{'0' * 64}"
    cases: dict[str, tuple[CosignaturesEvidence, str]] = {
        "one twice": (replace(good, first=good.second), NOT_CONTRADICTORY),
        "the same again later": (cosignatures(ledger, (9, A, 100), (9, A, 160)), NOT_CONTRADICTORY),
        "a log that grew": (cosignatures(ledger, (9, A, 100), (10, B, 101)), NOT_CONTRADICTORY),
        "a log that grew in a second": (cosignatures(ledger, (9, A, 100), (10, B, 100)), NOT_CONTRADICTORY),
        "another origin": (replace(good, origin=f"other-net/{ledger.genesis.chain_id.hex()}"), BAD_SIGNATURE),
        "another chain": (
            replace(
                good,
                origin=elsewhere,
                first=checkpoint(ledger, 9, B, 90, origin=elsewhere),
                second=checkpoint(ledger, 9, A, 100, origin=elsewhere),
            ),
            OTHER_CHAIN,
        ),
        "no origin": (replace(good, origin=f"a\nb/{ledger.genesis.chain_id.hex()}"), BAD_SIGNATURE),
        "another validator": (replace(good, validator=2), BAD_SIGNATURE),
        "no validator": (replace(good, validator=99), UNKNOWN_ACCUSED),
        "of two validators": (replace(good, second=checkpoint(ledger, 9, A, 100, by="bank-c")), BAD_SIGNATURE),
        "another time": (replace(good, second=replace(good.second, time_s=101)), BAD_SIGNATURE),
        "another size": (
            replace(good, first=replace(good.first, size=8), second=replace(good.second, size=8)),
            BAD_SIGNATURE,
        ),
        "a vote's signature": (replace(good, second=replace(good.second, signature=vote.signature)), BAD_SIGNATURE),
        "malleated": (
            replace(good, second=replace(good.second, signature=malleated(good.second.signature))),
            BAD_SIGNATURE,
        ),
    }
    for name, (body, rule) in cases.items():
        assert submit(ledger, body) == [rule], name
    assert recorded(ledger) == []


def test_batches_that_do_not_frame_anybody(ledger: Ledger) -> None:
    bank, stranger = ledger.banks["bank-c"], SigningKey(bytes(range(32)))
    good = rivals(ledger)
    one: dict[str, object] = {"number": 1, "previous": A}
    first = header(bank, **one)
    foreign = Hash(sha256(b"another chain").digest())

    def unregistered(**fields: object) -> SignedHeader:
        made: BatchHeader = replace(good.first.header, source=stranger.public, **fields)
        return SignedHeader(made, stranger.sign(batch_statement(made)))

    cases: dict[str, tuple[EvidenceBody, str]] = {
        "one batch twice": (replace(good, second=good.first), NOT_CONTRADICTORY),
        "two numbers": (batches(ledger, {"number": 1}, {"number": 3}), NOT_CONTRADICTORY),
        "a chain of two": (batches(ledger, one, {"number": 2, "previous": first.header.hash()}), NOT_CONTRADICTORY),
        "another chain": (
            batches(ledger, {"root": A, "chain_id": foreign}, {"root": B, "chain_id": foreign}),
            OTHER_CHAIN,
        ),
        "a chain of each": (batches(ledger, {"root": A}, {"root": B, "chain_id": foreign}), OTHER_CHAIN),
        "another suite": (batches(ledger, {"root": A}, {"root": B, "suite": 2}), NOT_CONTRADICTORY),
        "a first one after another": (batches(ledger, {"root": A}, {"previous": B}), NOT_CONTRADICTORY),
        "of two sources": (
            arranged(replace(good, second=header(ledger.banks["bank-d"]))),
            NOT_CONTRADICTORY,
        ),
        "of a stranger": (arranged(BatchesEvidence(unregistered(root=A), unregistered(root=B))), UNKNOWN_ACCUSED),
        "swapped": (
            replace(
                good,
                first=replace(good.first, signature=good.second.signature),
                second=replace(good.second, signature=good.first.signature),
            ),
            BAD_SIGNATURE,
        ),
        "malleated": (
            replace(good, second=replace(good.second, signature=malleated(good.second.signature))),
            BAD_SIGNATURE,
        ),
        "by another key": (
            replace(
                good,
                second=replace(good.second, signature=stranger.sign(batch_statement(good.second.header))),
            ),
            BAD_SIGNATURE,
        ),
    }
    for name, (body, rule) in cases.items():
        assert submit(ledger, body) == [rule], name
    assert recorded(ledger) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda body: replace(body, first=body.second, second=body.first), "out of order"),
        (lambda body: replace(body, phase=3), "not a valid body"),
        (lambda body: replace(body, height=0), "not a valid body"),
        (lambda body: replace(body, validator=128), "not a valid body"),
        (lambda body: replace(body, view=-1), "not a valid body"),
        (lambda body: replace(body, first=SignedVote(A[:31], bytes(64))), "not a valid body"),
        (lambda body: replace(body, first=SignedVote(A, bytes(63))), "not a valid body"),
    ],
)
def test_evidence_of_bad_shape_makes_no_batch(ledger: Ledger, change: object, complaint: str) -> None:
    assert callable(change)
    bank = ledger.banks["bank-a"]
    body = change(votes(ledger))
    with pytest.raises(InputError, match=complaint):
        parse_batch(bank.raw([bank.event(body, kind_of(body))]), KINDS)


def test_every_registered_source_may_submit_evidence() -> None:
    assert [spec.roles for spec in evidence_kinds()] == [frozenset()] * 3
