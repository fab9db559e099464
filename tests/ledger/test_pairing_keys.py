"""Pairing keys: announced day by day, by banks and switches, and nobody changes a day that has begun."""

from __future__ import annotations

from hashlib import sha256

import pytest
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey

from ledger.event_json import body_from_json, body_to_json
from ledger.execution import BlockRefused
from ledger.governance_bodies import ActivateRules
from ledger.pairing_keys import (
    ANNOUNCE_PAIRING_KEY,
    PAIRING_KEYS_MAX,
    AnnouncePairingKey,
    PairingKey,
    check_announcement,
    key_on_day,
    read_pairing_keys,
)
from ledger.times import day_of, parse_time
from primitives.encoding import encode
from primitives.errors import InputError
from primitives.exchange import LOW_ORDER, check_exchange_key
from tests.ledger.governance_fixtures import bank
from tests.ledger.payment_council import AUDITOR, REGULATOR, SWITCH, Paying

DAY_MS = 86_400_000


def key(number: int) -> bytes:
    """Return a public key of a number."""
    return bytes(PrivateKey(sha256(bytes([number])).digest()).public_key)


def day(council: Paying, ahead: int) -> int:
    """Return the day that is so many days after the council's."""
    return day_of(council.now_ms + ahead * DAY_MS)


def said(council: Paying, number: int, ahead: int, member: str = bank(0)) -> str:
    """Announce a key from a day on and return the rule that this breaks, or nothing."""
    return council.rule(member, AnnouncePairingKey(key(number), day(council, ahead)))


def test_a_key_holds_from_its_day_until_the_next_one_does() -> None:
    council = Paying()
    assert said(council, 1, 0) == ""
    assert said(council, 2, 1) == ""
    assert said(council, 3, 30) == ""
    held = read_pairing_keys(council.state, bank(0))
    found = [key_on_day(held, day(council, ahead)) for ahead in (-1, 0, 1, 29, 30, 5_000)]
    assert found == [None, held[0], held[1], held[1], held[2], held[2]]
    assert [each.key for each in held] == [key(1), key(2), key(3)]
    assert read_pairing_keys(council.state, bank(1)) == ()


def test_the_first_key_may_hold_for_days_before_and_no_other_for_a_day_that_has_begun() -> None:
    council = Paying()
    assert said(council, 1, -300) == ""
    for ahead in (-1, 0):
        assert said(council, 2, ahead) == "day_has_begun"
    assert said(council, 2, 1) == ""


def test_days_ascend() -> None:
    council = Paying()
    assert said(council, 1, 10) == ""
    for ahead in (9, 10):
        assert said(council, 2, ahead) == "day_not_ascending"
    assert said(council, 2, 11) == ""


def test_a_day_is_not_far_ahead() -> None:
    council = Paying()
    assert said(council, 1, 401) == "day_too_far"
    assert said(council, 1, 400) == ""


def test_a_key_is_announced_once() -> None:
    council = Paying()
    assert said(council, 1, 0) == ""
    assert said(council, 1, 1) == "already_announced"
    assert said(council, 1, 0, bank(1)) == ""


def test_of_the_keys_that_a_member_announces_the_newest_are_kept() -> None:
    council = Paying()
    for number in range(PAIRING_KEYS_MAX + 2):
        assert said(council, 1 + number, 1 + number) == ""
    held = read_pairing_keys(council.state, bank(0))
    assert [each.key for each in held] == [key(3 + number) for number in range(PAIRING_KEYS_MAX)]


@pytest.mark.parametrize("member", [AUDITOR, REGULATOR])
def test_only_banks_and_switches_announce(member: str) -> None:
    council = Paying()
    assert said(council, 1, 0, member) == "not_permitted"
    assert said(council, 1, 0, SWITCH) == ""


@pytest.mark.parametrize("number", sorted(LOW_ORDER))
def test_a_point_of_low_order_is_refused(number: int) -> None:
    point = number.to_bytes(32, "little")
    with pytest.raises((CryptoError, RuntimeError)):  # libsodium finds the same ones
        crypto_scalarmult(bytes(range(32)), point)
    with pytest.raises(InputError, match="not of low order"):
        check_announcement(AnnouncePairingKey(point, 2026_11_23))


@pytest.mark.parametrize("number", [2**255 - 19, 2**255 - 18, 2**255 + 9, 2**256 - 1])
def test_a_point_has_one_form(number: int) -> None:
    with pytest.raises(InputError, match="canonical"):
        check_exchange_key(number.to_bytes(32, "little"))
    with pytest.raises(InputError, match="wrong size"):
        check_exchange_key(bytes(31))


@pytest.mark.parametrize("number", [0, 2026_02_29, 2026_13_01])
def test_a_day_is_a_date(number: int) -> None:
    with pytest.raises(InputError, match="not a calendar date"):
        check_announcement(AnnouncePairingKey(key(1), number))


def test_no_block_by_earlier_rules_announces_and_a_vote_brings_the_rules() -> None:
    council = Paying(first_rules=3)
    with pytest.raises(BlockRefused, match=r"payment\.pairing_key is of later rules"):
        said(council, 1, 0)
    council = Paying(first_rules=3)
    height = council.chain.height + 40
    proposal = council.propose(ActivateRules(4, height))
    council.vote(proposal, 0, 1, 2)
    while council.chain.height + 1 < height:
        council.block()
    assert said(council, 1, 0) == ""


def test_an_announcement_is_read_and_written_as_json() -> None:
    body = AnnouncePairingKey(key(1), 2026_11_23)
    shown = body_to_json(ANNOUNCE_PAIRING_KEY, 1, encode(body))
    assert shown == {"key": key(1).hex(), "from_day": 2026_11_23}
    assert body_from_json("payment.pairing_key", shown) == (ANNOUNCE_PAIRING_KEY, 1, encode(body))


def test_a_day_begins_at_midnight_in_utc() -> None:
    at = parse_time("2026-03-01T00:00:00Z")
    assert [day_of(at - 1), day_of(at), day_of(at + DAY_MS - 1)] == [2026_02_28, 2026_03_01, 2026_03_01]
    assert key_on_day([PairingKey(key(1), 2026_03_01)], day_of(at - 1)) is None
