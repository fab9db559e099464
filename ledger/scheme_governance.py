"""The rules by which members decide on accreditations, standards and the scheme's policy, and what a decision writes.

Judged like all of governance: by the state and the action, when proposed and again when it takes effect; against the
block's time as well, since an accreditation is for a time. These actions came with the third rules. Not here: what an
accreditation is and what it is worth (`ledger.accreditations`). Source: domain §3, decision record 10.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from ledger.accreditations import (
    ACCREDITATION_DAYS_MAX,
    TERMS_KEPT_MAX,
    Accreditation,
    Term,
    accreditation_key,
    ended,
    has_room,
    put_term,
    read_accreditation,
    role_of,
)
from ledger.catalogue import read_catalogue, read_catalogues
from ledger.governance_bodies import Accredit, AnyAction, EndAccreditation, SchemeAction, SetSchemePolicy, SetStandards
from ledger.governance_errors import broken
from ledger.kinds import ApplyContext
from ledger.member_rules import present_member
from ledger.policy import DAY_MS
from ledger.rules import RULES_SCHEME, read_rules
from ledger.scheme_policy import SchemePolicy, put_scheme_policy, read_scheme_policy
from ledger.standards import CatalogueStandards, put_standards
from ledger.state import StateReader, Transaction


def check_scheme_action(state: StateReader, action: SchemeAction, height: int) -> None:
    """Raise RuleBroken where the block at `height` may not make this decision in this state, at whatever time."""
    if read_rules(state).at(height) < RULES_SCHEME:
        raise broken("rules_needed", f"version {RULES_SCHEME}")
    match action:
        case Accredit():
            _check_accredit(state, action)
        case EndAccreditation(member=member, role=role):
            present_member(state, member)
            if read_accreditation(state, member, role) is None:
                raise broken("not_accredited", f"{member} as {role}")
        case SetSchemePolicy():
            present = read_scheme_policy(state)
            if changed_scheme_policy(present, action) == present:
                raise broken("scheme_policy_unchanged")
        case SetStandards():
            _check_standards(state, action)
        case _:
            assert_never(action)


def _check_accredit(state: StateReader, action: Accredit) -> None:
    roles = present_member(state, action.member).roles
    if role_of(action.role) not in roles:
        raise broken("accreditation_role", f"{action.member} is {', '.join(roles)}, not {action.role}")
    known = {category.number for catalogue in read_catalogues(state) for category in catalogue.categories}
    if list(action.categories) != sorted(set(action.categories)):
        raise broken("accreditation_categories", "each once, ascending")
    if unknown := sorted(set(action.categories) - known):
        raise broken("accreditation_categories", f"no version has category {unknown[0]}")
    if not 0 < action.valid_until_ms - action.valid_from_ms <= ACCREDITATION_DAYS_MAX * DAY_MS:
        raise broken("accreditation_time", f"1 ms to {ACCREDITATION_DAYS_MAX} days")


def _check_standards(state: StateReader, action: SetStandards) -> None:
    catalogue = read_catalogue(state, action.version)
    if catalogue is None:
        raise broken("catalogue_version", f"there is no version {action.version}")
    numbers = [item.number for item in action.categories]
    if numbers != sorted(category.number for category in catalogue.categories if category.number in numbers):
        raise broken("standards_category", f"categories of version {action.version}, each once, ascending")


def check_scheme_time(state: StateReader, action: AnyAction, time_ms: int) -> None:
    """Raise RuleBroken where a decision on an accreditation would come too late at a block's time."""
    match action:
        case Accredit(member=member, role=role, valid_until_ms=until_ms):
            if until_ms <= time_ms:
                raise broken("accreditation_time", f"until after {time_ms}")
            if not has_room(read_accreditation(state, member, role), time_ms):
                raise broken("too_many_accreditations", f"at most {TERMS_KEPT_MAX}")
        case EndAccreditation():
            _ended_by(state, action, time_ms)
        case _:
            pass


def enact_scheme_action(context: ApplyContext, state: Transaction, action: SchemeAction) -> None:
    """Write what a decision that was just checked does, in the block of `context`."""
    check_scheme_time(state, action, context.time_ms)
    match action:
        case Accredit():
            term = Term(action.categories, action.valid_from_ms, action.valid_until_ms, action.standard)
            put_term(state, action.member, action.role, term, context.time_ms)
        case EndAccreditation(member=member, role=role):
            state.put(accreditation_key(member, role), _ended_by(state, action, context.time_ms))
        case SetSchemePolicy():
            put_scheme_policy(state, changed_scheme_policy(read_scheme_policy(state), action))
        case SetStandards(version=version, categories=categories):
            put_standards(state, CatalogueStandards(version, categories))
        case _:
            assert_never(action)


def _ended_by(state: StateReader, action: EndAccreditation, time_ms: int) -> Accreditation:
    """Return the accreditation after its end, which is never before the block: what counted then counts for good."""
    found = read_accreditation(state, action.member, action.role)
    assert found is not None, "checked before"
    after = ended(found, max(action.from_ms, time_ms), action.reason)
    if after == found:
        raise broken("not_accredited", f"nothing of {action.member} as {action.role} would end")
    return after


def changed_scheme_policy(present: SchemePolicy, action: SetSchemePolicy) -> SchemePolicy:
    """Return the scheme's policy with the figures that an action names."""
    figures = {name: getattr(action, name) for name in action.__struct_fields__}
    return replace(present, **{name: value for name, value in figures.items() if value is not None})
