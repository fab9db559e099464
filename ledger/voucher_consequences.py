"""What a decision on offline vouchers changes, in words: the members' limits, and where a wallet stands.

Rows alone; how they come to change is in `ledger.voucher_governance`, and who asks in `ledger.consequences`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.state import StateReader
from ledger.voucher_policy import VOUCHER_POLICY_KEY, read_voucher_policy
from ledger.wallet_records import WALLET_PREFIX, Wallet


def voucher_changes(before: StateReader, after: StateReader, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield what changes in a row of vouchers, how it is, and how it would be; nothing for other rows."""
    if key == VOUCHER_POLICY_KEY:
        old, new = read_voucher_policy(before), read_voucher_policy(after)
        for name in old.__struct_fields__:
            was, will = getattr(old, name), getattr(new, name)
            if was != will:
                yield f"limits of vouchers {name}", str(was), str(will)
    elif key.startswith(WALLET_PREFIX):
        held, left = before.get(key, Wallet), after.get(key, Wallet)
        assert held is not None, "members decide on wallets that there are"
        assert left is not None, "no wallet leaves the state"
        yield f"wallet {key.removeprefix(WALLET_PREFIX)[:16]} of {left.issuer}", held.status.value, left.status.value
