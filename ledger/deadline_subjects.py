"""Of which subjects a block may have changed what falls due: too many, never too few.

By the events: of each that is no payment statement, whatever in its body looks like the name of a subject, so that a
kind of event that comes later need not be listed here. Where the bodies are not here any more, by the rows that differ
between two states. Not here: what falls due of a subject (`ledger.deadlines`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from ledger import rows
from ledger.archive_store import Pruned
from ledger.batches import BatchContents, contents_of
from ledger.certificate_bodies import APPLICATION_ID_PATTERN, NUMBER_PATTERN
from ledger.certificate_records import Application, application_key, certificate_key
from ledger.committed_state import CommittedState
from ledger.deadlines import PREFIXES, subject_key
from ledger.events import Event, event_id
from ledger.governance_records import proposal_key
from ledger.inspection_records import (
    INSPECTION_PREFIX,
    OPEN_KEY,
    Inspection,
    OpenDraws,
    read_inspection,
    report_key,
)
from ledger.payments import PAYMENT_STATEMENT
from ledger.reader import LedgerReader
from ledger.smt import changed_leaves
from ledger.state_after import StateAfter, header_at
from ledger.store import StagedStore, Store
from primitives.encoding import decoder_of
from primitives.ids import HASH_BYTES

GOVERNED: Final = range(80, 96)
"""The kinds by which members decide (`ledger.registry`)."""
_IS_NUMBER: Final = re.compile(NUMBER_PATTERN).match
_IS_APPLICATION: Final = re.compile(APPLICATION_ID_PATTERN).match


class Named(NamedTuple):
    """The keys of subjects that a block's events name, and whether members decide something by any of them."""

    keys: frozenset[str]
    governed: bool


def subjects_named(batches: Iterable[BatchContents]) -> Named:
    """Return what the events of some batches name; payment statements name nothing."""
    found: set[str] = set()
    governed = False
    for batch in batches:
        for data in batch.events:
            governed |= _named_by(data, found)
    return Named(frozenset(found), governed)


def subjects_touched(
    reads: LedgerReader,
    height: int,
    named: Named | None = None,
    draws: SelectedInDraws | None = None,
    before: StateAfter | None = None,
) -> set[str]:
    """Return the keys of the subjects of which the block at a height may have changed what falls due.

    `named` is what its events name, and `before` the state that they found, where they are known already; `draws` are
    kept from block to block.
    """
    draws = SelectedInDraws(reads.store) if draws is None else draws
    going_on = _going_on(reads, height, before)
    try:
        named = subjects_named(map(contents_of, reads.recorded_batches(height)[0])) if named is None else named
    except Pruned:
        found = _by_states(reads, height)
        return found | draws.touched(found, going_on)
    found = set(named.keys)
    if named.governed:
        found.update(all_subjects(reads.store, ("accreditation",)))
    return found | _predecessors(reads.store, found) | draws.touched(found, going_on)


def all_subjects(store: Store | StagedStore, prefixes: Iterable[str] = PREFIXES) -> Iterator[str]:
    """Yield the keys of all subjects in the newest state; none of an earlier state is missing, for none is removed."""
    state = CommittedState(store)
    for prefix in prefixes:
        if prefix == "inspection-report":  # there is none yet of what is to be reported on
            for _, draw in state.scan(INSPECTION_PREFIX, Inspection):
                yield from (report_key(draw.id, item.number) for item in draw.selection)
            continue
        for key, _ in state.raw_scan(f"{prefix}/".encode()):
            yield key.decode()


def _by_states(reads: LedgerReader, height: int) -> set[str]:
    before, after = reads.header(height - 1), reads.header(height)
    assert before is not None, "blocks are followed from the base on"
    assert after is not None, "blocks are followed from the base on"
    changed = changed_leaves(before.state_root, after.state_root, lambda node: reads.store.get(rows.node_key(node)))
    names = [key.decode(errors="replace") for key, _ in changed]
    draws = {
        application_key(name.removeprefix(INSPECTION_PREFIX)) for name in names if name.startswith(INSPECTION_PREFIX)
    }
    return draws | {found for name in names if (found := subject_key(name.encode())) is not None}


def _named_by(data: bytes, found: set[str]) -> bool:
    """Add the keys of what an event names; say whether members decide something by it."""
    event: Event = decoder_of(Event).decode(data)
    if event.kind == PAYMENT_STATEMENT:
        return False
    governs = event.kind in GOVERNED
    if governs:
        found.add(proposal_key(event_id(data, event.kind)))
    for item in _leaves(msgspec.msgpack.decode(event.body)):
        if isinstance(item, bytes):
            if governs and len(item) == HASH_BYTES:
                found.add(proposal_key(item))
        elif _IS_NUMBER(item):
            found.add(certificate_key(item))
        elif _IS_APPLICATION(item):
            found.add(application_key(item))
    return governs


def _leaves(value: object) -> Iterator[str | bytes]:
    """Yield the texts and bytes of a body, which is arrays of arrays."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, str | bytes):
            yield item


def _going_on(reads: LedgerReader, height: int, before: StateAfter | None) -> set[str]:
    """Return the draws that go on with a block, though no event names them: from the closing until they are drawn."""
    if height <= reads.base():
        return set()
    before = StateAfter(reads, header_at(reads, height - 1)) if before is None else before
    opened = before.get(OPEN_KEY, OpenDraws)
    return set() if opened is None else {item.draw for item in opened.draws}


class SelectedInDraws:
    """Which certificates the draws selected, as the newest state has it, without reading all draws for every block.

    A draw that goes on, or that a block names as an application is named, is read again: no other one changes.
    """

    def __init__(self, store: Store | StagedStore) -> None:
        self._store = store
        self._reports: dict[str, set[str]] = {}
        self._selected: dict[str, list[str]] = {}
        self._is_read = False

    def touched(self, keys: Collection[str], going_on: Collection[str]) -> set[str]:
        """Return the keys of reports that are to be made on certificates that changed, or of draws that went on."""
        found = set[str]()
        if not keys and not going_on:
            return found
        if not self._is_read:
            for _, draw in CommittedState(self._store).scan(INSPECTION_PREFIX, Inspection):
                self._take(draw)
            self._is_read = True
        named = {key.partition("/")[2] for key in keys if key.startswith("application/")}
        for draw_id in named | set(going_on):
            present = read_inspection(CommittedState(self._store), draw_id)
            if present is not None:
                self._take(present)
                found.update(self._reports[draw_id])
        for key in keys if self._selected else ():
            found.update(self._selected.get(key, ()))
        return found

    def _take(self, draw: Inspection) -> None:
        """Note what a draw selected, which only grows: of one that is void nothing is due."""
        known = self._reports.setdefault(draw.id, set())
        for item in draw.selection:
            report = report_key(draw.id, item.number)
            if report not in known:
                known.add(report)
                self._selected.setdefault(certificate_key(item.number), []).append(report)


def _predecessors(store: Store | StagedStore, keys: Iterable[str]) -> set[str]:
    """Return the keys of the certificates that those of some granted applications supersede: no event names them."""
    # What an application asks to supersede never changes: its present row says it also of any block before.
    found, state = set(), CommittedState(store)
    for key in keys:
        application = state.get(key, Application) if key.startswith("application/") else None
        if application is not None and application.supersedes is not None:
            found.add(certificate_key(application.supersedes))
    return found
