"""How payments of each channel are spread: over the day, in amount, and in what becomes of them.

Plausible figures for a load, not statistics of anybody.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log
from typing import Final

from ledger.currencies import exponent_of
from ledger.payments import Channel

CURRENCIES: Final[Mapping[str, float]] = {"CNY": 1.0, "USD": 7.1, "EUR": 7.8, "HKD": 0.91, "JPY": 0.048, "BHD": 18.8}
"""What a unit is worth in CNY, roughly."""

MINOR_MAX: Final = 10**14
_SHOPS: Final = (1, 1, 1, 1, 1, 2, 5, 12, 18, 18, 20, 30, 34, 24, 20, 20, 22, 30, 36, 34, 28, 18, 9, 3)
_OFFICES: Final = (0, 0, 0, 0, 0, 0, 0, 1, 12, 30, 34, 28, 10, 18, 30, 32, 26, 8, 1, 0, 0, 0, 0, 0)
_ALWAYS: Final = (4, 2, 2, 2, 2, 3, 5, 9, 14, 18, 18, 16, 12, 14, 16, 16, 15, 13, 12, 12, 11, 10, 8, 6)


class Medium(StrEnum):
    """By which messages banks tell of payments."""

    LINES = "lines"
    QR = "qr"
    CARDS = "cards"
    TRANSFERS = "transfers"


@dataclass(frozen=True, slots=True)
class Profile:
    """A channel: its share of all payments, the weights of its hours, its amounts in CNY, what becomes of them.

    `rejected`, `reversed` and `returned` are shares of its payments, `reported` that of those otherwise settled of
    which both banks say so; `intermediary` and `shared_charges` those that pass a third bank, or arrive with less.
    `initiated` is the share that the payer's bank has a customer's order for, `notified` that which the payee's bank
    tells its customer of, `institutional` that of transfers between institutions themselves.
    """

    channel: Channel
    share: float
    hours: tuple[int, ...]
    median: float
    sigma: float
    medium: Medium
    rejected: float
    reversed: float = 0.0
    returned: float = 0.0
    reported: float = 0.0
    intermediary: float = 0.0
    shared_charges: float = 0.0
    initiated: float = 0.0
    notified: float = 0.0
    institutional: float = 0.0
    round_to: int = 1
    currencies: tuple[str, ...] = ("CNY",)
    currency_weights: tuple[int, ...] = (1,)

    @property
    def failing(self) -> float:
        """The share of which something comes other than that they arrive."""
        return self.rejected + self.reversed + self.returned

    def amount(self, chance: random.Random, worth: float, currency: str) -> int:
        """Return an amount in minor units of a currency that is worth so much."""
        value = exp(chance.gauss(log(self.median), self.sigma)) / worth
        minor = max(1, min(MINOR_MAX, round(value * pow(10.0, exponent_of(currency)))))
        return max(self.round_to, minor // self.round_to * self.round_to)


_ABROAD: Final = ("CNY", "USD", "EUR", "HKD", "JPY", "BHD")
CHANNELS: Final = (
    Profile(Channel.QR, 0.45, _SHOPS, 35, 1.2, Medium.QR, 0.012, reversed=0.003, reported=0.05),
    Profile(Channel.APP, 0.25, _ALWAYS, 200, 1.5, Medium.LINES, 0.008, returned=0.002, reported=0.05),
    Profile(Channel.POS, 0.15, _SHOPS, 150, 1.1, Medium.CARDS, 0.02, reversed=0.006, returned=0.004, reported=0.1),
    Profile(Channel.ATM, 0.05, _SHOPS, 800, 0.7, Medium.CARDS, 0.03, reversed=0.004, reported=0.1, round_to=10_000),
    Profile(
        Channel.BEPS, 0.06, _ALWAYS, 20_000, 1.4, Medium.TRANSFERS, 0.006, returned=0.004, reported=0.3,
        intermediary=0.05, initiated=0.5, notified=0.2,
    ),
    Profile(
        Channel.HVPS, 0.03, _OFFICES, 800_000, 1.6, Medium.TRANSFERS, 0.003, returned=0.002, reported=1.0,
        notified=0.1, institutional=0.3,
    ),
    Profile(
        Channel.CIPS, 0.01, _OFFICES, 500_000, 1.5, Medium.TRANSFERS, 0.008, returned=0.006, reported=0.8,
        intermediary=0.4, shared_charges=0.1, initiated=0.2, notified=0.2,
        currencies=_ABROAD, currency_weights=(60, 20, 8, 6, 4, 2),
    ),
)  # fmt: skip
