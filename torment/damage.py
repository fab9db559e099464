"""One flipped byte in a file of a stopped node, and what its operator is told to do about it.

Here: finding the file and the byte. Not here: what the node says (`perturb` and tests/e2e/test_damage.py look).
"""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import Final

from chainnode.home import Home
from chainnode.wal_format import HEADER_BYTES
from torment.manifest import Damaged

FLIPPED_BITS: Final = 0x40
TABLE_FOOTER_BYTES: Final = 48


class Remedy(Enum):
    """What puts a node right again (docs/operating.md, "Damage")."""

    FETCH_AGAIN = auto()
    BUILD_AGAIN = auto()
    MOVE_LOG = auto()
    NOTHING = auto()


_REMEDIES: Final = {
    Damaged.TABLE: Remedy.FETCH_AGAIN,
    Damaged.STORE_LOG: Remedy.FETCH_AGAIN,
    Damaged.MANIFEST: Remedy.FETCH_AGAIN,
    Damaged.CURRENT: Remedy.FETCH_AGAIN,
    Damaged.INDEX: Remedy.BUILD_AGAIN,
    Damaged.WAL_HEAD: Remedy.MOVE_LOG,
    Damaged.WAL_MIDDLE: Remedy.MOVE_LOG,
    Damaged.WAL_TAIL: Remedy.MOVE_LOG,
    Damaged.OUTBOX: Remedy.NOTHING,
}
_PATTERNS: Final = {
    Damaged.TABLE: "ledger.ldb/*.ldb",
    Damaged.STORE_LOG: "ledger.ldb/*.log",
    Damaged.MANIFEST: "ledger.ldb/MANIFEST-*",
    Damaged.CURRENT: "ledger.ldb/CURRENT",
    Damaged.INDEX: "index.ldb/CURRENT",
    Damaged.WAL_HEAD: "consensus.wal",
    Damaged.WAL_MIDDLE: "consensus.wal",
    Damaged.WAL_TAIL: "consensus.wal",
    Damaged.OUTBOX: "outbox",
}


def remedy_of(file: Damaged) -> Remedy:
    """Return what an operator does about damage to this file."""
    return _REMEDIES[file]


def find(home: Home, file: Damaged) -> Path | None:
    """Return the largest file of that kind in a home that holds something to damage, None where there is none."""
    found = [path for path in home.data.glob(_PATTERNS[file]) if path.is_file()]
    least = HEADER_BYTES + 1 if file in (Damaged.WAL_MIDDLE, Damaged.WAL_TAIL) else 1
    found = [path for path in found if path.stat().st_size >= least]
    return max(found, key=lambda path: (path.stat().st_size, path.name), default=None)


def flip(path: Path, file: Damaged, place: float) -> int:
    """Flip a bit of the byte at this fraction of what the file's kind means; return its offset."""
    content = bytearray(path.read_bytes())
    size = len(content)
    match file:
        case Damaged.WAL_HEAD:
            offset = int(place * HEADER_BYTES)
        case Damaged.WAL_MIDDLE:
            offset = HEADER_BYTES + int(place * (size - HEADER_BYTES - 1))
        case Damaged.WAL_TAIL:
            offset = size - 2
        case Damaged.TABLE:
            offset = int(place * max(1, size - TABLE_FOOTER_BYTES))
        case _:
            offset = int(place * (size - 1))
    content[offset] ^= FLIPPED_BITS
    path.write_bytes(content)
    return offset
