"""Two banks agree on a secret for each day by the keys that both announced; a rotation at midnight loses no payment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chainnode.files import UnsafeFile
from chainnode.identity import BadKeyFile
from chainnode.ingest.agreement import Agreements, Party, agree, public_of
from chainnode.ingest.parsed import Agent, Amount, ParsedPayment
from chainnode.ingest.statements import statement_for
from chainnode.pairing import agreements_of, erase_pairing_key, new_pairing_key, pairing_keys_in
from ledger.pairing_keys import PairingKey
from ledger.payments import AgentRole, AgentScheme, PaymentStatement
from ledger.times import parse_time
from primitives.errors import InputError, UsageError
from primitives.ids import ZERO_HASH
from tests.chainnode.ingest.ingest_fixtures import context_of

CHAIN = b"c" * 32
MIDNIGHT = parse_time("2026-11-24T00:00:00Z")
FIRST_DAY, NEXT_DAY, THIRD_DAY = 2026_11_01, 2026_11_24, 2026_12_01
A1, A2, B1, B2 = (bytes([number]) * 32 for number in (1, 2, 3, 4))
ANNOUNCED = {
    "bank-a": (PairingKey(public_of(A1), FIRST_DAY), PairingKey(public_of(A2), NEXT_DAY)),
    "bank-b": (PairingKey(public_of(B1), FIRST_DAY), PairingKey(public_of(B2), THIRD_DAY)),
}
PAYMENT = ParsedPayment(
    message_type="pacs.008.001.08",
    where="",
    message_digest=ZERO_HASH,
    index=0,
    created_ms=MIDNIGHT,
    amount=Amount(2_372, "CNY"),
    agents=(
        Agent(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX"),
        Agent(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, "BKABCNBJXXX"),
    ),
    end_to_end_id="E2E-1",
)


def of(member: str, *secrets: bytes, announced: dict[str, tuple[PairingKey, ...]] | None = None) -> Agreements:
    """Return what a member agrees on by these secret keys."""
    return Agreements(CHAIN, member, announced or ANNOUNCED, {public_of(secret): secret for secret in secrets})


BANK_A, BANK_B = of("bank-a", A1, A2), of("bank-b", B1, B2)


def stated(member: str, agreements: Agreements, at_ms: int, **changes: object) -> PaymentStatement:
    """Return a bank's statement about the payment in a message of that time."""
    context = context_of(member, agreed=agreements.secret_with, **changes)
    return statement_for(structs.replace(PAYMENT, created_ms=at_ms), context).body


def test_both_banks_meet_before_at_and_after_a_rotation_at_midnight() -> None:
    keys = []
    for at_ms in (MIDNIGHT - 86_400_000, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 86_399_999):
        one, other = stated("bank-a", BANK_A, at_ms), stated("bank-b", BANK_B, at_ms)
        assert one.pair_key == other.pair_key != b""
        assert one.tokens == other.tokens != []
        keys.append(one.pair_key)
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_a_secret_is_of_the_days_of_both_keys() -> None:
    found = [BANK_A.secret_with("bank-b", day) for day in (FIRST_DAY, NEXT_DAY, THIRD_DAY, 2027_01_01)]
    assert found == [BANK_B.secret_with("bank-a", day) for day in (FIRST_DAY, NEXT_DAY, THIRD_DAY, 2027_01_01)]
    assert len(set(found)) == 3
    assert found[2] == found[3]


def test_nothing_is_agreed_on_before_both_announced_and_the_secrets_by_hand_stand_in() -> None:
    assert BANK_A.secret_with("bank-b", FIRST_DAY - 1) is None
    assert BANK_A.secret_with("bank-c", NEXT_DAY) is None
    early = parse_time("2026-10-31T23:59:59Z")
    by_hand = statement_for(structs.replace(PAYMENT, created_ms=early), context_of("bank-a")).body
    assert stated("bank-a", BANK_A, early).pair_key == stated("bank-b", BANK_B, early).pair_key == by_hand.pair_key
    assert stated("bank-a", BANK_A, MIDNIGHT).pair_key != by_hand.pair_key


def test_another_chain_pair_key_or_day_agrees_on_another_secret() -> None:
    a, b = Party("bank-a", ANNOUNCED["bank-a"][0]), Party("bank-b", ANNOUNCED["bank-b"][0])
    secret = agree(CHAIN, A1, a, b)
    assert secret == agree(CHAIN, B1, b, a)
    others = [
        agree(b"d" * 32, A1, a, b),
        agree(CHAIN, A1, replace(a, member="bank-c"), b),
        agree(CHAIN, A1, a, replace(b, member="bank-c")),
        agree(CHAIN, A1, a, replace(b, key=PairingKey(public_of(B1), FIRST_DAY + 1))),
        agree(CHAIN, A1, replace(a, member="bank-b"), replace(b, member="bank-a")),
        agree(CHAIN, A1, a, replace(b, key=PairingKey(public_of(B2), FIRST_DAY))),
    ]
    assert len({secret, *others}) == 7


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_sides_derive_the_same(one: bytes, other: bytes) -> None:
    a, b = (Party(name, PairingKey(public_of(key), FIRST_DAY)) for name, key in (("a", one), ("b", other)))
    assert agree(CHAIN, one, a, b) == agree(CHAIN, other, b, a)


def test_a_point_of_low_order_agrees_on_nothing() -> None:
    a, b = Party("bank-a", ANNOUNCED["bank-a"][0]), Party("bank-b", PairingKey(bytes(32), FIRST_DAY))
    with pytest.raises(InputError, match="low order"):
        agree(CHAIN, A1, a, b)


def test_a_key_that_was_erased_meets_nothing_and_is_told_of() -> None:
    erased = of("bank-a", A2)
    assert erased.secret_with("bank-b", NEXT_DAY) is not None
    with pytest.raises(UsageError, match="holds on 20261101 is not here"):
        erased.secret_with("bank-b", FIRST_DAY)
    with pytest.raises(UsageError, match="not that of the announced one"):
        agree(CHAIN, A2, Party("bank-a", ANNOUNCED["bank-a"][0]), Party("bank-b", ANNOUNCED["bank-b"][0]))


def test_no_secret_is_printed() -> None:
    shown = repr(BANK_A) + repr(context_of("bank-a", agreed=BANK_A.secret_with))
    assert repr(A1)[2:-1] not in shown
    assert A1.hex() not in shown


def test_a_secret_key_is_a_private_file_until_it_is_erased(tmp_path: Path) -> None:
    folder = tmp_path / "pairing"
    assert pairing_keys_in(folder) == {}
    first, second = new_pairing_key(folder), new_pairing_key(folder)
    held = pairing_keys_in(folder)
    assert held.keys() == {first, second}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    path = folder / f"{first.hex()}.secret"
    twin = tmp_path / "twin"  # another name of the same bytes on the disk
    twin.hardlink_to(path)
    assert erase_pairing_key(folder, first) == path
    assert pairing_keys_in(folder).keys() == {second}
    assert twin.read_bytes() == bytes(65)
    with pytest.raises(UsageError, match="no such pairing key"):
        erase_pairing_key(folder, first)


def test_a_file_that_is_not_its_keys_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pairing"
    public = new_pairing_key(folder)
    path = folder / f"{public.hex()}.secret"
    path.write_bytes(b"00" * 32)
    with pytest.raises(BadKeyFile, match="named after"):
        agreements_of(CHAIN, "bank-a", folder, ANNOUNCED)
    path.chmod(0o644)
    with pytest.raises(UnsafeFile):
        pairing_keys_in(folder)
