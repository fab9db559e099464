"""An index whose process ends at any write of removing it: the next start begins anew, with nothing of the old one."""

import contextlib
from collections.abc import Iterable

import pytest

from ledger.certificate_bodies import Apply, Product
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.store import MemoryStore, Put
from tests.ledger.certificate_fixtures import CATEGORY, DOCUMENTS
from tests.ledger.test_indexes import Network, small, statement


class _Crash(Exception):
    """The process ends here."""


class _Crashing(MemoryStore):
    """A store whose process ends after so many writes."""

    def __init__(self, rows: dict[bytes, bytes], writes: int) -> None:
        super().__init__()
        super().write(list(rows.items()), sync=True)
        self.left = writes

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        if not self.left:
            raise _Crash
        self.left -= 1
        super().write(puts, sync=sync)


def test_index_whose_removal_a_crash_cut_short_begins_anew() -> None:
    network = Network()
    network.commit(("bank-a", statement("1"), 32))
    network.commit(("bank-a", Apply("bank-a.1", "Bank A", Product("T", "1", "2"), CATEGORY, DOCUMENTS), 1))
    network.follow()
    network.follower.close()
    other = Network()
    other.commit(("bank-a", statement("other"), 32))
    other.follow()
    for writes in range(1, 100):
        store = _Crashing(network.index.rows(), writes)
        with contextlib.suppress(_Crash):
            IndexFollower(Index(store), other.reader)
        crashed, store.left = not store.left, -1
        follower = IndexFollower(Index(store), other.reader)
        while follower.follow():
            pass
        assert small(store) == small(other.index), writes
        if not crashed:
            return
    pytest.fail("the removal never ended")
