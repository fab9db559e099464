"""What an action of governance would change, found by taking it in a copy of the state, before anybody votes.

Here: the rows that it changes, in words, and what members should know of the state that it leaves. All of it is a
function of the state. Not here: which nodes are up and which certificates end (`rpc.methods.gov_check`), whether the
action may be taken (`ledger.governance_rules`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final

from ledger.amendment_rules import RULES_AMENDMENTS
from ledger.catalogue import Catalogue, catalogue_key
from ledger.certificate_records import Application, Certificate, State
from ledger.governance import preview
from ledger.governance_bodies import AnyAction
from ledger.governance_records import voters
from ledger.member_index import OldCa
from ledger.members import (
    GOVERNANCE_ROLE,
    VALIDATORS_KEY,
    Member,
    Role,
    Source,
    member_key,
    read_members,
    read_sources,
    read_validators,
    source_grant,
)
from ledger.policy import PLANNED_KEY, POLICY_KEY, PlannedPolicy, Policy, policy_figures, read_policy, turn_policy
from ledger.rules import RULES_KEY, Rules, read_rules
from ledger.scheme_consequences import nobody_left, scheme_changes
from ledger.state import StateReader, StateSource, StateView, Transaction
from ledger.thresholds import THRESHOLDS_KEY, Thresholds, votes_needed
from ledger.times import format_time
from ledger.voucher_consequences import voucher_changes
from primitives.ids import Hash
from primitives.validators import ValidatorSet

SCANNED_MAX: Final = 5_000
"""Certificates and applications that are looked at for one action, each."""
_LIVE: Final = frozenset({State.ACTIVE, State.SUSPENDED})
_WAITING: Final = frozenset({State.ACCEPTED, State.TYPE_TESTED, State.SITE_CHECKED, State.REVIEWED, State.GRANTED})


@dataclass(frozen=True, slots=True)
class Change:
    """Something that would be otherwise; empty where it was not there before, or is not after."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that members should know before they vote; `code` is for programs."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Consequences:
    """What an action changes, what to know of it, and who would validate from then on."""

    changes: tuple[Change, ...]
    warnings: tuple[Warning, ...]
    validators: ValidatorSet


def consequences_of(source: StateSource, chain_id: Hash, action: AnyAction, height: int, time_ms: int) -> Consequences:
    """Return what an action would do in the block at `height`. Raises RuleBroken where it may not be taken."""
    before = StateView(source)
    if read_rules(before).at(height) >= RULES_AMENDMENTS:
        turn_policy(before, height)  # as the block does before its first event
    after = preview(before, chain_id, action, height, time_ms)
    found = [change for key in sorted(after.changes) for change in _changes(before, after, key.decode())]
    changes = [change for change in found if change.before != change.after]
    return Consequences(tuple(changes), tuple(_warnings(before, after)), read_validators(after))


def _changes(before: StateReader, after: Transaction, key: str) -> Iterator[Change]:
    name = key.partition("/")[2]
    if key.startswith("member/"):
        yield from _member(name, before.get(key, Member), after.get(key, Member))
    elif key.startswith("old-ca/"):
        old, new = before.get(key, OldCa), after.get(key, OldCa)
        yield Change(f"old root CA of {name}", _ca(old), _ca(new))
    elif key.startswith("source/"):
        held, left = before.get(key, Source), after.get(key, Source)
        yield Change(f"source {name[:16]}", _source(held), _source(left))
    elif key == VALIDATORS_KEY:
        yield from _validators(read_validators(before), read_validators(after))
    elif key == RULES_KEY:
        yield Change("rules", _rules(read_rules(before)), _rules(read_rules(after)))
    elif key == THRESHOLDS_KEY:
        yield from _thresholds(before.get(key, Thresholds), after.get(key, Thresholds))
    elif key == POLICY_KEY:
        yield from _figures(read_policy(before), after.get(key, Policy), "")
    elif key == PLANNED_KEY:
        planned = after.get(key, PlannedPolicy)
        if planned is not None:
            when = f" from height {planned.height} on"
            figures = list(_figures(read_policy(before), planned.policy, when))
            yield from figures or [Change(f"policy{when}", "", "as it is, and no other is decided on before")]
    elif key.startswith("catalogue/"):
        added = after.get(key, Catalogue)
        assert added is not None, "no version leaves the state"
        begins = f"from {format_time(added.effective_from_ms)}, {added.source}"
        yield Change(f"catalogue version {added.version}", "", begins)
        yield from _catalogue(before.get(catalogue_key(int(name) - 1), Catalogue), added)
    else:
        yield from (Change(*item) for item in scheme_changes(before, after, key))
        yield from (Change(*item) for item in voucher_changes(before, after, key))


def _member(name: str, before: Member | None, after: Member | None) -> Iterator[Change]:
    if after is None:
        return
    if before is None:
        yield Change(f"member {name}", "", f"{after.name} ({', '.join(after.roles)})")
        return
    if after.excluded and not before.excluded:
        yield Change(f"member {name}", before.name, "")
    for what, old, new in (
        ("roles", ", ".join(before.roles), ", ".join(after.roles)),
        ("officers", _officers(before), _officers(after)),
        ("root CA", _fingerprint(before.ca_certificate), _fingerprint(after.ca_certificate)),
    ):
        if old != new:
            yield Change(f"{what} of {name}", old, new)


def _officers(member: Member) -> str:
    return ", ".join(f"{officer.key.hex()[:16]} ({officer.role})" for officer in member.officers)


def _fingerprint(pem: str) -> str:
    return sha256(pem.encode()).hexdigest()[:16] if pem else ""


def _ca(row: OldCa | None) -> str:
    return "" if row is None else _fingerprint(row.ca_certificate)


def _source(row: Source | None) -> str:
    return "" if row is None or row.removed else f"{row.member}: {', '.join(row.roles)}"


def _rules(rules: Rules) -> str:
    return (
        f"{rules.version}, {rules.following} from height {rules.height} on" if rules.following else f"{rules.version}"
    )


def _validators(before: ValidatorSet, after: ValidatorSet) -> Iterator[Change]:
    old = {validator.name: validator for validator in before.validators}
    new = {validator.name: validator for validator in after.validators}
    for name in sorted(old.keys() | new.keys()):
        was, will = old.get(name), new.get(name)
        if was != will:
            sides = ["" if item is None else f"{item.member}, key {item.vote_key.hex()[:16]}" for item in (was, will)]
            yield Change(f"validator {name}", *sides)


def _thresholds(before: Thresholds | None, after: Thresholds | None) -> Iterator[Change]:
    old, new = before or Thresholds(), after or Thresholds()
    for action in sorted({item.action for item in (*old.set, *new.set)}):
        if old.share_of(action) is not new.share_of(action):
            yield Change(f"share that decides on {action}", old.share_of(action).value, new.share_of(action).value)


def _figures(before: Policy, after: Policy | None, when: str) -> Iterator[Change]:
    old = policy_figures(before)
    for name, value in ({} if after is None else policy_figures(after)).items():
        if old[name] != value:
            yield Change(f"policy {name}{when}", str(old[name]), str(value))


def _catalogue(before: Catalogue | None, after: Catalogue) -> Iterator[Change]:
    old = {} if before is None else {item.number: item for item in before.categories}
    new = {item.number: item for item in after.categories}
    for number in sorted(old.keys() | new.keys()):
        was, will = old.get(number), new.get(number)
        if was != will:
            sides = ["" if item is None else f"{item.slug}: {', '.join(item.evidence)}" for item in (was, will)]
            yield Change(f"category {number}", *sides)
        if was is not None and will is not None:
            names = [f"{item.name}, {item.name_zh}" for item in (was, will)]
            yield Change(f"name of category {number}", *names)


# --- what members should know


def _warnings(before: StateView, after: Transaction) -> Iterator[Warning]:
    yield from _set_warnings(before, after)
    changed = [key.decode().partition("/") for key in sorted(after.changes)]
    for key in sorted(after.changes):
        if (left := nobody_left(before, after, key.decode())) is not None:
            role, categories = left
            numbers = ", ".join(map(str, categories))
            yield Warning("none_accredited", f"no {role} would be accredited for {numbers} any more")
    members = [name for kind, _, name in changed if kind == "member"]
    sources = [bytes.fromhex(name) for kind, _, name in changed if kind == "source"]
    if members:
        yield from _vacant_roles(before, after)
    for name in members:
        yield from _without_body(before, after, name)
    touched = set(sources) | {key for key, row in read_sources(before) if row.member in members}
    for key in sorted(touched):
        had, has = source_grant(before, key), source_grant(after, key)
        if had is not None and had.source_roles and (has is None or not has.source_roles):
            yield Warning("source_without_roles", f"source {key.hex()[:16]} of {had.member} may submit nothing more")
    yield from _mute(before, after, {*members, *(row.member for key, row in read_sources(after) if key in touched)})


def _set_warnings(before: StateView, after: Transaction) -> Iterator[Warning]:
    old, new = read_validators(before), read_validators(after)
    if new.f < old.f:
        yield Warning("fewer_faults", f"{new.n} validators bear {new.f} faulty ones, the present {old.n} {old.f}")
    if new.f == 0:
        yield Warning("no_fault_borne", f"{new.n} validators bear no faulty one: each that stops, stops the chain")
    counts: dict[str, int] = {}
    for validator in new.validators:
        counts[validator.member] = counts.get(validator.member, 0) + 1
    for name, count in sorted(counts.items()):
        if count > new.f > 0 and new != old:
            yield Warning("one_member_stops", f"{name} alone, with {count} of {new.n} validators, could stop order")
    members = {member.id: member for member in read_members(after)}
    able = [name for name in voters(after) if _has_officer(members.get(name))]
    needed = votes_needed(len(voters(after)))
    if len(able) <= needed and len(able) < len(voters(after)):
        yield Warning(
            "few_officers", f"{len(able)} of {len(voters(after))} voting members have an officer; {needed} decide"
        )


def _has_officer(member: Member | None) -> bool:
    return member is not None and any(officer.role == GOVERNANCE_ROLE for officer in member.officers)


def _vacant_roles(before: StateReader, after: StateReader) -> Iterator[Warning]:
    held = [
        {role for item in read_members(state) if not item.excluded for role in item.roles} for state in (before, after)
    ]
    for role in sorted(held[0] - held[1]):
        yield Warning("role_vacant", f"no member is a {role.replace('_', ' ')} any more")


def _without_body(before: StateReader, after: StateReader, name: str) -> Iterator[Warning]:
    """Say which certificates and applications a certification body leaves behind that would be one no more."""
    if not _certifies(before.get(member_key(name), Member)) or _certifies(after.get(member_key(name), Member)):
        return
    rows = list(islice(before.scan("certificate/", Certificate), SCANNED_MAX))
    live = sum(row.body == name and row.state in _LIVE for _, row in rows)
    least = "at least " if len(rows) == SCANNED_MAX else ""
    if live:
        yield Warning(
            "certificates_without_body", f"{least}{live} certificates of {name} would have no certifying body"
        )
    waiting = list(islice(before.scan("application/", Application), SCANNED_MAX))
    pending = sum(row.body == name and row.state in _WAITING for _, row in waiting)
    least = "at least " if len(waiting) == SCANNED_MAX else ""
    if pending:
        yield Warning("applications_without_body", f"{least}{pending} applications that {name} accepted would wait")


def _certifies(member: Member | None) -> bool:
    return member is not None and not member.excluded and Role.CERTIFICATION_BODY in member.roles


def _mute(before: StateReader, after: StateReader, names: set[str]) -> Iterator[Warning]:
    speaking = [
        {row.member for key, row in read_sources(state) if source_grant(state, key) is not None}
        for state in (before, after)
    ]
    for name in sorted(names & (speaking[0] - speaking[1])):
        yield Warning("member_mute", f"{name} has no source any more, and submits nothing")
