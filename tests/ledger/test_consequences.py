"""What an action would change and what members should know of it, found in a copy of the state."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.catalogue import CATALOGUE_2
from ledger.certificate_bodies import Product
from ledger.certificate_records import NO_HISTORY, Certificate, State
from ledger.consequences import Consequences, consequences_of
from ledger.genesis import Genesis
from ledger.governance_bodies import (
    ActivateRules,
    AddCatalogue,
    AnyAction,
    ChangePolicy,
    ExcludeMember,
    Figure,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetThreshold,
)
from ledger.kinds import RuleBroken
from ledger.members import Role
from ledger.state import Transaction
from ledger.thresholds import Share
from ledger.times import format_time
from p2p.certificates import certificate_pem, make_member_ca
from tests.ledger.governance_fixtures import START_MS, Council, Founded, bank, key_of


def of(council: Council, action: AnyAction) -> Consequences:
    return consequences_of(council.state, council.chain_id, action, council.chain.height + 1, council.now_ms + 10)


def changes(council: Council, action: AnyAction) -> dict[str, tuple[str, str]]:
    return {item.what: (item.before, item.after) for item in of(council, action).changes}


def codes(council: Council, action: AnyAction) -> list[str]:
    return [item.code for item in of(council, action).warnings]


def council(validators: int = 4) -> Founded:
    return Founded(validators, rules=(1, 2))


class Certifying(Founded):
    """A council whose outsider alone is a certification body."""

    def founded(self) -> Genesis:
        plain = super().founded()
        members = [replace(m, roles=(Role.CERTIFICATION_BODY,)) if m.id == "bank-4" else m for m in plain.members]
        members = [
            replace(m, sources=(replace(m.sources[0], roles=m.roles),)) if m.id == "bank-4" else m for m in members
        ]
        return replace(plain, members=tuple(members))


def test_what_is_found_is_what_the_decision_then_makes_of_the_state() -> None:
    found = council(7)
    actions = (
        RemoveValidator("node-6", True),
        SetRoles("bank-1", (Role.BANK, Role.LABORATORY)),
        ChangePolicy((Figure("appeal_window_days", 7),), 0),
        AddCatalogue(3, 0, "a notice", CATALOGUE_2.categories[1:]),
        SetThreshold("set_roles", Share.MAJORITY),
        RemoveSource(key_of("bank-7", "source").public),
    )
    for action in actions:
        expected = of(found, action)
        found.vote(found.propose(action), *range(4 if isinstance(action, AddCatalogue) else 5))
        assert found.set == expected.validators
    assert found.set.n == 6


def test_nothing_is_written_by_looking() -> None:
    found = council()
    before = dict(found.state.raw_scan(b""))
    of(found, SetRoles("bank-1", (Role.BANK, Role.LABORATORY)))
    assert dict(found.state.raw_scan(b"")) == before


def test_what_may_not_be_taken_has_no_consequences() -> None:
    with pytest.raises(RuleBroken, match="unknown_member"):
        of(council(), ExcludeMember("nobody"))


def test_a_change_of_each_kind_is_told_with_what_was_before_and_what_is_after() -> None:
    found = council()
    assert changes(found, SetRoles("bank-1", (Role.BANK, Role.LABORATORY))) == {
        "roles of bank-1": ("bank", "bank, laboratory")
    }
    assert changes(found, ChangePolicy((Figure("appeal_window_days", 7),), 0)) == {
        "policy appeal_window_days": ("60", "7")
    }
    assert changes(found, ChangePolicy((Figure("appeal_window_days", 7),), 90)) == {
        "policy appeal_window_days from height 90 on": ("60", "7")
    }
    assert changes(found, SetThreshold("set_roles", Share.MAJORITY)) == {
        "share that decides on set_roles": ("two_thirds", "majority")
    }
    later = AddCatalogue(3, 0, "a notice", CATALOGUE_2.categories[1:])
    gone = CATALOGUE_2.categories[0]
    version = {"catalogue version 3": ("", f"from {format_time(found.now_ms + 10)}, a notice")}
    assert changes(found, later) == {**version, "category 1": (f"{gone.slug}: {', '.join(gone.evidence)}", "")}
    named = replace(later, categories=(replace(gone, name="another name"), *CATALOGUE_2.categories[1:]))
    names = (f"{gone.name}, {gone.name_zh}", f"another name, {gone.name_zh}")
    assert changes(found, named) == {**version, "name of category 1": names}
    source = key_of("bank-4", "source").public
    assert changes(found, RemoveSource(source)) == {f"source {source.hex()[:16]}": ("bank-4: bank", "")}
    assert changes(found, ExcludeMember("bank-4")) == {"member bank-4": ("bank-4", "")}
    ca = certificate_pem(make_member_ca("bank-1", START_MS)[1])
    assert set(changes(found, ReplaceCa("bank-1", ca, True))) == {"root CA of bank-1", "old root CA of bank-1"}
    assert changes(Council(4, rules=(1, 2)), ActivateRules(2, 90)) == {"rules": ("1", "1, 2 from height 90 on")}
    assert list(changes(council(5), RemoveValidator("node-4", False))) == ["validator node-4"]
    assert list(changes(found, found.addition())) == ["validator node-4"], "as if its node were ready"


def test_a_policy_that_the_next_block_puts_in_force_is_what_a_change_is_compared_with() -> None:
    found = council()
    height = found.chain.height + 10
    found.vote(found.propose(ChangePolicy((Figure("appeal_window_days", 7),), height)), 0, 1, 2)
    other = ChangePolicy((Figure("appeal_window_days", 9),), 0)
    with pytest.raises(RuleBroken, match="policy_pending"):
        of(found, other)
    while found.chain.height < height - 2:
        found.block()
    assert changes(found, other) == {"policy appeal_window_days": ("7", "9")}
    found.propose(other)


def test_a_set_that_bears_fewer_faults_is_warned_of() -> None:
    assert "fewer_faults" in codes(council(7), RemoveValidator("node-6", True))
    assert codes(council(5), RemoveValidator("node-4", False)) == []


def test_a_member_that_alone_could_stop_order_is_warned_of() -> None:
    found = council()
    assert codes(found, found.addition(0, "node-x")) == ["one_member_stops"]
    assert codes(found, found.addition()) == []


def test_too_few_officers_are_warned_of_before_they_are_refused() -> None:
    found = council()
    assert codes(found, SetOfficers("bank-1", ())) == ["few_officers"]


def test_who_is_left_without_a_source_and_a_source_without_a_role_are_warned_of() -> None:
    found = council()
    assert codes(found, RemoveSource(key_of("bank-4", "source").public)) == ["source_without_roles", "member_mute"]
    assert codes(found, SetRoles("bank-4", (Role.LABORATORY,))) == ["source_without_roles"]


def test_a_role_that_nobody_has_any_more_is_warned_of() -> None:
    found = Certifying(4, rules=(1, 2))
    warned = of(found, SetRoles("bank-4", (Role.BANK,))).warnings
    assert [item.code for item in warned] == ["role_vacant", "source_without_roles"]
    assert "certification body" in warned[0].text
    assert bank(4) in warned[1].text


def test_certificates_that_would_have_no_certifying_body_are_warned_of() -> None:
    found = Certifying(4, rules=(1, 2))
    state = Transaction(found.state)
    ends = (START_MS, START_MS + 1)
    named = ("n", "a", "bank-1", "Bank", Product("p", "m", "1"), 1, 2, "bank-4", State.ACTIVE, START_MS, 1, *ends)
    plain = Certificate(*named, None, None, None, None, (), (), None, NO_HISTORY)
    for number, (body, stage) in enumerate(
        [("bank-4", State.ACTIVE), ("bank-4", State.REVOKED), ("bank-0", State.ACTIVE), ("bank-4", State.SUSPENDED)]
    ):
        state.put(f"certificate/{number}", replace(plain, body=body, state=stage))
    action = SetRoles("bank-4", (Role.BANK,))
    told = consequences_of(state, found.chain_id, action, found.chain.height + 1, found.now_ms + 10).warnings
    assert next(item.text for item in told if item.code == "certificates_without_body") == (
        "2 certificates of bank-4 would have no certifying body"
    )
