"""A certificate's life by rules 1 and 2 leaves the very bytes that it left before the third rules came."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ledger.accreditations import AccreditedRole
from ledger.certificate_records import State
from ledger.governance_bodies import Accredit, SetSchemePolicy
from ledger.kinds import ApplyContext
from ledger.rules import RULES_SUPPORTED
from ledger.scheme_policy import MarkUse, RegisterImports
from tests.ledger.certificate_fixtures import EVENTS, Consortium
from tests.ledger.governance_fixtures import DAY_MS, Schemed


class Older(Consortium):
    """The consortium by a version of the rules."""

    def __init__(self, rules: int) -> None:
        self.rules = rules
        super().__init__()

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        return replace(super().context(member, desk, roles), rules=self.rules)


GOLDEN = "e0987852e76cb57c5cb4f2e4feee374b072b23ce60c0dfbfe7952aff9789ad91"

GOLDEN_OF_RULES_3 = "86be32e4b2d900e88224cb81d19f5d628eee683bdfdce9eacefd1527000c49d2"


@pytest.mark.parametrize("rules", [1, 2])
def test_every_road_of_a_life_leaves_the_bytes_that_it_left_before(rules: int) -> None:
    left = sha256()
    for state in State:
        consortium = Older(rules)
        consortium.bring_to(state)
        if state is State.SUSPENDED:
            member, desk, body = EVENTS["certificate.restore"]
            consortium.must(member, body, desk)
        for key, value in sorted(consortium.view.changes.items()):
            left.update(key + b"\0" + (value or b""))
    assert left.hexdigest() == GOLDEN


def test_a_chain_of_the_third_rules_leaves_the_blocks_that_it_left_before_the_fourth_came() -> None:
    council = Schemed(4, rules=RULES_SUPPORTED)
    proposal = council.propose(SetSchemePolicy(6, MarkUse.NOTICE, 90, RegisterImports.CLOSED, 3_600))
    council.vote(proposal, 0, 1, 2)
    accredit = council.propose(
        Accredit(
            "bank-1", AccreditedRole.LABORATORY, (6,), council.now_ms, council.now_ms + 365 * DAY_MS, "ISO/IEC 17025"
        )
    )
    council.vote(accredit, 0, 1, 2)
    council.rekey(3, 1)
    assert council.chain.tip_hash.hex() == GOLDEN_OF_RULES_3
