"""What falls due by the chain's own time, with no event: ends of certificates, suspensions, appeals and proposals.

Something falls due with the first block whose time has reached it. That is a function of the state after the parent and
of the two blocks' times, so all nodes say the same of a block, whenever they are asked. Nothing of it is in the state:
a `Schedule` knows what may fall due and goes from block to block; what does is read from the state as it was then, so
that a schedule may know too much and never too little. Not here: what a certificate is worth at a time
(`ledger.certificate_records`), and what the members' root CAs and TLS certificates do, whose ends are no chain's time.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ledger.batches import Batch
from ledger.certificate_bodies import Body, subjects_of
from ledger.certificate_records import Application, Certificate, State, application_key, certificate_key
from ledger.certificates import CERTIFICATE_BODIES
from ledger.committed_state import CommittedState
from ledger.events import Event, event_id
from ledger.governance import AMEND, PROPOSE
from ledger.governance_records import Proposal, Stage, UnderWay, proposal_key
from ledger.members import read_members
from ledger.payment_events import quick_statements
from ledger.reader import LedgerReader
from ledger.state import StateGetter
from ledger.state_at import StateAt
from primitives.block import BlockHeader
from primitives.encoding import decoder_of
from primitives.errors import StorageError

_UNDER_WAY_PREFIX: Final = "under-way/"


class DueKind(enum.StrEnum):
    """What falls due, in the words of the API."""

    CERTIFICATE_EXPIRED = "certificate_expired"
    SUSPENSION_ENDED = "suspension_ended"
    APPEAL_ENDED = "appeal_ended"
    PROPOSAL_EXPIRED = "proposal_expired"


class Due(NamedTuple):
    """Something that is so from `time_ms` on: of a certificate's number, an application's or a proposal's id.

    `member` is the holder, the applicant or the proposer.
    """

    time_ms: int
    kind: DueKind
    subject: str
    member: str


Row = Certificate | Application | Proposal
_Waiting = tuple[int, str]  # a time, and the state key of what may fall due then


def dues_of(key: str, row: Row) -> Iterator[Due]:
    """Yield what falls due by a record of the state, whenever that is."""
    match row:
        case Certificate():
            yield from _of_certificate(row)
        case Application() if row.appeal_until_ms is not None:
            yield Due(row.appeal_until_ms, DueKind.APPEAL_ENDED, row.id, row.holder)
        case Proposal() if row.stage in (Stage.OPEN, Stage.APPROVED):
            # Unlike other ends a proposal's is inclusive: it expires after it.
            yield Due(row.expires_ms + 1, DueKind.PROPOSAL_EXPIRED, key.partition("/")[2], row.member)


def _of_certificate(row: Certificate) -> Iterator[Due]:
    if row.appeal_until_ms is not None:
        yield Due(row.appeal_until_ms, DueKind.APPEAL_ENDED, row.number, row.holder)
    if row.state not in (State.ACTIVE, State.SUSPENDED):
        return
    yield Due(row.valid_until_ms, DueKind.CERTIFICATE_EXPIRED, row.number, row.holder)
    if row.suspension is not None and row.suspension.until_ms < row.valid_until_ms:
        yield Due(row.suspension.until_ms, DueKind.SUSPENSION_ENDED, row.number, row.holder)


class Schedule:
    """What may fall due above a block. One owner; reads the store of a reader beside whoever writes it."""

    def __init__(self, reads: LedgerReader, height: int) -> None:
        """Stand after the block at `height`, which is committed. NotHere where its state is not here."""
        self._reads = reads
        self.height = height
        self._waiting: list[_Waiting] = []
        self._fill()

    def next(self) -> list[Due]:
        """Return what fell due with the next block, which is committed, the first first; and stand there.

        NotHere or Pruned where the block, or its events, are not here: then it stands where it stood.
        """
        before, block = self._header(self.height), self._header(self.height + 1)
        after = StateAt(self._reads, self.height + 1)
        added = [item for key in self._touched(block) for item in _waiting_of(after, key)]
        found: set[Due] = set()
        state = StateAt(self._reads, self.height)
        while self._waiting and self._waiting[0][0] <= block.time_ms:
            time_ms, key = heapq.heappop(self._waiting)
            if time_ms > before.time_ms:
                found.update(item for item in _read_dues(state, key) if before.time_ms < item.time_ms <= block.time_ms)
        for item in added:
            if item[0] > block.time_ms:
                heapq.heappush(self._waiting, item)
        self.height += 1
        return sorted(found)

    def _fill(self) -> None:
        """Take what the newest state knows, and of what has changed since also what the state knew then."""
        now, then, since_ms = CommittedState(self._reads.store), StateAt(self._reads, self.height), self._time_ms()
        found: set[_Waiting] = set()
        certificates: Iterable[tuple[bytes, Certificate]] = now.scan("certificate/", Certificate)
        applications: Iterable[tuple[bytes, Application]] = now.scan("application/", Application)
        for rows in (certificates, applications):
            for name, row in rows:
                key = name.decode()
                found.update((item.time_ms, key) for item in dues_of(key, row))
                if row.history.changed_ms >= since_ms:
                    found.update(_waiting_of(then, key))
        for key in self._proposals(now, then):
            found.update(_waiting_of(then, key))
        self._waiting = sorted(item for item in found if item[0] > since_ms)

    def _proposals(self, now: CommittedState, then: StateGetter) -> list[str]:
        """Return the state keys of the proposals that were under way."""
        listed = (then.get(f"{_UNDER_WAY_PREFIX}{member.id}", UnderWay) for member in read_members(now))
        return [proposal_key(item) for row in listed if row is not None for item in row.ids]

    def _touched(self, block: BlockHeader) -> list[str]:
        """Return the state keys of what a block's applied events may have given another end."""
        if not block.event_count:
            return []
        batches, rejected = self._reads.recorded_batches(block.height)
        found: dict[str, None] = {}
        first = 0
        for batch in batches:
            if quick_statements(batch.events, batch.header.member) is None:
                found.update(dict.fromkeys(_touched_by(batch, first, rejected)))
            first += batch.header.count
        return list(found)

    def _time_ms(self) -> int:
        return self._header(self.height).time_ms

    def _header(self, height: int) -> BlockHeader:
        header = self._reads.header(height)
        if header is None:
            raise StorageError("block missing", where=f"height {height}", hint="run `chainnode fsck`")
        return header


def _touched_by(batch: Batch, first: int, rejected: Sequence[int] | frozenset[int]) -> Iterator[str]:
    decode_event = decoder_of(Event).decode
    for index, data in enumerate(batch.events, first):
        if index in rejected:
            continue
        event: Event = decode_event(data)
        body_type = CERTIFICATE_BODIES.get((event.kind, event.schema))
        if body_type is not None:
            body: Body = decoder_of(body_type).decode(event.body)
            for subject in subjects_of(body):
                yield certificate_key(subject)
                yield application_key(subject)
        elif event.kind in (PROPOSE, AMEND):
            yield proposal_key(event_id(data, event.kind))


def _waiting_of(state: StateGetter, key: str) -> list[_Waiting]:
    return [(item.time_ms, key) for item in _read_dues(state, key)]


def _read_dues(state: StateGetter, key: str) -> list[Due]:
    row: Row | None
    match key.partition("/")[0]:
        case "certificate":
            row = state.get(key, Certificate)
        case "application":
            row = state.get(key, Application)
        case _:
            row = state.get(key, Proposal)
    return [] if row is None else list(dues_of(key, row))
