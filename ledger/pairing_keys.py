"""Pairing keys: the X25519 public keys by which two members agree on the secrets of their payments, day by day.

A bank or a switch announces a key and the day from which it holds; it holds until the next one does. So both sides of a
payment find the same two keys for its day, and nobody can change what held on a day that has begun. Here: kind 34, its
row `pairing-keys/<member>`, the key of a day. Not here: the agreement (`chainnode.ingest.agreement`), the secret keys.
Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from ledger.committed_state import CommittedState
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.members import Role
from ledger.payments import CalendarDate, is_date
from ledger.rules import RULES_PAYMENTS
from ledger.state import StateReader, Transaction
from ledger.times import day_of
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.exchange import EXCHANGE_KEY_BYTES, check_exchange_key

ANNOUNCE_PAIRING_KEY: Final = 34
SCHEMA: Final = 1
PREFIX: Final = "pairing-keys/"
PAIRING_KEYS_MAX: Final = 64
"""Of one more, the oldest leaves the list; a member that rotates every month keeps more than five years."""
DAYS_AHEAD_MAX: Final = 400
"""A day that is mistyped must not bar all earlier ones for good."""
DAY_MS: Final = 86_400_000

ExchangeKey = Annotated[bytes, Meta(min_length=EXCHANGE_KEY_BYTES, max_length=EXCHANGE_KEY_BYTES)]


class AnnouncePairingKey(Record):
    """From `from_day` (YYYYMMDD, UTC) on, the member agrees on pair secrets by this X25519 public key."""

    key: ExchangeKey
    from_day: CalendarDate


class PairingKey(Record):
    """A key, and the first day on which it holds."""

    key: ExchangeKey
    from_day: CalendarDate


class PairingKeys(Record):
    """The keys that a member announced, at `pairing-keys/<member>`: at most PAIRING_KEYS_MAX, ascending by day."""

    keys: tuple[PairingKey, ...]


def announced_in(state: CommittedState) -> dict[str, tuple[PairingKey, ...]]:
    """Return the pairing keys of every member that announced any, ascending by day."""
    return {place.decode().removeprefix(PREFIX): row.keys for place, row in state.scan(PREFIX, PairingKeys)}


def pairing_keys_key(member: str) -> str:
    """Return the state key of the pairing keys that a member announced."""
    return f"{PREFIX}{member}"


def read_pairing_keys(state: StateReader, member: str) -> tuple[PairingKey, ...]:
    """Return the keys that a member announced, ascending by day."""
    row = state.get(pairing_keys_key(member), PairingKeys)
    return () if row is None else row.keys


def key_on_day(keys: Sequence[PairingKey], day: int) -> PairingKey | None:
    """Return which of a member's keys holds on a day (YYYYMMDD); None before the first one."""
    return next((each for each in reversed(keys) if each.from_day <= day), None)


def check_announcement(body: AnnouncePairingKey) -> None:
    """Raise InputError for a key that agrees on nothing secret, or a day that is none."""
    check_exchange_key(body.key)
    if not is_date(body.from_day):
        raise InputError("not a calendar date", where="from_day", expected="YYYYMMDD", got=body.from_day)


def _announce(context: ApplyContext, state: Transaction, body: AnnouncePairingKey) -> None:
    held = read_pairing_keys(state, context.member)
    today = day_of(context.time_ms)
    if any(each.key == body.key for each in held):
        raise RuleBroken("already_announced", body.key.hex()[:16])
    if body.from_day > day_of(context.time_ms + DAYS_AHEAD_MAX * DAY_MS):
        raise RuleBroken("day_too_far", f"at most {DAYS_AHEAD_MAX} days after {today}")
    # The first key changes nothing that anybody relied on, so it may hold for the days before as well.
    if held and body.from_day <= today:
        raise RuleBroken("day_has_begun", f"from_day after {today}")
    if held and body.from_day <= held[-1].from_day:
        raise RuleBroken("day_not_ascending", f"from_day after {held[-1].from_day}")
    kept = (*held, PairingKey(body.key, body.from_day))[-PAIRING_KEYS_MAX:]
    state.put(pairing_keys_key(context.member), PairingKeys(kept))


PAIRING_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=ANNOUNCE_PAIRING_KEY,
        name="payment.pairing_key",
        schemas={SCHEMA: AnnouncePairingKey},
        changes_state=True,
        apply=_announce,
        check_shape=check_announcement,
        roles=frozenset({Role.BANK, Role.SWITCH}),
        rules_min=RULES_PAYMENTS,
    ),
)
