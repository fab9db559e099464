"""What an outsider learns from the log's entries: evidence, verified anew, and what ends when.

Entries are followed up to the newest checkpoint, a bounded number a round, each hashed to the signed root. An event
that begins or ends something counts once its receipt, which the nodes serve, proves that it was applied; where nobody
gives one, what begins counts and what ends does not, so that nobody hides an end by keeping silent. Here: the
following, and how far it is. Not here: checkpoints (`chainnode.auditor`), what ends when
(`chainnode.audit_deadlines`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chainnode.audit_deadlines import UNPROVED, Book, BookFile, Relevant, is_relevant, named
from chainnode.audit_findings import Finding, Findings, Kind
from chainnode.audit_sources import OutOfTime
from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.files import write_file
from chainnode.log_source import LogSource
from chainnode.monitoring import Seen, Trust
from ledger.entry_proofs import make_entry_proof
from ledger.events import EVENT_SIZE_MAX, HEADER_KIND, LEAF_SIZE_MAX, Event, event_id
from ledger.evidence import accused_in
from ledger.evidence_bodies import TYPES, BatchesEvidence, EvidenceBody, check_evidence
from ledger.handovers import span_after
from ledger.kinds import RuleBroken
from ledger.log_tiles import TILE_WIDTH
from ledger.receipts import verify as verify_receipt
from ledger.signed_trees import SignedTree, TileMissing
from ledger.tile_paths import check_bundle, parse_bundle
from ledger.tlog_proofs import PROOF_SIZE_MAX
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.errors import InputError, ProofError
from primitives.ids import HASH_BYTES
from primitives.keys import verify as verify_ed25519
from primitives.validators import ValidatorSet

BUNDLES_A_ROUND: Final = 64
"""16,384 entries: heads are looked at in between, also while a long log is read for the first time."""
RECEIPTS_A_ROUND: Final = 256
KEEP_ENTRIES: Final = 16 * TILE_WIDTH
"""The place in the log is written anew after so many entries, or as soon as an end changed."""
EVIDENCE: Final = "evidence"


class _Later(Exception):
    """The rest is for another round: no time is left, or enough was asked for."""


@dataclass(slots=True)
class EntryFollower:
    """Follows the entries; owned by the auditor's thread. `directory` is the auditor's own."""

    directory: Path
    findings: Findings
    now_ms: Callable[[], int]
    warn_ms: int
    file: BookFile
    book: Book
    waiting: list[bytes] = field(default_factory=list)
    place: int = 0
    _kept: int = 0
    _receipts: int = 0

    def __post_init__(self) -> None:
        self.place = self._kept = self.book.size

    def step(self, seen: Seen, tree: SignedTree, trust: Trust, sources: Sequence[LogSource]) -> None:
        """Follow the entries up to a checkpoint, as far as a round may, and tell what ends soon."""
        self._receipts = RECEIPTS_A_ROUND
        turn = _Turn(seen, tree, trust, sources)
        before, began = self.book.changes, self.book.size
        try:
            for count in itertools.count():
                # To the end of a block at least: a restart begins there, and must not find itself where it was.
                if self.place >= tree.size or (count >= BUNDLES_A_ROUND and self.book.size > began):
                    break
                self._bundle(turn)
        except (_Later, OutOfTime):
            pass
        except (TileMissing, InputError) as error:  # entries of a later release are not understood
            text = f"evidence and ends are not watched from entry {self.place} on: {error}"
            self.findings.add(Finding(Kind.NO_ENTRIES, "", text))
        if self.book.changes != before or self.book.size - self._kept >= KEEP_ENTRIES:
            self.file.write(self.book)
            self._kept = self.book.size
        for finding in self.book.ending(self.now_ms(), self.warn_ms):
            self.findings.add(finding)

    def _bundle(self, turn: _Turn) -> None:
        index, first = divmod(self.place, TILE_WIDTH)
        hashes, data = turn.tree.bundle(index, check_bundle)
        for entry in parse_bundle(data, len(hashes) // HASH_BYTES)[first:]:
            self._entry(entry, turn)
            self.place += 1

    def _entry(self, entry: bytes, turn: _Turn) -> None:
        """Take an entry; what a block's events begin and end is taken with its header, which has the time."""
        kind = entry[0] if entry else HEADER_KIND
        if kind == HEADER_KIND:
            header = decode(BlockHeader, entry[1:], size_max=LEAF_SIZE_MAX)
            while self.waiting:
                self._relevant(self.waiting[0], header.time_ms, turn)
                del self.waiting[0]
            self.book.size, self.book.time_ms = self.place + 1, header.time_ms
        elif kind in TYPES:
            self._evidence(kind, entry, turn)
        elif is_relevant(kind):
            self.waiting.append(entry)

    # -- what begins and ends

    def _relevant(self, entry: bytes, time_ms: int, turn: _Turn) -> None:
        """Take what an event begins or ends, if it was applied."""
        identity = event_id(entry[1:], entry[0])
        named_by = named(entry, identity.hex(), time_ms)
        if named_by is None:
            return
        applied = self._applied(identity, turn)
        if applied or (applied is None and named_by.begins):
            doubts = (0 if applied else UNPROVED) | named_by.doubts
            self.book.take(Relevant(named_by.name, named_by.ends_ms, identity.hex(), doubts))

    def _applied(self, identity: bytes, turn: _Turn) -> bool | None:
        """Return whether an event was applied, by its receipt; None where nobody shows one that holds."""
        if not self._receipts:
            raise _Later
        self._receipts -= 1
        late: OutOfTime | None = None
        for source in turn.sources:
            try:
                data = source.get(f"events/{identity.hex()}.tlog-proof", PROOF_SIZE_MAX)
                if data is None:
                    continue
                verdict = verify_receipt(data.decode("utf-8", "replace"), turn.trust.policy_text)
                if verdict.event_id == identity:
                    return verdict.applied
            except OutOfTime as error:
                late = error  # somebody else may have time left
            except (InputError, Unreachable, TimedOut, CallRefused):
                continue
        if late is not None:
            raise late
        return None

    # -- evidence

    def _evidence(self, kind: int, entry: bytes, turn: _Turn) -> None:
        """Tell of evidence that stands in the log, if both signatures hold; keep the proof that it stands there."""
        identity = event_id(entry[1:], kind).hex()
        try:
            event = decode(Event, entry[1:], size_max=EVENT_SIZE_MAX)
            body = decode(TYPES[kind], event.body, size_max=EVENT_SIZE_MAX)
            accused, epoch = _accused(body, turn.sets)
            if accused is not None:
                check_evidence(body, turn.trust.policy.chain_id, accused[1], verify_ed25519)
        except (InputError, RuleBroken):
            return  # anybody may have such an event ordered; the chain rejects it as well
        path = self.directory / EVIDENCE / f"{identity}.tlog-proof"
        path.parent.mkdir(exist_ok=True)
        proof = make_entry_proof(turn.tree, turn.seen.note, self.place, entry, turn.trust.handovers)
        write_file(path, proof.encode())
        if accused is None:
            message = f"evidence against a validator of epoch {epoch}, which the policy does not know: not verified"
        else:
            message = f"{accused[0]} signed two statements that contradict each other; submitted by {event.member}"
        self.findings.add(Finding(Kind.NEW_EVIDENCE, "", message, identity, str(path), lasting=True))


@dataclass(slots=True)
class _Turn:
    """What a round's entries are judged by."""

    seen: Seen
    tree: SignedTree
    trust: Trust
    sources: Sequence[LogSource]
    _sets: Mapping[int, ValidatorSet] | None = None

    @property
    def sets(self) -> Mapping[int, ValidatorSet]:
        """The validators of each epoch that policy and handovers lead to."""
        if self._sets is None:
            spans = [*self.trust.policy.epochs, *map(span_after, self.trust.handovers)]
            self._sets = {span.validators.epoch: span.validators for span in spans}
        return self._sets


def _accused(body: EvidenceBody, sets: Mapping[int, ValidatorSet]) -> tuple[tuple[str, bytes] | None, int]:
    """Return name and key of whom evidence names, None where its epoch is not known; and the epoch."""
    if isinstance(body, BatchesEvidence):
        header = body.first.header
        return (f"source {header.source.hex()[:16]} of {header.member}", header.source), 0
    validators = sets.get(body.epoch)
    if validators is None:
        return None, body.epoch
    accused = accused_in(validators, body)
    if accused is None:
        raise ProofError("no such validator", where=f"epoch {body.epoch}", got=body.validator)
    return (f"{accused.name} of {accused.member}", accused.key), body.epoch


def open_follower(directory: Path, findings: Findings, now_ms: Callable[[], int], warn_ms: int) -> EntryFollower:
    """Return the follower of an auditor's directory, where it stood. Raises InputError for a file of something else."""
    file = BookFile(directory / "deadlines.json")
    return EntryFollower(directory, findings, now_ms, warn_ms, file, file.read())
