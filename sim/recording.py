"""One node's inputs in one of its lives, and a hash of what they made it write and send.

A core is a pure function of its disk and its inputs: `replay` feeds the same inputs to another core on a copy of the
disk, and must see the same bytes come out.
"""

from __future__ import annotations

from hashlib import sha256

from chainnode.core import NodeCore, Turn
from ledger.batches import parse_batch
from primitives.encoding import encode
from primitives.errors import InputError
from sim.disk import Disk, DiskStore, Written

Value = str | int | bytes | tuple[bytes, ...]


class Recording:
    """The inputs since a node's last start, in order, and the running hash of its turns."""

    def __init__(self, disk: Disk) -> None:
        self.store = DiskStore()
        self.store.write(disk.store.rows().items(), sync=True)
        self.inputs: list[tuple[str, tuple[Value, ...]]] = []
        self.turns = 0
        self._hash = sha256()

    def note(self, name: str, *values: Value) -> None:
        """Note a call of the core and its arguments."""
        self.inputs.append((name, values))

    def turn(self, turn: Turn, rewrite: list[bytes] | None) -> None:
        """Note that a turn was taken, and what was in it."""
        self.note("turn", int(rewrite is not None))
        self.turns += 1
        self._hash.update(_turn_bytes(turn, rewrite))

    def digest(self) -> str:
        """Return the hash of all turns up to now."""
        return self._hash.hexdigest()


def replay(inputs: list[tuple[str, tuple[Value, ...]]], core: NodeCore, disk: Disk) -> str:
    """Feed recorded inputs to a core on a copy of the recorded disk and return the hash of its turns."""
    found = sha256()
    unwritten: list[Turn] = []
    for name, values in inputs:
        match name:
            case "turn":
                turn = core.take_turn()
                found.update(_turn_bytes(turn, core.live_records() if values[0] else None))
                if turn.rows or not turn.empty:
                    unwritten.append(turn)
            case "written":
                if unwritten:
                    disk.write(unwritten.pop(0), Written.ROWS)
                core.chain.written(values[0])  # type: ignore[arg-type]  # as noted
            case "submit_batch" | "offer_again":
                getattr(core, name)(parse_batch(values[0]), values[1])  # type: ignore[arg-type]  # as noted
            case "on_message":
                try:
                    core.on_message(*values)  # type: ignore[arg-type]  # as noted
                except InputError:
                    continue
            case _:
                getattr(core, name)(*values)
    return found.hexdigest()


def _turn_bytes(turn: Turn, rewrite: list[bytes] | None) -> bytes:
    outgoing = [(message.peer, message.kind, message.payload) for message in turn.outgoing]
    return encode((turn.rows, turn.records, outgoing, turn.halted, rewrite))
