"""Blocks of states without a consensus: what the index of ends follows, and the scan that it must equal."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, TypeVar

from ledger import rows
from ledger.archive_store import Pruned
from ledger.base import NotHere
from ledger.certificate_bodies import Body
from ledger.certificates import CERTIFICATE_BODIES
from ledger.deadline_index import EndsFollower, EndsReader
from ledger.deadline_subjects import all_subjects
from ledger.deadlines import DueKind, End, ends_at, notices_of, read_figures, subject_key
from ledger.events import Event
from ledger.rules import RULES_KEY, RULES_SCHEME, Rules
from ledger.smt import EMPTY, MapUpdate, lookup
from ledger.state import Key, StateView, Transaction, key_bytes
from ledger.state_at import StateAt
from ledger.store import MemoryStore
from primitives.encoding import Record, encode
from tests.ledger.certificate_fixtures import DAY_MS
from tests.ledger.scheme_fixtures import Scheme

T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What of a block's header the index looks at."""

    height: int
    time_ms: int
    state_root: bytes
    event_count: int

    def hash(self) -> bytes:
        return sha256(repr(self).encode()).digest()


@dataclass(frozen=True)
class Value:
    value: bytes | None


class Reads:
    """Headers and states at every height, as a `LedgerReader` gives them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.headers: list[Header] = []
        self.base_height = 0
        self.batches: list[list[Any]] = []
        self.pruned = False

    def base(self) -> int:
        return self.base_height

    def header(self, height: int) -> Header | None:
        return self.headers[height] if self.base_height <= height < len(self.headers) else None

    def state_value(self, key: Key, height: int) -> Value:
        header = self.header(height)
        if header is None:
            raise NotHere("before the base", where=f"height {height}")
        return Value(lookup(header.state_root, key_bytes(key), self.node)[0])

    def node(self, node: bytes) -> bytes | None:
        return self.store.get(rows.node_key(node))

    def recorded_batches(self, height: int) -> tuple[list[Any], frozenset[int]]:
        if self.pruned:
            raise Pruned("moved to the archive", where=f"height {height}")
        return self.batches[height], frozenset()

    def add(self, changes: dict[bytes, bytes | None], time_ms: int, batches: list[Any]) -> None:
        """Add a block that leaves these changes."""
        self.batches.append(batches)
        self.store.write([(rows.state_row_key(key), value) for key, value in changes.items()], sync=False)
        root = self.headers[-1].state_root if self.headers else EMPTY
        update = MapUpdate(self.node)
        after = update.apply(root, changes)
        self.store.write([(rows.node_key(node), row) for node, row in update.nodes.items()], sync=False)
        self.headers.append(Header(len(self.headers), time_ms, after, 1))


class Life(Scheme):
    """The scheme's consortium, whose events go into blocks when a test says so, and the index that follows."""

    def __init__(self, rules: int = RULES_SCHEME) -> None:
        super().__init__()
        self.put(RULES_KEY, Rules(rules))
        self.reads: Any = Reads()
        self.index = MemoryStore()
        self.follower = EndsFollower(self.index, self.reads)
        self.ends = EndsReader(self.index)
        self._committed: dict[bytes, bytes | None] = {}
        self._batches: list[Any] = []
        self.block()

    @property
    def height(self) -> int:
        return len(self.reads.headers) - 1

    def submit(self, member: str, body: Body, desk: str = "first", roles: frozenset[str] | None = None) -> str:
        """Apply an event, which stands in the next block also where it broke a rule."""
        # As on a chain: what a block changes says a time after that of the block before.
        self.now_ms = max(self.now_ms, int(self.reads.headers[-1].time_ms) + 1) if self.height >= 0 else self.now_ms
        kind, schema = next(names for names, type_ in CERTIFICATE_BODIES.items() if type_ is type(body))
        data = encode(Event(member, bytes(16), self.now_ms + 1, kind, schema, encode(body)))
        self.say(member, data)
        return super().submit(member, body, desk, roles)

    def say(self, member: str, event: bytes) -> None:
        """Put an event into the next block, whatever it does to the state."""
        self._batches.append(SimpleNamespace(header=SimpleNamespace(member=member, count=1), events=[event]))

    def put(self, key: str, record: Record) -> None:
        """Write a row of the state."""
        transaction = Transaction(self.view)
        transaction.put(key, record)
        transaction.apply(self.view)

    def delete(self, key: str) -> None:
        """Remove a row of the state."""
        self.view.changes[key.encode()] = None

    def block(self, time_ms: int | None = None, *, follow: bool = True) -> int:
        """Put what changed into a block at a time, now unless told; return its height."""
        self.now_ms = self.now_ms if time_ms is None else time_ms
        changes = {key: value for key, value in self.view.changes.items() if self._committed.get(key) != value}
        self._committed.update(changes)
        self.reads.add(changes, self.now_ms, self._batches)
        self._batches = []
        if follow:
            self.follow()
        return self.height

    def follow(self) -> None:
        """Bring the index up to the newest block."""
        while self.follower.follow(self.height, 2):
            pass

    def state_at(self, height: int) -> StateAt:
        return StateAt(self.reads, height)

    def scanned(self, height: int) -> list[End]:
        """Return all ends that the state at a height says, by reading every row of it."""
        state, keys = self.state_at(height), set(all_subjects(self.reads.store, ("inspection-report",)))
        for key in self._committed:
            found = subject_key(key)
            if found is not None:
                keys.add(found)
        figures = read_figures(state, height)
        return [item for key in sorted(keys) for end in ends_at(state, key, figures) for item in notices_of(end)]

    def listed(self, kind: DueKind, time_ms: int, until_ms: int, height: int, member: str = "") -> list[End]:
        """Return what a list must say, by the scan of everything."""
        found = [
            end
            for end in self.scanned(height)
            if end.kind is kind and end.due_ms <= until_ms and member in ("", end.member, end.body)
            if (end.due_ms > time_ms or ((end.gone_ms is None or end.gone_ms > time_ms) and end.due_ms <= time_ms))
        ]
        return sorted(found, key=lambda end: (end.due_ms, end.key))


__all__ = ["DAY_MS", "Header", "Life", "Reads", "StateView"]
