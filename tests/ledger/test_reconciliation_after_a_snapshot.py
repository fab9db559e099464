"""A node that joined from a snapshot: what it says of payments above it is what every other node says."""

from __future__ import annotations

import pytest

from ledger.chain import Chain
from ledger.payments import Status
from ledger.reader import LedgerReader
from ledger.reconciliation import Standing
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import ReconciliationReader
from ledger.store import MemoryStore
from tests.ledger import snapshot_fixtures
from tests.ledger.reconciliation_fixtures import DAY, KEY, Books, agents
from tests.ledger.snapshot_fixtures import made, restored
from tests.ledger.test_reconciliation_index import OTHER, agrees_anew, everything, key
from tests.ledger.test_snapshots import follow
from tests.rpc.conftest import key_of


class Joined:
    """The same chain at a node that began after its first blocks, and its index."""

    def __init__(self, books: Books) -> None:
        node = books.node
        self._books, self._genesis = books, node.genesis
        node.checkpoint()
        self._store = restored(made(node.store, node.genesis), node.genesis)
        self.base = books.height

    def follow(self, pieces: int = 1_000) -> ReconciliationReader:
        """Take what came since, and follow it."""
        follow(Chain(self._store, self._genesis), self._store, LedgerReader(self._books.node.store, self._genesis))
        reader, store = LedgerReader(self._store, self._genesis), MemoryStore()
        follower = ReconciliationFollower(store, reader)
        while follower.follow(self._books.height, pieces):
            pass
        return ReconciliationReader(store, reader)


@pytest.mark.parametrize("pieces", [1, 1_000])
def test_payments_above_a_snapshot_stand_as_at_every_node_and_others_as_far_as_is_held(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(snapshot_fixtures, "log_key", lambda *_: key_of("bank-a", "log"))
    books = Books()
    books.tell("bank-a")
    books.tell("bank-b")
    joined = Joined(books)
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1), tokens=OTHER)
    books.tell("bank-c", pair_key=key(2), agents=agents("bank-c", "bank-a"))
    books.tell("bank-b", status=Status.RETURNED)
    books.tell("bank-a", status=Status.RETURNED)
    books.wait(2 * DAY)
    books.follow()
    reader = joined.follow(pieces)
    ours, theirs = (
        {item.pair_key: item.view for item in everything(each, books.height)} for each in (books.reader, reader)
    )
    above = {name: view for name, view in ours.items() if name != KEY}
    assert {name: theirs[name] for name in above} == above
    assert {view.state for view in above.values()} == {Standing.MISMATCH, Standing.ORPHAN}
    # Of a payment whose beginning lies below, a node holds the return alone, and says from where on it holds all.
    assert (ours[KEY].state, theirs[KEY].state, joined.base) == (Standing.MATCHED, Standing.ORPHAN, 2)
    assert reader.height() == books.reader.height()
    agrees_anew(books)
