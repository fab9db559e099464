"""What is foretold of an action is what execution makes of the state: random actions, on states that they made."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ledger.amendment_rules import changed_policy
from ledger.catalogue import CATALOGUE_2, read_catalogues
from ledger.consequences import consequences_of
from ledger.genesis import GenesisMember
from ledger.governance import preview
from ledger.governance_bodies import (
    ActivateRules,
    AddCatalogue,
    AddMember,
    AddSource,
    AnyAction,
    ChangePolicy,
    ExcludeMember,
    Figure,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetSourceRoles,
    SetThreshold,
    source_statement,
    type_of,
)
from ledger.governance_records import Stage, electorate, voters
from ledger.kinds import RuleBroken
from ledger.members import GOVERNANCE_ROLE, Officer, Role, read_member, read_validators
from ledger.policy import Policy, policy_range, read_policy
from ledger.state import StateView
from ledger.thresholds import LOWEST, Share
from sim.motions import certificate_of
from tests.ledger.governance_fixtures import Founded, bank, key_of

GOVERNED = (b"member/", b"source/", b"old-ca/", b"catalogue/", b"validators", b"policy", b"rules", b"thresholds")
ACTIONS = 40


class Draws:
    """Draws actions, of which about half may be taken."""

    def __init__(self, seed: int, council: Founded) -> None:
        self.random, self.council, self.number = Random(seed), council, 0

    def action(self) -> AnyAction:
        self.number += 1
        return self.random.choice(self._made())

    def _made(self) -> list[AnyAction]:
        random, council, number = self.random, self.council, self.number
        who = random.randrange(8)
        name, roles = bank(who), tuple(random.sample(list(Role), random.randint(1, 3)))
        source = key_of(name, "source")
        fresh = key_of(name, f"further {number}")
        officers = (
            (Officer(key_of(name, f"officer {number}").public, GOVERNANCE_ROLE),) if random.random() < 0.7 else ()
        )
        figure = random.choice(Policy.__struct_fields__)
        limits = policy_range(figure)
        assert limits is not None
        height = random.choice((0, council.chain.height + random.randint(1, 30)))
        following = 1 + max(held.version for held in read_catalogues(council.state))
        return [
            SetRoles(name, roles),
            SetSourceRoles(source.public, roles),
            SetOfficers(name, officers),
            ReplaceCa(name, certificate_of(name, random.randint(1, 4)), random.random() < 0.5),
            ChangePolicy((Figure(figure, random.choice(limits)),), height),
            AddCatalogue(random.choice((following, 3)), 0, "a notice", CATALOGUE_2.categories[random.randrange(5) :]),
            SetThreshold(random.choice((*LOWEST, "add_member")), random.choice(list(Share))),
            RemoveValidator(f"node-{who}", random.random() < 0.7),
            RemoveSource(source.public),
            AddSource(
                name, fresh.public, (Role.BANK,), fresh.sign(source_statement(council.chain_id, name, fresh.public))
            ),
            AddMember(GenesisMember(f"new-{random.randrange(9)}", "New", (Role.LABORATORY,), "", (), (), ())),
            ExcludeMember(name),
            ActivateRules(random.choice((2, 3)), council.chain.height + 33 + random.randint(0, 9)),
        ]


def governed(state: StateView) -> dict[bytes, bytes]:
    return {key: value for key, value in state.raw_scan(b"") if key.startswith(GOVERNED)}


def _without_policy(rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in rows.items() if not key.startswith(b"policy")}


def decide(found: Founded, action: AnyAction) -> Stage:
    """Have the action proposed by a present voter and approved by all, in two blocks, and return its stage."""
    names = [name for name in voters(found.state) if read_member(found.state, name) is not None]
    carrier = next(name for name in names if _speaks(found, name))
    proposal = found.propose(action, carrier)
    for name in names:
        if found.stage(proposal) is not Stage.OPEN:
            break
        officer = _officer(found, name)
        if officer is not None:
            found.block((carrier, found.ballot(name, proposal, use=officer)))
    return found.stage(proposal)


def _speaks(found: Founded, name: str) -> bool:
    return found.chain.grant_of(found.chain.tip_hash, key_of(name, "source").public) is not None


def _officer(found: Founded, name: str) -> str | None:
    member = read_member(found.state, name)
    uses = ["officer", *(f"officer {number}" for number in range(ACTIONS + 1))]
    held = set() if member is None else {each.key for each in member.officers if each.role == GOVERNANCE_ROLE}
    return next((use for use in uses if key_of(name, use).public in held), None)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_foretold_is_what_execution_makes_of_the_state(seed: int) -> None:
    found = Founded(7, rules=(1, 2, 3))
    draws, seen = Draws(seed, found), Counter[str]()
    for _ in range(ACTIONS):
        action, before = draws.action(), governed(found.state)
        if isinstance(action, ChangePolicy) and changed_policy(read_policy(found.state), action) == read_policy(
            found.state
        ):
            continue
        votes = electorate(found.state).needed(action)
        try:
            expected = consequences_of(found.state, found.chain_id, action, found.chain.height + 1, found.now_ms + 10)
        except RuleBroken as refusal:
            seen["refused"] += 1
            rule = refusal.rule
        else:
            rule = ""
        if rule:
            carrier = next(name for name in voters(found.state) if _speaks(found, name))
            assert found.refused(action, carrier) == rule, "what is foretold to be refused is, by that rule"
            continue
        try:
            after = preview(found.state, found.chain_id, action, found.chain.height + votes + 1, found.now_ms + 10)
        except RuleBroken:
            continue  # by the time of its votes its height has come
        stage = decide(found, action)
        if stage is not Stage.ENACTED:
            assert stage in (Stage.FAILED, Stage.OPEN), "its height came before its votes, or officers are few"
            continue
        seen[type_of(action)] += 1
        assert expected.validators == read_validators(found.state)
        made, foretold = governed(found.state), governed(after)
        if b"policy-planned" in before:  # it may come into force among the votes
            if isinstance(action, ChangePolicy):
                continue
            before, made, foretold = map(_without_policy, (before, made, foretold))
        if not isinstance(action, AddCatalogue):  # which begins at the time of the block that decides
            assert made == foretold
        assert not expected.changes or made != before, (action, expected.changes)
        meant = bool(expected.changes) or isinstance(action, SetThreshold)  # which may set what a chain begins with
        assert meant or made == before, action
        assert all(item.before != item.after for item in expected.changes), (action, expected.changes)
    assert seen["refused"] >= 5
    assert len(seen) >= 8, seen
