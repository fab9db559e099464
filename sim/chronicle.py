"""What a run says of itself: the lines of its story, always, and the entries of a journal where one is kept.

Times are milliseconds since the run's start. Nothing in a run depends on what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.effects import Broadcast, Delivered, Effect, EvidenceFound, Halt, Persist, Refused, Send, ViewEntered
from sim.journal import Arrived, Happened, Journal, Lost, Sent, describe


class Chronicle:
    """The teller of one run; `lines` is what a failing run shows."""

    def __init__(self, journal: Journal | None) -> None:
        self.lines: list[str] = []
        self.journal = journal
        self._letters = 0
        self._highest = 0

    def note(self, at_ms: int, text: str, node: int | None = None) -> None:
        """Add a line; `node` is whose it is."""
        self.lines.append(f"{at_ms:>8} ms  {text}")
        self.happened(at_ms, node, text)

    def happened(self, at_ms: int, node: int | None, text: str) -> None:
        """Add something to the journal only."""
        if self.journal is not None:
            self.journal.add(Happened(at_ms, node, text))

    def effects(self, at_ms: int, node: int, name: str, effects: Sequence[Effect]) -> None:
        """Tell of a step what people want to know."""
        for effect in effects:
            match effect:
                case Persist() | Broadcast() | Send():
                    pass  # most are
                case ViewEntered():
                    verb = "enters" if effect.active else "leaves for"
                    self.note(at_ms, f"{name} {verb} view {effect.view}: {effect.why}", node)
                case EvidenceFound(evidence):
                    self.note(at_ms, f"{name} finds evidence against validator {evidence.first.validator}", node)
                case Halt(reason):
                    self.note(at_ms, f"{name} halts: {reason}", node)
                case Delivered(committed, view):
                    self._delivery(at_ms, node, name, committed.block.header.height, view)
                case Refused(reason, detail) if self.journal is not None:
                    self.happened(at_ms, node, f"{name} refuses ({reason}): {detail}")
                case _:
                    pass

    def _delivery(self, at_ms: int, node: int, name: str, height: int, view: int) -> None:
        if height > self._highest:
            self._highest = height
            self.note(at_ms, f"{name} is the first to deliver height {height}, of view {view}", node)
        else:
            self.happened(at_ms, node, f"{name} delivers height {height}, of view {view}")

    # --- messages

    def sent(self, at_ms: int, sender: int, receiver: int, kind: int, payload: bytes) -> int:
        """Return the number of a message that leaves now."""
        self._letters += 1
        if self.journal is not None:
            self.journal.add(Sent(self._letters, at_ms, sender, receiver, kind, payload))
        return self._letters

    def arrived(self, at_ms: int, number: int) -> None:
        """A copy of a message is handed to its receiver."""
        if self.journal is not None:
            self.journal.add(Arrived(number, at_ms))

    def lost(self, at_ms: int, number: int, why: str) -> None:
        """A copy of a message is gone."""
        if self.journal is not None:
            self.journal.add(Lost(number, at_ms, why))

    def refused(self, at_ms: int, node: int, kind: int, payload: bytes, why: str) -> None:
        """A message was refused."""
        if self.journal is not None:
            self.journal.add(Happened(at_ms, node, f"refuses {describe(kind, payload)}: {why}"))
