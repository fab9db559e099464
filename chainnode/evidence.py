"""From what was found to an event on the chain: which evidence to submit, and when. Pure, with time passed in.

Here: the book of findings that the chain has no evidence of yet, as bodies of events. Not here: finding them
(`consensus.evidence` for validators, `chainnode.application` for sources), signing and sending the events
(`chainnode.gateway`, or the simulator), judging them (`ledger.evidence`).

Every validator finds, or is told of, the same contradiction, and one event says it all. So each waits its turn, counted
from the accused one's place, and submits only if the chain has no evidence against that key by then. What a node found
is a row of its store until the chain has it: nobody else may hold both statements, and after a crash nothing brings
them together again (of two batches of one number a node keeps the one that was ordered; votes of an epoch that is over
are not taken any more).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from chainnode.readiness import Submission
from consensus.messages import CosignatureEvidence, Evidence
from ledger import rows
from ledger.batches import ParsedBatch
from ledger.evidence import accused_of, count_against
from ledger.evidence_bodies import (
    TYPES,
    BatchesEvidence,
    CosignaturesEvidence,
    EvidenceBody,
    SignedCheckpoint,
    SignedHeader,
    SignedVote,
    Verifier,
    VotesEvidence,
    accused_bytes,
    arranged,
    check_contradiction,
    check_evidence,
    kind_of,
)
from ledger.kinds import RuleBroken
from ledger.state import StateReader
from ledger.store import Put, StagedStore, Store
from primitives.encoding import encode
from primitives.hashing import domain_hash
from primitives.ids import Hash, TimeMs

TURN_MS: Final = 2_000
"""Between the turns of two validators: longer than a commit takes, so that one event is the rule."""

RETRY_MS: Final = 60_000
"""After which evidence that was submitted and is not on the chain is submitted again; doubles each time."""

ATTEMPTS_MAX: Final = 8
FINDINGS_MAX: Final = 512
REFERENCE_SIZE: Final = 16
SCHEMA: Final = 1


@dataclass(slots=True)
class _Finding:
    """Evidence that the chain lacks, when it is next to be submitted, and how long before that it began to wait."""

    body: EvidenceBody
    due_ms: TimeMs
    wait_ms: int
    attempts: int = 0


class EvidenceBook:
    """What was found and is not on the chain: of each accused key the first finding, FINDINGS_MAX in all.

    `batches` is what verifies a source's signatures; votes and cosignatures come verified. `take_rows` hands over what
    the node must write before it tells anybody.
    """

    def __init__(self, chain_id: Hash, batches: Verifier) -> None:
        self._chain_id = chain_id
        self._batches = batches
        self._findings: dict[bytes, _Finding] = {}
        self._rows: list[Put] = []

    def __len__(self) -> int:
        return len(self._findings)

    def found(self, body: EvidenceBody, turn: int, now_ms: TimeMs) -> bool:
        """Note a finding of which it is this node's turn after `turn` others; say whether it is new and holds."""
        key = rows.finding_key(kind_of(body), accused_bytes(body))
        if key in self._findings or len(self._findings) >= FINDINGS_MAX or not self._holds(body):
            return False
        wait_ms = turn * TURN_MS
        self._findings[key] = _Finding(body, TimeMs(now_ms + wait_ms), wait_ms)
        self._rows.append((key, encode(body)))
        return True

    def take_rows(self) -> list[Put]:
        """Return the rows that changed since the last call."""
        changed, self._rows = self._rows, []
        return changed

    def restore(self, store: Store | StagedStore, turn: Callable[[EvidenceBody], int], now_ms: TimeMs) -> None:
        """Take back what was found before a restart; `turn` says after how many others it is this node's turn."""
        for key, data in store.iterate(*rows.all_of(b"e")):
            type_ = TYPES.get(int.from_bytes(key[1:2], "big"))
            body = None if type_ is None else rows.read_row(type_, data, where=f"evidence {key[1:].hex()}")
            if body is None or not self.found(body, turn(body), now_ms):
                self._rows.append((key, None))

    def due(self, state: StateReader, now_ms: TimeMs) -> list[Submission]:
        """Return what to submit now, given the chain's state; lets go of what the chain has."""
        return list(self._due(state, now_ms))

    def _due(self, state: StateReader, now_ms: TimeMs) -> Iterator[Submission]:
        for key, finding in list(self._findings.items()):
            if finding.due_ms - now_ms > finding.wait_ms:  # the clock was set back
                finding.due_ms = TimeMs(now_ms + finding.wait_ms)
            if now_ms < finding.due_ms:
                continue
            accused = accused_of(state, finding.body)
            recorded = accused is not None and count_against(state, accused.row) > 0
            if recorded or finding.attempts == ATTEMPTS_MAX:
                del self._findings[key]
                self._rows.append((key, None))
                continue
            finding.wait_ms = RETRY_MS << finding.attempts
            finding.due_ms = TimeMs(now_ms + finding.wait_ms)
            finding.attempts += 1
            if accused is not None:  # a set or source that is not known here yet may be at the next attempt
                yield _submission(finding.body, finding.attempts)

    def _holds(self, body: EvidenceBody) -> bool:
        try:
            if isinstance(body, BatchesEvidence):
                check_evidence(body, self._chain_id, body.first.header.source, self._batches)
            else:
                check_contradiction(body, self._chain_id)
        except RuleBroken:
            return False
        return True


def _submission(body: EvidenceBody, attempt: int) -> Submission:
    """Return the event of an attempt: a reference that was used up by a refusal is not used again."""
    data = encode(body)
    reference = domain_hash("evidence", data + bytes([attempt]))[:REFERENCE_SIZE]
    return Submission(kind_of(body), SCHEMA, data, reference)


def turn_of(me: int | None, accused: int, count: int) -> int:
    """Return after how many others it is validator `me`'s turn: the one after the accused first, observers last."""
    return count if me is None else (me - accused - 1) % count


def body_of(evidence: Evidence | CosignatureEvidence, origin: str) -> EvidenceBody:
    """Return the body of an event that says what consensus found."""
    if isinstance(evidence, Evidence):
        one, other = evidence.first, evidence.second
        votes = (SignedVote(vote.block_hash, vote.signature) for vote in (one, other))
        return arranged(VotesEvidence(one.epoch, one.view, one.height, one.phase, one.validator, *votes))
    cosigned = evidence.first
    pair = (
        SignedCheckpoint(vote.size, vote.root, vote.time_s, vote.signature)
        for vote in (evidence.first, evidence.second)
    )
    return arranged(CosignaturesEvidence(cosigned.epoch, cosigned.validator, origin, *pair))


def rivals(one: ParsedBatch, other: ParsedBatch) -> BatchesEvidence:
    """Return the evidence of two batches of a source that cannot both be."""
    body = arranged(
        BatchesEvidence(SignedHeader(one.header, one.signature), SignedHeader(other.header, other.signature))
    )
    assert isinstance(body, BatchesEvidence), "arranging keeps the type"
    return body
