"""Evidence on the chain: kinds 96 to 98, what is recorded of them in the state, and reading it.

Whoever is registered may submit two contradicting statements of a validator or of a source; execution verifies both
signatures, so that `applied` means that they hold. The first evidence of an accused key and place is recorded, a
bounded number of each key. It changes no right by itself: to exclude whom it names is governance. What the bodies say
and when they contradict each other is in `ledger.evidence_bodies`.

Rows of the state: `evidence/count`, `evidence/recorded/NUMBER` in the order of the log, and for each accused key
`evidence/ACCUSED` with its count and `evidence/ACCUSED/PLACE` with the number of what is recorded there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from ledger.batch_headers import Bytes32
from ledger.evidence_bodies import (
    EVIDENCE_BATCHES,
    EVIDENCE_COSIGNATURES,
    EVIDENCE_VOTES,
    TYPES,
    BatchesEvidence,
    CosignaturesEvidence,
    EvidenceBody,
    Verifier,
    VotesEvidence,
    check_contradiction,
    check_evidence,
    check_order,
    kind_of,
)
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.members import read_source, read_validators_of
from ledger.outcomes import DUPLICATE
from ledger.state import StateGetter, StateReader, Transaction
from primitives.encoding import Record
from primitives.ids import Epoch
from primitives.keys import verify
from primitives.validators import ValidatorSet

RECORDED_MAX: Final = 16
"""Of one accused key: more of it tells nothing new, and the state must not grow with what one key signs."""

UNKNOWN_ACCUSED: Final = "unknown_accused"
ENOUGH_RECORDED: Final = "enough_recorded"

COUNT_KEY: Final = "evidence/count"
NAMES: Final = {
    EVIDENCE_VOTES: "evidence.votes",
    EVIDENCE_COSIGNATURES: "evidence.cosignatures",
    EVIDENCE_BATCHES: "evidence.batches",
}


class EvidenceCount(Record):
    """How much evidence is recorded, in all or against one key."""

    count: int


class EvidencePlace(Record):
    """The number of what is recorded against a key at a place."""

    number: int


class RecordedEvidence(Record):
    """One recorded evidence, at `evidence/recorded/<number>`.

    `name` is the accused validator's, empty for a source; `member` the accused one's member, `reporter` who submitted
    it. The statements themselves are in the event.
    """

    kind: int
    accused: str
    place: str
    name: str
    member: str
    key: Bytes32
    event_id: Bytes32
    height: int
    reporter: str


@dataclass(frozen=True, slots=True)
class Accused:
    """Whom evidence names: `row` is the part of the state keys, `key` the public key that must have signed."""

    row: str
    key: bytes
    name: str
    member: str


def evidence_kinds(votes: Verifier = verify, batches: Verifier = verify) -> tuple[KindSpec, ...]:
    """Return the kinds of evidence with what verifies a validator's votes and cosignatures, and a source's batches.

    Everywhere but in simulations that is the one verifier: nodes that disagree on a signature fork the chain.
    """
    verifiers = {EVIDENCE_VOTES: votes, EVIDENCE_COSIGNATURES: votes, EVIDENCE_BATCHES: batches}
    return tuple(
        KindSpec(
            kind=kind,
            name=NAMES[kind],
            schemas={1: type_},
            changes_state=True,
            apply=_applier(verifiers[kind]),
            check_shape=check_order,
            is_dear=True,
        )
        for kind, type_ in TYPES.items()
    )


class _Applier:
    """Records evidence that holds; the cheapest rules first, the signatures last."""

    __slots__ = ("_verifier",)

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def __call__(self, context: ApplyContext, state: Transaction, body: EvidenceBody) -> None:
        check_contradiction(body, context.chain_id)
        accused = accused_of(state, body)
        if accused is None:
            raise RuleBroken(UNKNOWN_ACCUSED, "no such validator of that epoch, or source")
        place = place_of(body)
        held = state.get(place_key(accused.row, place), EvidencePlace)
        if held is not None:
            raise RuleBroken(DUPLICATE, f"recorded as evidence {held.number}")
        of_accused = count_against(state, accused.row)
        if of_accused >= RECORDED_MAX:
            raise RuleBroken(ENOUGH_RECORDED, f"{of_accused} against {accused.name or accused.member}")
        check_evidence(body, context.chain_id, accused.key, self._verifier)
        number = recorded_count(state)
        row = RecordedEvidence(
            kind=kind_of(body),
            accused=accused.row,
            place=place,
            name=accused.name,
            member=accused.member,
            key=accused.key,
            event_id=context.event_id,
            height=context.height,
            reporter=context.member,
        )
        state.put(recorded_key(number), row)
        state.put(place_key(accused.row, place), EvidencePlace(number))
        state.put(accused_key(accused.row), EvidenceCount(of_accused + 1))
        state.put(COUNT_KEY, EvidenceCount(number + 1))


def _applier(verifier: Verifier) -> _Applier:
    return _Applier(verifier)


EVIDENCE_KINDS: Final = evidence_kinds()


# --- whom it names, and where


def accused_of(state: StateReader, body: EvidenceBody) -> Accused | None:
    """Return whom evidence names, as the state knows it; None where there is no such validator or source."""
    match body:
        case VotesEvidence() | CosignaturesEvidence():
            validators = read_validators_of(state, Epoch(body.epoch))
            return None if validators is None else accused_in(validators, body)
        case BatchesEvidence(first=first):
            source = first.header.source
            row = read_source(state, source)
            return None if row is None else Accused(f"batches/{source.hex()}", source, "", row.member)
        case _:
            assert_never(body)


def accused_in(validators: ValidatorSet, body: VotesEvidence | CosignaturesEvidence) -> Accused | None:
    """Return which validator of its epoch's set evidence names; None where the set has no such index."""
    if body.validator >= validators.n:
        return None
    validator = validators.validators[body.validator]
    if isinstance(body, VotesEvidence):
        row = f"votes/{body.epoch:010d}/{body.validator:03d}"
        return Accused(row, validator.vote_key, validator.name, validator.member)
    key = validator.cosign_key  # of the key, since one key may cosign in several epochs
    return Accused(f"cosignatures/{key.hex()}", key, validator.name, validator.member)


def place_of(body: EvidenceBody) -> str:
    """Return at which place the accused key contradicts itself: of each, the first evidence is recorded."""
    match body:
        case VotesEvidence():
            return f"{body.view}/{body.height}/{body.phase}"
        case CosignaturesEvidence(second=second):
            return str(second.size)
        case BatchesEvidence(first=first):
            return str(first.header.number)
        case _:
            assert_never(body)


# --- rows


def accused_key(accused: str) -> str:
    """Return the state key of the count against an accused key."""
    return f"evidence/{accused}"


def place_key(accused: str, place: str) -> str:
    """Return the state key of what is recorded against an accused key at a place."""
    return f"evidence/{accused}/{place}"


def recorded_key(number: int) -> str:
    """Return the state key of a recorded evidence, by its number from 0."""
    return f"evidence/recorded/{number:016d}"


def recorded_count(state: StateGetter) -> int:
    """Return how much evidence is recorded in all."""
    row = state.get(COUNT_KEY, EvidenceCount)
    return 0 if row is None else row.count


def count_against(state: StateReader, accused: str) -> int:
    """Return how much evidence is recorded against an accused key."""
    row = state.get(accused_key(accused), EvidenceCount)
    return 0 if row is None else row.count


def read_recorded(state: StateGetter, number: int) -> RecordedEvidence | None:
    """Return a recorded evidence by its number, from 0 in the order of the log."""
    return state.get(recorded_key(number), RecordedEvidence)
