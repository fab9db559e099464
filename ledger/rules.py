"""Which version of the rules a block must carry: a function of the state after its parent.

Here: the versions that this build knows, the row `rules`, and how one version follows another at a height. A build that
knows two lists both, and its rules differ where they ask for `ApplyContext.rules` or by a kind's `rules_min` or
`schema_rules_min`. Not here: who decides on a version (`ledger.governance`), the wire protocol's version
(`primitives.hashing`). Source: architecture §5 (an unknown version stops the node, by name).
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.state import StateReader, Transaction
from primitives.encoding import Record
from primitives.errors import UsageError
from primitives.hashing import RULES_FIRST

RULES_KEY = "rules"
RULES_MAX = 65_535
RULES_SUPPORTED: tuple[int, ...] = (RULES_FIRST, 2, 3, 4)
"""Every version by whose rules this build can execute a block, ascending.

2: roles, root CAs, the policy, the catalogue and thresholds change by governance (`ledger.amendment_rules`).
3: certificates as the certification scheme runs them (`ledger.scheme_records`).
4: payments in full: keys to agree on pair secrets, disclosure, erasure (`ledger.pairing_keys`), offline vouchers
(`ledger.wallets`).
"""
RULES_NEWEST = RULES_SUPPORTED[-1]
RULES_SCHEME = 3
"""The version that brought the certification scheme in full."""
RULES_PAYMENTS = 4
"""The version that brought payments in full."""


class Rules(Record):
    """The row `rules`: `version` is in force below `height`, `following` from it on; 0 and 0 where none follows."""

    version: int
    following: int = 0
    height: int = 0

    def at(self, height: int) -> int:
        """Return the version that the block at `height` must carry."""
        return self.following if self.following and height >= self.height else self.version

    def pending_at(self, height: int) -> bool:
        """Say whether a later version is decided on that is not in force at `height` yet."""
        return bool(self.following) and height < self.height


class RulesUnknown(UsageError):
    """The chain goes on by rules that this build does not know."""

    reason = "rules_unknown"


def read_rules(state: StateReader) -> Rules:
    """Return the versions in force and to come; a chain begins with the first one."""
    return state.get(RULES_KEY, Rules) or Rules(RULES_FIRST)


def schedule_rules(state: Transaction, version: int, height: int, now_height: int) -> None:
    """Write that `version` is in force from `height` on; the one in force at `now_height` stays until then."""
    state.put(RULES_KEY, Rules(read_rules(state).at(now_height), version, height))


def missing_rules(rules: Rules, height: int, supported: Iterable[int]) -> str | None:
    """Return why this build cannot take part in the block at `height`; None where it can."""
    known = tuple(supported)
    version = rules.at(height)
    if version in known:
        return None
    start = f" from height {rules.height} on" if version == rules.following else ""
    return (
        f"this chain needs rules version {version}{start}; this release knows {', '.join(map(str, known))}: "
        "install a newer release"
    )
