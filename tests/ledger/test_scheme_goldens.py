"""A certificate's life by rules 1 and 2 leaves the very bytes that it left before the third rules came."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ledger.certificate_records import State
from ledger.kinds import ApplyContext
from tests.ledger.certificate_fixtures import EVENTS, Consortium


class Older(Consortium):
    """The consortium by a version of the rules."""

    def __init__(self, rules: int) -> None:
        self.rules = rules
        super().__init__()

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        return replace(super().context(member, desk, roles), rules=self.rules)


GOLDEN = "e0987852e76cb57c5cb4f2e4feee374b072b23ce60c0dfbfe7952aff9789ad91"


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
