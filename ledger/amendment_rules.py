"""The rules by which roles, root CAs, the policy, the catalogue and thresholds change, and what each change writes.

Judged like all of governance: by the state and the action alone, when proposed and again when it takes effect. These
actions came with the second rules. Not here: what a policy's figures and a catalogue are (`ledger.policy`,
`ledger.catalogue`). Source: decision records 10 and 17, domain §3.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from ledger.batch_headers import BATCH_BYTES_MAX, BATCH_EVENTS_MAX
from ledger.catalogue import (
    ALWAYS_NEEDED,
    CATALOGUES_MAX,
    Catalogue,
    catalogue_key,
    read_catalogues,
)
from ledger.genesis import GenesisError, check_source_roles
from ledger.governance_bodies import (
    AddCatalogue,
    Amendment,
    AnyAction,
    ChangePolicy,
    ReplaceCa,
    SetRoles,
    SetSourceRoles,
    SetThreshold,
)
from ledger.governance_errors import broken
from ledger.kinds import ApplyContext
from ledger.member_index import forget_old_ca, holder_of_ca, put_member, put_old_ca, put_source, read_old_ca
from ledger.member_rules import is_pem_certificate, present_member, registered_source
from ledger.members import Member, Role
from ledger.policy import DAY_MS, Policy, plan_policy, policy_range, read_planned, read_policy
from ledger.rules import read_rules
from ledger.state import StateReader, Transaction
from ledger.thresholds import LOWEST, is_below, put_threshold

RULES_AMENDMENTS = 2
"""The version of the rules that these actions came with."""
LEAST = {
    "block_events_max": BATCH_EVENTS_MAX,
    "block_bytes_max": BATCH_BYTES_MAX,
    "block_time_lag_ms_max": 1_000,
    "block_time_drift_ms_max": 500,
    "event_expiry_ahead_ms_max": 60_000,
}
"""No vote brings these figures lower, since no vote could bring them back.

A source whose batch fits no block is stopped for good; nobody's block is taken where clocks may differ by less than
they do; and where events expire before they are ordered, proposals and votes do too.
"""
AHEAD_HEIGHTS_MAX = 1_000_000
"""How far ahead the height may lie from which a policy or rules are in force: nobody decides otherwise before it."""
CATALOGUE_AHEAD_MS_MAX = 400 * DAY_MS
"""How far ahead a version of the catalogue may begin: none that follows is in force before it."""


def check_amendment(state: StateReader, action: Amendment, height: int) -> None:
    """Raise RuleBroken where the block at `height` may not make this change in this state."""
    if read_rules(state).at(height) < RULES_AMENDMENTS:
        raise broken("rules_needed", f"version {RULES_AMENDMENTS}")
    match action:
        case SetRoles(member=member, roles=roles):
            present_member(state, member)
            _check_roles(roles, tuple(Role))
        case SetSourceRoles(key=key, roles=roles):
            source = registered_source(state, key)
            _check_roles(roles, present_member(state, source.member).roles)
        case ReplaceCa():
            _check_ca(state, action)
        case ChangePolicy():
            _check_policy(state, action, height)
        case AddCatalogue():
            _check_catalogue(read_catalogues(state), action)
        case SetThreshold(action=action_type, share=share):
            lowest = LOWEST.get(action_type)
            if lowest is None:
                raise broken("threshold_fixed", f"one of {', '.join(LOWEST)}")
            if is_below(share, lowest):
                raise broken("threshold_low", f"at least {lowest}")
        case _:
            assert_never(action)


def enact_amendment(context: ApplyContext, state: Transaction, action: Amendment) -> None:
    """Write what a change that was just checked does, in the block of `context`."""
    check_begin(action, context.time_ms)
    match action:
        case SetRoles(member=member, roles=roles):
            put_member(state, replace(present_member(state, member), roles=roles))
        case SetSourceRoles(key=key, roles=roles):
            put_source(state, key, replace(registered_source(state, key), roles=roles))
        case ReplaceCa():
            _replace_ca(state, action)
        case ChangePolicy():
            plan_policy(state, changed_policy(read_policy(state), action), action.height, context.height)
        case AddCatalogue():
            _add_catalogue(state, action, context.time_ms)
        case SetThreshold(action=action_type, share=share):
            put_threshold(state, action_type, share)
        case _:
            assert_never(action)


def check_begin(action: AnyAction, time_ms: int) -> None:
    """Raise RuleBroken where a version of the catalogue would begin too long after a block's time."""
    if isinstance(action, AddCatalogue) and action.effective_from_ms > time_ms + CATALOGUE_AHEAD_MS_MAX:
        raise broken("catalogue_time", f"at most {time_ms + CATALOGUE_AHEAD_MS_MAX}")


def changed_policy(present: Policy, action: ChangePolicy) -> Policy:
    """Return the policy with the action's figures."""
    return replace(present, **{figure.name: figure.value for figure in action.figures})


def _check_roles(roles: tuple[Role, ...], admissible: tuple[Role, ...]) -> None:
    try:
        check_source_roles("roles", roles, admissible)
    except GenesisError as error:
        raise broken("bad_roles", f"{error.what}: {error.got}") from None


def _check_ca(state: StateReader, action: ReplaceCa) -> None:
    """Raise unless the CA is new to the chain, or is the member's present one and ends the time of the one before."""
    member: Member = present_member(state, action.member)
    if not action.ca_certificate or not is_pem_certificate(action.ca_certificate):
        raise broken("bad_ca", "one certificate as PEM in lines of 64, nothing before or after")
    if action.ca_certificate == member.ca_certificate:
        if action.keeps_old or read_old_ca(state, action.member) is None:
            raise broken("ca_taken", "it is the member's already")
        return
    if (other := holder_of_ca(state, action.ca_certificate)) is not None:
        raise broken("ca_taken", f"it is or was {other}'s")


def _replace_ca(state: Transaction, action: ReplaceCa) -> None:
    member = present_member(state, action.member)
    if action.keeps_old and member.ca_certificate:
        put_old_ca(state, action.member, member.ca_certificate)
    else:
        forget_old_ca(state, action.member)
    put_member(state, replace(member, ca_certificate=action.ca_certificate))


def _check_policy(state: StateReader, action: ChangePolicy, height: int) -> None:
    planned = read_planned(state)
    if planned is not None:
        raise broken("policy_pending", f"from height {planned.height} on")
    if 0 < action.height <= height:
        raise broken("policy_height", f"above {height}, or 0")
    if action.height > height + AHEAD_HEIGHTS_MAX:
        raise broken("policy_height", f"at most {height + AHEAD_HEIGHTS_MAX}")
    names = [figure.name for figure in action.figures]
    if len(set(names)) != len(names):
        raise broken("policy_figure", "one stands twice")
    present = read_policy(state)
    for figure in action.figures:
        found = policy_range(figure.name)
        if found is None:
            raise broken("policy_figure", figure.name)
        least, most = found
        # A chain that was founded with less may keep it, and get no lower.
        least = max(least, min(LEAST.get(figure.name, 0), getattr(present, figure.name)))
        if not least <= figure.value <= most:
            raise broken("policy_range", f"{figure.name}: {least} to {most}")


def _check_catalogue(held: list[Catalogue], action: AddCatalogue) -> None:
    newest = held[-1] if held else None
    following = 1 if newest is None else newest.version + 1
    if action.version != following:
        raise broken("catalogue_version", f"the next is {following}")
    if len(held) >= CATALOGUES_MAX:
        raise broken("too_many_catalogues", f"at most {CATALOGUES_MAX}")
    if newest is not None and 0 < action.effective_from_ms < newest.effective_from_ms:
        raise broken("catalogue_time", f"from {newest.effective_from_ms} on")
    numbers, slugs = {c.number for c in action.categories}, {c.slug for c in action.categories}
    if not len(numbers) == len(slugs) == len(action.categories):
        raise broken("bad_catalogue", "a number or slug stands twice")
    # A certificate's number names its category for good, so no later version gives the number to another.
    known = {category.number: category.slug for catalogue in held for category in catalogue.categories}
    numbered = {slug: number for number, slug in known.items()}
    for category in action.categories:
        if known.get(category.number, category.slug) != category.slug:
            raise broken("category_taken", f"{category.number} is {known[category.number]}")
        if numbered.get(category.slug, category.number) != category.number:
            raise broken("category_taken", f"{category.slug} is {numbered[category.slug]}")
        if len(set(category.evidence)) != len(category.evidence) or not set(ALWAYS_NEEDED) <= set(category.evidence):
            raise broken("bad_catalogue", f"evidence of {category.slug}: each kind once, {' and '.join(ALWAYS_NEEDED)}")


def _add_catalogue(state: Transaction, action: AddCatalogue, time_ms: int) -> None:
    """Write the version: what was in force at a time that has passed is never changed by a later decision."""
    newest = max((held.effective_from_ms for held in read_catalogues(state)), default=0)
    effective_ms = max(action.effective_from_ms, time_ms, newest)
    state.put(catalogue_key(action.version), Catalogue(action.version, effective_ms, action.source, action.categories))
