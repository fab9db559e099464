"""Looking among what a bank keeps: a value finds its payments and no others, and what was erased is not found."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainnode import private_store
from chainnode.ingest.privacy import PrivateField
from chainnode.kept_payments import Sought, kept_payment, kept_payments
from chainnode.payloads import payload_of
from chainnode.private_store import Erased, Kept, NotKept, PrivateStore
from primitives.encoding import encode
from tests.chainnode.test_private_store import digest

ACCOUNT, OTHER = "DE89370400440532013000", "6200000000002194"
PAYMENTS = {
    "first": {
        PrivateField.DEBTOR_ACCOUNT: ACCOUNT,
        PrivateField.DEBTOR_NAME: "Zhang Wei",
        PrivateField.AMOUNT: "CNY 1.00",
    },
    "second": {PrivateField.CREDITOR_ACCOUNT: ACCOUNT, PrivateField.CREDITOR_NAME: "Zhang  Wei"},
    "third": {PrivateField.DEBTOR_ACCOUNT: OTHER, PrivateField.DEBTOR_NAME: "王伟", PrivateField.REFERENCE: "E2E-3"},
    "fourth": {PrivateField.REFERENCE: "E2E-3", PrivateField.REMITTANCE: f"for {ACCOUNT}"},
}


@pytest.fixture
def store(tmp_path: Path) -> PrivateStore:
    store = PrivateStore(tmp_path / "private")
    store.keep([kept(name, {each: value.encode() for each, value in PAYMENTS[name].items()}) for name in PAYMENTS])
    return store


def kept(name: str, values: dict[PrivateField, bytes]) -> Kept:
    """Return what is kept of a payment of a name."""
    identity = digest(f"{name} id")
    return Kept(digest(name)[:16], identity, digest(f"{name} key"), encode(payload_of(identity, values)))


def names(store: PrivateStore, sought: Sought) -> set[str]:
    """Return the names of the payments that are found."""
    found = {each.event_id for each in kept_payments(store, sought)}
    return {name for name in PAYMENTS if digest(f"{name} id") in found}


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        (Sought(account=ACCOUNT), {"first", "second"}),
        (Sought(account="de89 3704 0044 0532 0130 00"), {"first", "second"}),
        (Sought(account=ACCOUNT[:-1]), set()),
        (Sought(account=OTHER), {"third"}),
        (Sought(name="ZHANG wei "), {"first", "second"}),
        (Sought(name="Zhang"), set()),
        (Sought(name="王伟"), {"third"}),
        (Sought(reference="E2E-3"), {"third", "fourth"}),
        (Sought(reference="e2e-3"), set()),
        (Sought(reference="E2E-3", account=OTHER), {"third"}),
        (Sought(account=ACCOUNT, name="王伟"), set()),
    ],
)
def test_what_is_looked_for_is_found_on_either_side_and_nothing_else(
    store: PrivateStore, sought: Sought, found: set[str]
) -> None:
    assert names(store, sought) == found


def test_an_account_that_the_message_did_not_carry_is_no_account(store: PrivateStore) -> None:
    assert names(store, Sought(account=" ")) == set()


def test_what_was_erased_is_found_no_more_and_said_by_name(store: PrivateStore) -> None:
    store.erase([digest("first id")], 5)
    assert names(store, Sought(account=ACCOUNT)) == {"second"}
    with pytest.raises(Erased):
        kept_payment(store, digest("first id"))
    with pytest.raises(NotKept):
        kept_payment(store, digest("never"))


def test_a_store_of_any_size_is_gone_through_once(store: PrivateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_store, "IDS_AT_ONCE", 2)
    assert list(store.event_ids()) == sorted(digest(f"{name} id") for name in PAYMENTS)
    opened: list[int] = []
    assert len(list(kept_payments(store, Sought(reference="E2E-3"), opened.append))) == 2
    assert opened == [1, 2, 3, 4]


def test_a_kept_payment_is_shown_by_name_and_kept_out_of_representations(store: PrivateStore) -> None:
    found = kept_payment(store, digest("first id"))
    row = found.row()
    assert (row["amount"], row["debtor_account"], row["creditor_account"]) == ("CNY 1.00", ACCOUNT, None)
    assert "source" not in row
    assert "Zhang" not in repr(found)
    assert ACCOUNT not in repr(Sought(account=ACCOUNT))
