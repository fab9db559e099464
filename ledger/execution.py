"""Execution of a block: a pure function of (what stands after the parent, batches, time) to a header and a state.

Not here: where blocks come from, which of them are kept (`ledger.chain`), and what the kinds of event do. There are two
kinds of judgement. A block that may not be is refused as a whole (`BlockRefused`: wrong numbers, unknown sources, over
the limits). An event that breaks a rule ends with that rule as its outcome and blocks nothing. Admission, roles and
policy are those of the state after the parent. Source: architecture §2.2, §4 and §5.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from ledger.amendment_rules import RULES_AMENDMENTS
from ledger.batch_headers import BatchHeader
from ledger.batch_logs import BatchLogs, MemberGrowth
from ledger.batches import ParsedBatch
from ledger.events import Event
from ledger.inspection_closing import close_commitments
from ledger.inspection_standing import keep_standings
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.log_tiles import Added, LogTip, merge_added
from ledger.members import VALIDATORS_KEY, SourceGrant, read_validators, source_grant, touches_rights
from ledger.outcomes import (
    APPLIED,
    EXPIRED,
    EXPIRES_TOO_LATE,
    NOT_PERMITTED,
    TOO_MANY_IN_BLOCK,
    Outcome,
    outcomes_root,
    rejected,
)
from ledger.policy import POLICY_KEY, Policy, read_policy, turn_policy
from ledger.recent_blocks import note_block
from ledger.references import forget_expired, remember
from ledger.rules import RULES_KEY, RULES_PAYMENTS, RULES_SCHEME, RULES_SUPPORTED, Rules, missing_rules, read_rules
from ledger.smt import MapUpdate, ReadNode
from ledger.state import DERIVED_PREFIX, StateSource, StateView, Transaction
from ledger.voucher_forgetting import forget_vouchers
from primitives.block import Block, BlockHeader, batches_root
from primitives.errors import InputError
from primitives.hashing import SUITE
from primitives.ids import Epoch, EventId, Hash, Height, MemberId, SourceKey, TimeMs
from primitives.validators import ValidatorSet

DEAR_EVENTS_A_MEMBER_MAX = 8
"""Events of one member in a block whose kind verifies signatures when applied: bounds what a block can cost."""


class BlockRefused(InputError):
    """A block breaks the rules of blocks: no honest validator may vote for it."""

    reason = "block_refused"


class ForeignChain(BlockRefused):
    """A batch was signed for another chain."""

    reason = "foreign_chain"


class SourceUnknown(BlockRefused):
    """No member has registered the key that signed a batch, or it was removed."""

    reason = "source_not_registered"


class ForeignMember(BlockRefused):
    """A batch speaks for another member than the one whose key signed it."""

    reason = "foreign_member"


class Standing(Struct, frozen=True):
    """Everything that a block stands on: what holds after its parent.

    `rights_height` is that of the newest block since this process began that changed members or sources: below it, what
    a key was found to be allowed has to be looked up again. It is about this node's memory, not about the chain. So are
    `grants`, what registered sources may do by this state: blocks that change nobody's rights hand them on.
    """

    header: BlockHeader
    hash: Hash
    state: StateSource
    log: LogTip
    batch_logs: BatchLogs
    validators: ValidatorSet
    policy: Policy
    rules: Rules
    rights_height: Height = Height(0)
    grants: dict[bytes, SourceGrant] = field(default_factory=dict)

    def grant_of(self, source: bytes) -> SourceGrant | None:
        """Return what a source may do, None for a key without a right: of such keys there may be any number."""
        grant = self.grants.get(source)
        if grant is None:
            grant = source_grant(StateView(self.state), source)
            if grant is not None:
                self.grants[source] = grant
        return grant


class Executed(Struct, frozen=True):
    """A block with all that its execution gave; `after` is the standing for its children."""

    block: Block
    after: Standing
    view: StateView
    nodes: dict[Hash, bytes]
    replaced: list[Hash]
    log_before: LogTip
    log_added: Added
    growth: dict[str, MemberGrowth]
    batches: tuple[ParsedBatch, ...]
    outcomes: tuple[Outcome, ...]


def execute(
    parent: Standing,
    *,
    time_ms: int,
    epoch: int,
    proposer: int,
    batches: Sequence[ParsedBatch],
    read_node: ReadNode,
    kinds: Mapping[int, KindSpec],
    supported: Sequence[int] = RULES_SUPPORTED,
) -> Executed:
    """Return the block of these batches on top of `parent`, by the rules in force there. Raises BlockRefused."""
    height = Height(parent.header.height + 1)
    _check_place(parent, time_ms, epoch, proposer)
    rules = _rules_of(parent, supported)
    grants = _admit(parent, batches, kinds)
    view = StateView(parent.state)
    note_block(view, parent.header.height, parent.hash)
    forget_expired(view, time_ms)
    if rules >= RULES_AMENDMENTS:
        turn_policy(view, height)
    if rules >= RULES_SCHEME:
        close_commitments(view, height, time_ms, parent.hash)
    if rules >= RULES_PAYMENTS:
        forget_vouchers(view, time_ms)
    outcomes: list[Outcome] = []
    leaves: list[EventId] = []
    dear: Counter[str] = Counter()
    for batch, grant in zip(batches, grants, strict=True):
        outcomes += _run_batch(batch, grant, view, parent, kinds, TimeMs(time_ms), dear)
        leaves += batch.ids
    update = MapUpdate(read_node)
    authenticated = {key: value for key, value in view.changes.items() if not key.startswith(DERIVED_PREFIX)}
    state_root = update.apply(parent.header.state_root, authenticated)
    validators, policy, schedule = _governed(parent, view)
    rights, known = parent.rights_height, parent.grants
    if touches_rights(view.changes):
        rights, known = height, {}
    with_events, added = parent.log.extend(leaves)
    batch_logs, growth = parent.batch_logs.extend(batches)
    hashes = tuple(batch.hash for batch in batches)
    header = BlockHeader(
        suite=SUITE,
        version=rules,
        chain_id=parent.header.chain_id,
        height=height,
        epoch=Epoch(epoch),
        parent=parent.hash,
        time_ms=TimeMs(time_ms),
        proposer=proposer,
        batches_root=batches_root(hashes),
        first_index=parent.log.size,
        event_count=len(leaves),
        outcomes_root=outcomes_root(outcomes),
        log_root=with_events.root(),
        state_root=state_root,
        batch_logs_root=batch_logs.root(),
        next_validators=validators.hash,
    )
    block_hash = header.hash()
    log, header_added = with_events.extend([block_hash])
    return Executed(
        block=Block(header, hashes),
        after=Standing(header, block_hash, view, log, batch_logs, validators, policy, schedule, rights, known),
        view=view,
        nodes=update.nodes,
        replaced=update.replaced,
        log_before=parent.log,
        log_added=merge_added(added, header_added),
        growth=growth,
        batches=tuple(batches),
        outcomes=tuple(outcomes),
    )


def _check_place(parent: Standing, time_ms: int, epoch: int, proposer: int) -> None:
    where = f"block {parent.header.height + 1}"
    if time_ms <= parent.header.time_ms:
        raise BlockRefused("time", where=where, expected=f"after {parent.header.time_ms} (its parent's)", got=time_ms)
    if epoch != parent.validators.epoch:
        raise BlockRefused("epoch", where=where, expected=parent.validators.epoch, got=epoch)
    if not 0 <= proposer < parent.validators.n:
        raise BlockRefused("proposer", where=where, expected=f"an index below {parent.validators.n}", got=proposer)


def _rules_of(parent: Standing, supported: Sequence[int]) -> int:
    """Return the version of the rules that a block on `parent` carries; BlockRefused where this build lacks them."""
    height = parent.header.height + 1
    missing = missing_rules(parent.rules, height, supported)
    if missing is not None:
        raise BlockRefused("rules not known", where=f"block {height}", got=missing)
    return parent.rules.at(height)


def _admit(parent: Standing, batches: Sequence[ParsedBatch], kinds: Mapping[int, KindSpec]) -> list[SourceGrant]:
    """Return each batch's grant; BlockRefused unless all are of registered sources, next in number, within limits."""
    where = f"block {parent.header.height + 1}"
    policy = parent.policy
    for what, limit, got in (
        ("batches", policy.block_batches_max, len(batches)),
        ("events", policy.block_events_max, sum(batch.header.count for batch in batches)),
        ("bytes", policy.block_bytes_max, sum(batch.size for batch in batches)),
    ):
        if got > limit:
            raise BlockRefused(f"block of too many {what}", where=where, expected=f"at most {limit}", got=got)
    known: dict[bytes, SourceGrant] = {}
    tips: dict[bytes, tuple[int, Hash]] = {}
    for batch in batches:
        header = batch.header
        source = header.source
        check_kinds(parent, batch, kinds)
        if source not in known:
            known[source] = admitted(parent, parent.grant_of(source), batch)
            tip = parent.batch_logs.source_tip(source)
            tips[source] = (tip.next_number, tip.previous)
        elif header.member != known[source].member or header.chain_id != parent.header.chain_id:
            admitted(parent, known[source], batch)
        if (header.number, header.previous) != tips[source]:
            number, previous = tips[source]
            raise BlockRefused(
                "batch out of order",
                where=f"{where}, source {source.hex()[:16]} of {header.member}",
                expected=f"number {number} after {previous.hex()[:16]}",
                got=f"number {header.number} after {header.previous.hex()[:16]}",
            )
        tips[source] = (header.number + 1, batch.hash)
    return [known[batch.header.source] for batch in batches]


def check_kinds(standing: Standing, batch: ParsedBatch, kinds: Mapping[int, KindSpec]) -> None:
    """Raise BlockRefused where a batch holds an event of later rules than the next block's, by its kind or schema."""
    rules = standing.rules.at(standing.header.height + 1)
    gated = False
    for kind in sorted(batch.kinds) if len(batch.kinds) > 1 else batch.kinds:
        spec = kinds[kind]
        if spec.rules_min > rules:
            raise _of_later_rules(batch, spec.name, spec.rules_min, rules)
        gated = gated or any(version > rules for version in spec.schema_rules_min.values())
    if not gated:
        return
    for item in batch.stateful:
        spec, schema = kinds[item.event.kind], item.event.schema
        if spec.rules_for(schema) > rules:
            raise _of_later_rules(batch, f"schema {schema} of {spec.name}", spec.rules_for(schema), rules)


def _of_later_rules(batch: ParsedBatch, what: str, expected: int, rules: int) -> BlockRefused:
    return BlockRefused(
        f"{what} is of later rules",
        where=f"batch {batch.header.number} of source {batch.header.source.hex()[:16]}",
        expected=f"rules version {expected}",
        got=rules,
    )


def admitted(standing: Standing, grant: SourceGrant | None, batch: ParsedBatch) -> SourceGrant:
    """Return what the batch's source may do; BlockRefused where it is of another chain or its key has no `grant`."""
    header = batch.header
    if header.chain_id != standing.header.chain_id:
        raise ForeignChain(
            "batch of another chain",
            where=_place_of(header),
            expected=standing.header.chain_id,
            got=header.chain_id,
        )
    if grant is None:
        raise SourceUnknown(
            "source not registered",
            where=_place_of(header),
            expected=f"a registered key of {header.member}",
            got=header.source,
        )
    owner = standing.batch_logs.owner(header.source) or grant.member
    if not header.member == grant.member == owner:
        raise ForeignMember(
            "batch names another member than its source's", where=_place_of(header), expected=owner, got=header.member
        )
    return grant


def _place_of(header: BatchHeader) -> str:
    return f"batch {header.number} of source {header.source.hex()[:16]}"


def _run_batch(
    batch: ParsedBatch,
    grant: SourceGrant,
    view: StateView,
    parent: Standing,
    kinds: Mapping[int, KindSpec],
    time_ms: TimeMs,
    dear: Counter[str],
) -> list[Outcome]:
    """Return the outcomes of a batch's events, having applied those that change the state to `view`.

    `dear` counts the dear events of each member in the block.
    """
    policy, height = parent.policy, Height(parent.header.height + 1)
    latest = time_ms + policy.event_expiry_ahead_ms_max
    # Only kinds that change the state are bounded: their references are remembered until they expire. A record may
    # never expire, so that the id of a bank's message depends on the message alone.
    in_time = time_ms <= batch.expires_ms_min and all(item.event.expires_ms <= latest for item in batch.stateful)
    forbidden = {kind for kind in batch.kinds if not permitted(kinds[kind], grant)}
    if in_time and not forbidden and not batch.stateful:
        return [APPLIED] * batch.header.count
    outcomes = []
    stateful = {item.index: item for item in batch.stateful}
    for index, event in enumerate(batch.events):
        if event.expires_ms < time_ms:
            outcome = rejected(EXPIRED, f"at {event.expires_ms}, block time {time_ms}")
        elif index in stateful and event.expires_ms > latest:
            outcome = rejected(EXPIRES_TOO_LATE, f"at {event.expires_ms}, at most {latest}")
        elif event.kind in forbidden:
            needed = " or ".join(sorted(kinds[event.kind].roles))
            outcome = rejected(NOT_PERMITTED, f"{kinds[event.kind].name} needs the role {needed}")
        elif index not in stateful:
            outcome = APPLIED
        elif (most := _spent(kinds[event.kind], event, dear)) is not None:
            outcome = rejected(TOO_MANY_IN_BLOCK, f"at most {most} of a member; submit it again")
        else:
            context = ApplyContext(
                chain_id=parent.header.chain_id,
                epoch=parent.validators.epoch,
                rules=parent.rules.at(height),
                member=MemberId(event.member),
                source=SourceKey(batch.header.source),
                roles=grant.roles,
                source_roles=grant.source_roles,
                event_id=batch.ids[index],
                reference=event.reference,
                height=height,
                time_ms=time_ms,
                policy=policy,
            )
            outcome = _apply(context, event.expires_ms, kinds[event.kind], stateful[index].body, view)
        outcomes.append(outcome)
    return outcomes


def _spent(spec: KindSpec, event: Event, dear: Counter[str]) -> int | None:
    """Return how many events such as this a block applies of a member where that is reached, and count one if not."""
    if spec.is_dear:
        key, most = event.member, DEAR_EVENTS_A_MEMBER_MAX
    elif (limit := spec.schema_applied_max.get(event.schema)) is not None:
        key, most = f"{event.member}/{event.kind}", limit
    else:
        return None
    if dear[key] >= most:
        return most
    dear[key] += 1
    return None


def permitted(spec: KindSpec, grant: SourceGrant) -> bool:
    """Say whether a source may submit events of a kind."""
    return not spec.roles or not spec.roles.isdisjoint(grant.source_roles)


def _apply(context: ApplyContext, expires_ms: int, spec: KindSpec, body: object, view: StateView) -> Outcome:
    """Apply one event that changes the state: all of its changes or, where it breaks a rule, none."""
    assert spec.apply is not None
    transaction = Transaction(view)
    try:
        remember(view, context, expires_ms)
        spec.apply(context, transaction, body)
        if context.rules >= RULES_SCHEME:
            keep_standings(transaction, view, context.height)
    except RuleBroken as broken:
        return rejected(broken.rule, broken.detail)
    transaction.apply(view)
    return APPLIED


def _governed(parent: Standing, view: StateView) -> tuple[ValidatorSet, Policy, Rules]:
    """Return the validators, policy and rules after the block, decoded anew only where it changed them."""
    changed = view.changes
    validators = read_validators(view) if VALIDATORS_KEY.encode() in changed else parent.validators
    policy = read_policy(view) if POLICY_KEY.encode() in changed else parent.policy
    rules = read_rules(view) if RULES_KEY.encode() in changed else parent.rules
    return validators, policy, rules
