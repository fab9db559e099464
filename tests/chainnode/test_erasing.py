"""Erasing payments: what was kept is gone, the record lists it, and it is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainnode.erasing import erase_payments
from chainnode.private_store import NotKept, PrivateStore
from ledger.disclosure_bodies import ErasureBasis
from ledger.event_json import body_from_json, body_to_json
from primitives.encoding import encode
from primitives.errors import UsageError
from primitives.merkle import root_of
from tests.chainnode.test_private_store import event, kept

BASIS = ErasureBasis.CUSTOMER_REQUEST


@pytest.fixture
def store(tmp_path: Path) -> PrivateStore:
    store = PrivateStore(tmp_path / "private")
    store.keep([kept(number) for number in range(5)], [b"a message"])
    return store


def test_an_erasure_lists_what_it_erased_under_the_root_of_its_record(store: PrivateStore) -> None:
    ids = sorted(event(number) for number in range(3))
    erasure = erase_payments(store, [ids[2], ids[0], ids[1], ids[0]], BASIS, 1_790_000_000_000)
    assert (erasure.erased, erasure.event_ids) == (3, tuple(ids))
    assert erasure.receipt() == {
        "erased": [each.hex() for each in ids],
        "root": root_of(ids).hex(),
        "count": 3,
        "basis": "customer_request",
        "erased_at": "2026-09-21T14:13:20Z",
    }
    assert body_from_json("payment.erase", body_to_json(37, 1, encode(erasure.body))) == (37, 1, encode(erasure.body))
    assert [store.holds(event(number)) for number in range(5)] == [False] * 3 + [True] * 2


def test_the_same_erasure_again_makes_the_same_record(store: PrivateStore) -> None:
    first = erase_payments(store, [event(1), event(2)], BASIS, 5)
    again = erase_payments(store, [event(2), event(1)], BASIS, 9)
    assert (first.erased, again.erased) == (2, 0)
    assert (first.body, first.reference) == (again.body, again.reference)
    other = erase_payments(store, [event(2), event(1)], ErasureBasis.COURT_ORDER, 9)
    assert other.reference != first.reference


def test_nothing_is_erased_where_one_is_not_here_or_none_is_named(store: PrivateStore) -> None:
    with pytest.raises(NotKept):
        erase_payments(store, [event(1), event(77)], BASIS, 5)
    with pytest.raises(UsageError, match="events to erase"):
        erase_payments(store, [], BASIS, 5)
    assert len(store) == 5
