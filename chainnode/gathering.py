"""Events that wait to be signed: taken in as calls bring them, given out as batches.

Here: their order, and what reading them found, so that the events of one call that fill a batch are read once. Not
here: who waits for them and whether they still may be signed (`pending`, `gateway`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ledger.batches import ReadEvents
from primitives.ids import EventId


@dataclass(slots=True)
class Gathered:
    """Events that go into one batch; `read` is None where they were not read as these, in this order.

    `left_bytes` is the size of all events that wait no more, of those too that are not to be signed any longer.
    """

    ids: list[EventId] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    read: ReadEvents | None = None
    left_bytes: int = 0


@dataclass(slots=True)
class _Call:
    """The events of one call, and how many of them were given out."""

    ids: Sequence[EventId]
    items: Sequence[bytes]
    read: ReadEvents | None
    done: int = 0


class Gathering:
    """The events that wait, in the order in which they came; owned by the gateway."""

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque()
        self._count = 0
        self._bytes = 0

    @property
    def size(self) -> int:
        """The bytes of the events that wait."""
        return self._bytes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[EventId]:
        """Yield the ids of the events that wait."""
        for call in self._calls:
            yield from call.ids[call.done :]

    def add(self, ids: Sequence[EventId], items: Sequence[bytes], read: ReadEvents | None) -> None:
        """Let events wait: their ids and canonical bytes, and what reading just these in this order found."""
        if ids:
            self._calls.append(_Call(ids, items, read))
            self._count += len(ids)
            self._bytes += sum(map(len, items))

    def clear(self) -> None:
        """Forget all."""
        self._calls.clear()
        self._count = self._bytes = 0

    def take(self, count_max: int, fill_bytes: int, claim: Callable[[EventId], bool]) -> Gathered:
        """Return the next events of a batch: at most `count_max`, and none more once they have `fill_bytes`.

        `claim` is asked of each, once, and says whether it is still to be signed.
        """
        found = Gathered()
        size = calls = 0
        while self._calls and len(found.ids) < count_max and size < fill_bytes:
            call = self._calls[0]
            calls += 1
            while call.done < len(call.ids) and len(found.ids) < count_max and size < fill_bytes:
                event_id, item = call.ids[call.done], call.items[call.done]
                call.done += 1
                self._count -= 1
                found.left_bytes += len(item)
                if claim(event_id):
                    found.ids.append(event_id)
                    found.items.append(item)
                    size += len(item)
            if call.done == len(call.ids):
                self._calls.popleft()
            found.read = call.read if calls == 1 and len(found.ids) == len(call.ids) else None
        self._bytes -= found.left_bytes
        return found
