"""The certification scheme's policy: what its published rules leave open or say in two ways, as figures of the chain.

Here: the record, its defaults and ranges, and the row `scheme-policy`, which a chain has once its members decided on
another value (`ledger.scheme_governance`). Not here: the figures by which blocks are judged (`ledger.policy`), which
came with the first rules and keep their bytes. Source: domain §3 (where it and published rules differ).
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from msgspec import Meta

from ledger.state import StateGetter, Transaction
from primitives.encoding import Record

SCHEME_POLICY_KEY: Final = "scheme-policy"


class MarkUse(enum.StrEnum):
    """What a holder may use the mark for.

    STRICT: on the certified product and its documents alone, never in promotion. NOTICE: in promotion as well, where it
    names what is certified, which is the looser rule of the scheme's notice.
    """

    STRICT = "strict"
    NOTICE = "notice"


class RegisterImports(enum.StrEnum):
    """Whether certificates from before the chain may still come onto it in a body's register."""

    OPEN = "open"
    CLOSED = "closed"


SurveillanceMonths = Annotated[int, Meta(ge=1, le=120)]
CorrectionDays = Annotated[int, Meta(ge=1, le=1_000)]
InspectionWindow = Annotated[int, Meta(ge=1, le=30 * 86_400)]


class SchemePolicy(Record):
    """The figures in force: an event is judged by those that the events before it left.

    `surveillance_interval_months`: a certificate in use is under surveillance at least this often, in calendar months.
    `mark_use`: what the mark may be used for. `correction_days_max`: the longest time to correct what was found, in
    days of 86,400,000 ms. `register_imports`: whether bodies may open registers; what is open already goes on.
    `inspection_window_s_min`: a draw takes commitments, and then reveals, for at least so many seconds.
    """

    surveillance_interval_months: SurveillanceMonths = 12
    mark_use: MarkUse = MarkUse.STRICT
    correction_days_max: CorrectionDays = 90
    register_imports: RegisterImports = RegisterImports.OPEN
    inspection_window_s_min: InspectionWindow = 86_400


def read_scheme_policy(state: StateGetter) -> SchemePolicy:
    """Return the scheme's policy in force: the defaults where the members never decided otherwise."""
    return state.get(SCHEME_POLICY_KEY, SchemePolicy) or SchemePolicy()


def put_scheme_policy(state: Transaction, policy: SchemePolicy) -> None:
    """Write the scheme's policy."""
    state.put(SCHEME_POLICY_KEY, policy)


def scheme_policy_figures(policy: SchemePolicy) -> dict[str, int | str]:
    """Return the figures by name, in their order, as people read them."""
    return {name: getattr(policy, name) for name in policy.__struct_fields__}
