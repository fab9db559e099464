"""What an auditor finds: typed, weighed, and told once, over restarts too.

The file of findings is the memory of what was told: one JSON line when something is found and one when it is over. What
proves a lie never is over. Here: kinds, the file, what is open. Not here: what makes a finding (`chainnode.auditor`).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from chainnode.files import NotFound, read_file, sync_directory, write_file
from chainnode.ingest.json_text import parse_object
from ledger.times import format_time
from primitives.errors import InputError, StorageError

FILE_BYTES_MAX: Final = 16 << 20
"""A larger file is put aside as `.1`, over the one before, and begun anew with what is open."""
LINE_BYTES_MAX: Final = 64 << 10
MESSAGE_CHARACTERS_MAX: Final = 2_000
BRACKETS_MAX: Final = 2 * MESSAGE_CHARACTERS_MAX
"""A message may quote what a node said, brackets and all."""
RAISED: Final = "raised"
CLEARED: Final = "cleared"
_ID_DIGITS: Final = 32
_TEXTS: Final = ("time", "id", "kind", "severity", "state", "node", "subject", "message", "proof")


class Weight(IntEnum):
    """What a finding makes of the exit status: nothing, unhealthy, or verification failed."""

    TOLD = 0
    UNHEALTHY = 1
    FAILED = 2


class Severity(StrEnum):
    """How loudly to tell it."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Kind(StrEnum):
    """What was found."""

    FORK = "fork"
    ROLLBACK = "rollback"
    INCONSISTENT = "inconsistent"
    BAD_SIGNATURE = "bad_signature"
    NOT_ENOUGH_COSIGNATURES = "not_enough_cosignatures"
    BAD_ANSWER = "bad_answer"
    UNPROVEN = "unproven"
    STALE = "stale"
    LAGGING = "lagging"
    UNREACHABLE = "unreachable"
    NO_ENTRIES = "no_entries"
    NEW_EVIDENCE = "new_evidence"
    DEADLINE = "deadline"
    POLICY_CHANGED = "policy_changed"


RULES: Final[dict[Kind, tuple[Severity, Weight]]] = {
    Kind.FORK: (Severity.CRITICAL, Weight.FAILED),
    Kind.ROLLBACK: (Severity.CRITICAL, Weight.FAILED),
    Kind.INCONSISTENT: (Severity.ERROR, Weight.FAILED),
    Kind.BAD_SIGNATURE: (Severity.ERROR, Weight.FAILED),
    Kind.NOT_ENOUGH_COSIGNATURES: (Severity.ERROR, Weight.FAILED),
    Kind.BAD_ANSWER: (Severity.ERROR, Weight.FAILED),
    Kind.UNPROVEN: (Severity.WARNING, Weight.UNHEALTHY),
    Kind.STALE: (Severity.WARNING, Weight.UNHEALTHY),
    Kind.LAGGING: (Severity.WARNING, Weight.UNHEALTHY),
    Kind.UNREACHABLE: (Severity.WARNING, Weight.UNHEALTHY),
    Kind.NO_ENTRIES: (Severity.WARNING, Weight.TOLD),
    Kind.NEW_EVIDENCE: (Severity.WARNING, Weight.TOLD),
    Kind.DEADLINE: (Severity.WARNING, Weight.TOLD),
    Kind.POLICY_CHANGED: (Severity.INFO, Weight.TOLD),
}
"""How loud each kind is, and what it weighs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `node` and `subject` say which one of its kind; `proof` is a file that proves it to anybody.

    A `lasting` one is told once and for all, any other is over as soon as a round no longer finds it.
    """

    kind: Kind
    node: str
    message: str
    subject: str = ""
    proof: str = ""
    lasting: bool = False

    @property
    def id(self) -> str:
        """What tells it apart from all others, over restarts."""
        text = json.dumps([self.kind, self.node, self.subject, self.lasting])
        return sha256(text.encode()).hexdigest()[:_ID_DIGITS]

    @property
    def weight(self) -> Weight:
        """What it makes of the exit status."""
        return RULES[self.kind][1]

    def row(self, state: str, now_ms: int) -> dict[str, Any]:
        """Return the finding's line."""
        return {
            "time": format_time(now_ms),
            "id": self.id,
            "kind": self.kind.value,
            "severity": RULES[self.kind][0].value,
            "state": state,
            "node": self.node,
            "subject": self.subject,
            "message": self.message[:MESSAGE_CHARACTERS_MAX].encode("utf-8", "replace").decode(),
            "proof": self.proof,
            "lasting": self.lasting,
        }


@dataclass(slots=True)
class Findings:
    """The findings of one state directory; owned by one thread. `tell` is given each line once it is on the disk."""

    path: Path
    now_ms: Callable[[], int]
    tell: Callable[[dict[str, Any]], None]
    open: dict[str, Finding] = field(default_factory=dict)
    _round: set[str] = field(default_factory=set)
    _size: int = 0

    def load(self) -> None:
        """Take up what the file has; a last line that a crash cut is dropped. Raises InputError for anything else."""
        try:
            data = read_file(self.path, size_max=FILE_BYTES_MAX + LINE_BYTES_MAX)
        except NotFound:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.open = parse_findings(whole, where=str(self.path))
        if whole != data:
            write_file(self.path, whole)
        self._size = len(whole)

    def add(self, finding: Finding) -> bool:
        """Note that this round found it; tell it, unless it was told. Return whether it was new."""
        self._round.add(finding.id)
        if finding.id in self.open:
            return False
        self._write(finding, RAISED)
        self.open[finding.id] = finding
        return True

    def settle(self, unchecked: Collection[str] = ()) -> None:
        """End a round: what it did not find again is over, unless its node could not be looked at."""
        for finding in list(self.open.values()):
            if not (finding.lasting or finding.id in self._round or finding.node in unchecked):
                self._write(finding, CLEARED)
                del self.open[finding.id]
        self._round.clear()

    def worst(self) -> Weight:
        """Return the weight of the worst finding that is open."""
        return max((finding.weight for finding in self.open.values()), default=Weight.TOLD)

    def _write(self, finding: Finding, state: str) -> None:
        row = finding.row(state, self.now_ms())
        line = _line(row)
        if self._size + len(line) > FILE_BYTES_MAX:
            self._turn()
        _append(self.path, line)
        self._size += len(line)
        self.tell(row)

    def _turn(self) -> None:
        """Put a full file aside and begin another with what is open; at any crash one of both is whole."""
        kept = b"".join(_line(finding.row(RAISED, self.now_ms())) for finding in self.open.values())
        write_file(self.path.with_name(f"{self.path.name}.1"), read_file(self.path, size_max=2 * FILE_BYTES_MAX))
        write_file(self.path, kept)
        self._size = len(kept)


def parse_findings(data: bytes, *, where: str) -> dict[str, Finding]:
    """Return what is open by the lines of a file of findings. Raises InputError where one is none."""
    found: dict[str, Finding] = {}
    for number, line in enumerate(data.splitlines(), 1):
        row = parse_object(line, where=f"{where}:{number}", size_max=LINE_BYTES_MAX, brackets_max=BRACKETS_MAX)
        texts = [row.get(name) for name in _TEXTS]
        if not all(isinstance(text, str) for text in texts) or row.get("kind") not in set(Kind):
            raise InputError("not a finding", where=f"{where}:{number}", expected=", ".join(_TEXTS))
        finding = Finding(
            Kind(row["kind"]), row["node"], row["message"], row["subject"], row["proof"], row.get("lasting") is True
        )
        if row["state"] == CLEARED:
            found.pop(finding.id, None)
        else:
            found[finding.id] = finding
    return found


def count_open(findings: Iterable[Finding]) -> dict[Kind, int]:
    """Return how many findings of each kind there are."""
    counts = dict.fromkeys(Kind, 0)
    for finding in findings:
        counts[finding.kind] += 1
    return counts


def _line(row: dict[str, Any]) -> bytes:
    # No bare line end may stand in it, so that what a node made up cannot pose as a line of ours.
    return json.dumps(row, ensure_ascii=True).encode() + b"\n"


def _append(path: Path, line: bytes) -> None:
    """Add a line, on the disk on return."""
    try:
        is_new = not path.exists()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):
                os.ftruncate(fd, size)  # a full disk: the next line must not go on where this one ends
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageError("finding cannot be written", where=str(path), got=error.strerror or error) from None
    if is_new:
        sync_directory(path.parent)
