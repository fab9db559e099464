"""A chain that begins by the fourth rules, with the members that payments need."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from ledger.genesis import Genesis, GenesisSource
from ledger.members import Role
from primitives.keys import SigningKey
from tests.ledger.governance_fixtures import Council, bank, genesis_of, key_of

AUDITOR, SWITCH, REGULATOR = bank(2), bank(3), bank(4)
"""Which of the members have other roles than a bank's."""
_ROLES = {AUDITOR: (Role.AUDITOR,), SWITCH: (Role.SWITCH,), REGULATOR: (Role.REGULATOR,)}


def source_of(member: str) -> SigningKey:
    """Return the key by which a member submits."""
    return key_of(member, "source")


@dataclass
class Paying(Council):
    """A council whose chain begins with the fourth rules: two banks, an auditor, a switch and a regulator."""

    rules: tuple[int, ...] = (1, 2, 3, 4)
    first_rules: int = 4

    def founded(self) -> Genesis:
        plain = genesis_of(self.validators + self.outsiders, self.validators)
        members = tuple(
            replace(each, roles=_ROLES[each.id], sources=(GenesisSource(source_of(each.id).public, _ROLES[each.id]),))
            if each.id in _ROLES
            else each
            for each in plain.members
        )
        return replace(plain, members=members, rules=self.first_rules)
