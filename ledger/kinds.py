"""The mechanism by which a kind of event plugs into the ledger.

A kind is a number, its body records by schema number, a pure check of their shape and, where it changes the state,
the function that applies it. The kinds themselves live in their own modules (`ledger.certificates`,
`ledger.payments`, `ledger.members`); `ledger.registry` assembles them. Source: architecture §4 and §6.

Shape is judged before anything is signed and may look at nothing but the bytes. Everything else (permissions,
limits, the state) is judged in execution and ends as an outcome, so it can never make a batch invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from primitives.encoding import Record
from primitives.hashing import RULES_FIRST
from primitives.ids import Epoch, EventId, Hash, Height, MemberId, SourceKey, TimeMs

if TYPE_CHECKING:
    from ledger.policy import Policy
    from ledger.state import Transaction


class RuleBroken(Exception):
    """An event breaks a rule of the ledger: not an error but its outcome. `rule` is a snake-case slug."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """Where an event stands: all that a rule may know besides the state and the body.

    `roles` are the member's, `source_roles` those of the key that signed the batch (never more than its member has);
    both, as `policy`, come from the state after the block's parent. `time_ms` is the block's time, `epoch` its
    validators', `rules` the version of the rules that it follows.
    """

    chain_id: Hash
    epoch: Epoch
    rules: int
    member: MemberId
    source: SourceKey
    roles: frozenset[str]
    source_roles: frozenset[str]
    event_id: EventId
    reference: bytes
    height: Height
    time_ms: TimeMs
    policy: Policy


@dataclass(frozen=True, slots=True)
class QuickEvents:
    """What a quick reading found in events: the earliest expiry and each one's keys in the index (or None).

    `certificates` are the numbers of terminals' certificates, for each event or, where none names one, for none.
    """

    expires_ms_min: int
    uetrs: Sequence[bytes | None]
    pair_keys: Sequence[bytes | None]
    certificates: Sequence[bytes] = ()


APPLIED_A_MEMBER_MAX = 1_024
"""Events of one member and kind that a block applies where each reads and writes several records: some 0.1 s of it."""

# The body is typed Any because a function applies the records of its own kind only; the registry pairs them.
Apply = Callable[[ApplyContext, "Transaction", Any], None]
CheckShape = Callable[[Any], None]
QuickRead = Callable[[Sequence[bytes], str], "QuickEvents | None"]


@dataclass(frozen=True, slots=True)
class KindSpec:
    """One kind of event.

    `schemas` gives the body's record by schema number. `roles` are the roles of which the source needs one (empty:
    every registered source may). `apply` raises RuleBroken, and then none of its changes stay; it is None for kinds
    that are only recorded. `check_shape` is pure and raises InputError. Kinds with `changes_state` are deduplicated
    by (member, reference) before `apply` is called. `quick_events` may say by schema number, of a member's events at
    once and cheaply, that all are canonical events of this kind and schema whose bodies pass `check_shape`; None
    settles nothing. A kind that `is_dear` verifies signatures when it is applied: a block applies a few of each member,
    and the rest end as `too_many_in_block`. No block by rules before `rules_min` may hold an event of the kind, and
    none by rules before those of `schema_rules_min` one of that schema; schemas left out came with the kind. Of schemas
    in `schema_applied_max` a block applies at most as many of each member and kind, for the reason of the dear kinds.
    """

    kind: int
    name: str
    schemas: Mapping[int, type[Record]]
    changes_state: bool
    apply: Apply | None = None
    check_shape: CheckShape | None = None
    roles: frozenset[str] = frozenset()
    quick_events: Mapping[int, QuickRead] = field(default_factory=dict)
    is_dear: bool = False
    rules_min: int = RULES_FIRST
    schema_rules_min: Mapping[int, int] = field(default_factory=dict)
    schema_applied_max: Mapping[int, int] = field(default_factory=dict)

    def rules_for(self, schema: int) -> int:
        """Return the first version of the rules by which a block may hold an event of this schema."""
        return max(self.rules_min, self.schema_rules_min.get(schema, RULES_FIRST))

    def newest_schema(self, rules: int) -> int:
        """Return the newest schema that blocks by these rules may hold; the oldest where they may hold none."""
        usable = [schema for schema in self.schemas if self.rules_for(schema) <= rules]
        return max(usable, default=min(self.schemas))


def assemble(*groups: tuple[KindSpec, ...]) -> dict[int, KindSpec]:
    """Return the kinds by number; two kinds of one number or name are our own mistake and stop the program."""
    kinds: dict[int, KindSpec] = {}
    names: set[str] = set()
    for spec in (spec for group in groups for spec in group):
        assert 1 <= spec.kind <= 255, f"kind number out of range: {spec.kind} ({spec.name})"
        assert spec.kind not in kinds, f"kind number {spec.kind} taken twice ({spec.name})"
        assert spec.name not in names, f"kind name {spec.name} taken twice"
        assert not (spec.changes_state and spec.quick_events), f"{spec.name}: execution needs the bodies decoded"
        assert spec.changes_state == (spec.apply is not None), f"{spec.name}: apply and changes_state disagree"
        assert set(spec.schema_rules_min) <= set(spec.schemas), f"{spec.name}: rules for a schema that it lacks"
        assert spec.changes_state or not spec.schema_rules_min, f"{spec.name}: only decoded events show their schema"
        kinds[spec.kind] = spec
        names.add(spec.name)
    return kinds
