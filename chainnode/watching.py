"""Watching one log without keeping it: the last checkpoint is remembered, and each new one must extend it.

Here: one look at a source, and the file that remembers between two runs. Not here: what contradicts what
(`monitoring`), a copy of the log (`mirror`). What is remembered is judged by its policy again whenever it is read.
"""

from __future__ import annotations

import base64
import binascii
import json
from hashlib import sha256
from pathlib import Path

from chainnode.files import NotFound, read_file, write_file
from chainnode.ingest.json_text import parse_object
from chainnode.log_source import LogSource, read_tile
from chainnode.mirror_files import HANDOVER_BYTES_MAX
from chainnode.monitoring import Alarm, Contradicted, Seen, Standing, Trust, behind, compare, step_of
from ledger.handovers import HANDOVERS_BYTES_MAX, HANDOVERS_MAX, Handover
from ledger.signed_trees import SignedTree, TileMissing, TileSource
from ledger.trust_policy import POLICY_SIZE_MAX
from primitives.encoding import decode, encode
from primitives.errors import InputError, ProofError
from primitives.notes import NOTE_BYTES_MAX

STATE_BYTES_MAX = 2 * (POLICY_SIZE_MAX + NOTE_BYTES_MAX) + 2 * HANDOVERS_BYTES_MAX
STATE_BRACKETS_MAX = 64
_FIELDS = {"policy", "note", "handovers"}
_HASH_DIGITS = 16


class Memory:
    """The file in which a watch remembers policy, handovers and the last checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Trust, Seen] | None:
        """Return what is remembered, None where there is nothing. Raises InputError where it does not verify."""
        try:
            data = read_file(self.path, size_max=STATE_BYTES_MAX)
        except NotFound:
            return None
        try:
            policy, note, handovers = parse_state(data, where=str(self.path))
            trust = Trust(policy)
            known = dict(enumerate(handovers, trust.next_epoch or 0))
            return trust, trust.accept(note, f"remembered in {self.path}", known.get)
        except InputError as error:
            raise step_of(error, str(self.path), "move the file away to begin anew, and ask who changed it") from None

    def write(self, trust: Trust, seen: Seen) -> None:
        """Remember a checkpoint; on the disk on return."""
        row = {
            "policy": trust.policy_text,
            "note": seen.note,
            "handovers": [base64.b64encode(encode(each)).decode() for each in trust.handovers],
        }
        write_file(self.path, json.dumps(row, ensure_ascii=False, indent=1).encode() + b"\n")


def keep_fork(beside: Path, text: str) -> Path:
    """Keep a fork beside a file; return where."""
    name = f"{beside.name}.fork-{sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}.txt"
    path = beside.with_name(name)
    write_file(path, text.encode())
    return path


def parse_state(data: bytes, *, where: str) -> tuple[str, str, list[Handover]]:
    """Return policy, note and handovers of what was remembered; InputError where it is something else."""
    row = parse_object(data, where=where, size_max=STATE_BYTES_MAX, brackets_max=STATE_BRACKETS_MAX)
    policy, note, encoded = (row.get(name) for name in ("policy", "note", "handovers"))
    if row.keys() != _FIELDS or not isinstance(policy, str) or not isinstance(note, str):
        raise InputError("not what a watch remembers", where=where, expected=", ".join(sorted(_FIELDS)))
    if not isinstance(encoded, list) or len(encoded) > HANDOVERS_MAX:
        raise InputError("not what a watch remembers", where=where, expected=f"at most {HANDOVERS_MAX} handovers")
    return policy, note, [handover_of(item, where) for item in encoded]


def handover_of(item: object, where: str) -> Handover:
    """Return the handover of a text that was remembered; InputError where it is none."""
    try:
        data = base64.b64decode(str(item), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("not base64", where=where, got=item) from None
    return decode(Handover, data, size_max=HANDOVER_BYTES_MAX)


class Watch:
    """Holds one source to the history that it has shown; without a memory only while this process runs."""

    def __init__(self, trust: Trust, source: LogSource, memory: Memory | None, seen: Seen | None = None) -> None:
        self._trust, self._source, self._memory = trust, source, memory
        self.seen = seen

    def look(self) -> Standing | None:
        """Return what the source's checkpoint is beside the remembered one; None where it has none yet.

        Raises Alarm for a contradiction, ProofError for what does not verify, and what `LogSource.get` raises.
        """
        try:
            new = self._trust.read(self._source)
        except InputError as error:
            raise step_of(error, f"{self._source.name}/checkpoint") from None
        if new is None:
            return None
        try:
            standing = Standing.AHEAD if self.seen is None else self._standing(self.seen, new)
        except Contradicted as error:
            beside = Path("watch") if self._memory is None else self._memory.path
            raise Alarm(error.verdict, keep_fork(beside, error.fork.text()), [self._source.name]) from None
        if standing in (Standing.AHEAD, Standing.RENEWED):
            if self._memory is not None:
                self._memory.write(self._trust, new)
            self.seen = new
        return standing

    def _standing(self, old: Seen, new: Seen) -> Standing:
        if old.note == new.note:
            return Standing.SAME
        try:
            return compare(old, new, self._tree(old), self._tree(new), self._trust)
        except TileMissing as error:
            if new.checkpoint.size > old.checkpoint.size:
                raise ProofError(
                    "checkpoint is not proved to extend the one before", where=self._source.name, got=str(error)
                ) from None
            return behind(old, new, self._trust)  # who lags has no tiles of the larger log, which would say more

    def _tree(self, seen: Seen) -> SignedTree:
        return SignedTree(
            seen.checkpoint,
            [TileSource(self._source.name, lambda tile: read_tile(self._source, tile))],
            _refuse,
        )


def _refuse(name: str, error: ProofError) -> None:
    raise step_of(error, name)
