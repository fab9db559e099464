"""Where a store's history begins: at the genesis, or at the block of the snapshot that it was made from.

Here: the base, and the one error for what is true of the chain but not in this store, which whoever asks can take to
another node. Not here: the row (`ledger.rows`), and how a store comes to have one (`ledger.snapshots_restoring`).
"""

from __future__ import annotations

from typing import ClassVar

from ledger import rows
from ledger.rows import BaseRow
from ledger.store import StagedStore, Store
from primitives.errors import ChainError
from primitives.ids import Height

WHOLE = BaseRow(Height(0), Height(0))
"""The base of a store that holds the chain from its genesis on."""


class NotHere(ChainError):
    """It belongs to the chain, and this store does not hold it (any more): nothing is damaged, others may have it."""

    reason: ClassVar[str] = "pruned"


def read_base(store: Store | StagedStore) -> BaseRow:
    """Return where the history of a store begins."""
    data = store.get(rows.BASE_KEY)
    return WHOLE if data is None else rows.read_row(BaseRow, data, where="base")


def before_the_base(what: str, base: int, *, got: object = None) -> NotHere:
    """Return the error for something that lies before the base."""
    return NotHere(
        f"{what} lies before what this node holds",
        expected=f"above block {base}, at which its history begins",
        got=got,
        hint="ask a node that holds the whole chain, or an archive",
    )
