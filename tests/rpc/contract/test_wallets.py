"""wallet_get, wallet_list and voucher_get: what is asked for, by what it is found, and pages that end."""

from __future__ import annotations

import pytest

from rpc.errors import Code
from rpc.methods import wallets
from tests.rpc.rich_fixtures import Asked

NONE = "00" * 32


def test_a_wallet_and_its_vouchers_are_found(rich: Asked) -> None:
    listed = rich.call("wallet_list", {"member": "bank-a"})["wallets"]
    assert len(listed) > 2
    found = rich.call("wallet_get", {"wallet": listed[0]["wallet"]})["wallet"]
    assert found == listed[0]
    assert (found["member"], found["status"], found["redeemed"], found["amount"]) == ("bank-a", "active", 1, 1_250)
    by_counter = rich.call("voucher_get", {"wallet": found["wallet"], "counter": 0})
    by_previous = rich.call("voucher_get", {"wallet": found["wallet"], "previous": NONE})
    assert by_counter == by_previous
    assert (by_counter["voucher"]["key"], by_counter["member"]) == (found["key"], "bank-a")


def test_what_there_is_not_is_not_found(rich: Asked) -> None:
    wallet = rich.call("wallet_list", {"limit": 1})["wallets"][0]["wallet"]
    for method, params in (
        ("wallet_get", {"wallet": NONE}),
        ("voucher_get", {"wallet": NONE, "counter": 0}),
        ("voucher_get", {"wallet": wallet, "counter": 1}),
        ("voucher_get", {"wallet": wallet, "previous": "11" * 32}),
    ):
        assert rich.error(method, params)["code"] == Code.NOT_FOUND
    for params in ({"wallet": wallet}, {"wallet": wallet, "counter": 0, "previous": NONE}):
        assert rich.error("voucher_get", params)["code"] == Code.INVALID_PARAMS


def test_wallets_are_listed_by_bank_and_status(rich: Asked) -> None:
    assert rich.call("wallet_list", {"member": "bank-b"})["wallets"] == []
    assert rich.call("wallet_list", {"status": "accused"})["wallets"] == []
    assert rich.call("wallet_list", {"status": "active"}) == rich.call("wallet_list", {"status": "active"})


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_looks_at_so_many_wallets_and_goes_on_from_the_last(
    rich: Asked, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wallets, "LOOKED_THROUGH_MAX", 2)
    found = rich.call("wallet_list", {"status": "closed", "order": order})
    assert (found["wallets"], found["cursor"] is None) == ([], False)
    pages = 1
    while found["cursor"] is not None:
        found = rich.call("wallet_list", {"status": "closed", "cursor": found["cursor"]})
        pages += 1
    assert pages == 2
