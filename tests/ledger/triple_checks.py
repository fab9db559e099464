"""What every refused (standing, event, actor) triple must leave behind, whatever tables the triples are made from.

All refused events of a standing go into one block of a real chain, a batch of each actor: each ends by its rule's name,
the state is that of a block without them but for the references that are taken, and receipts prove the rejections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from ledger.events import event_id
from ledger.execution import permitted
from ledger.inspection_closing import close_commitments
from ledger.inspection_standing import keep_standings
from ledger.kinds import ApplyContext, RuleBroken
from ledger.members import source_grant
from ledger.policy import Policy
from ledger.receipts import make_receipt, verify
from ledger.registry import KINDS
from ledger.rules import RULES_SCHEME
from ledger.smt import MapUpdate
from ledger.state import DERIVED_PREFIX, StateView, Transaction
from primitives.encoding import Record, encode
from primitives.ids import EventId, Hash, Height, MemberId, SourceKey, TimeMs
from tests.ledger.governance_fixtures import key_of, place_of
from tests.ledger.scheme_chain_fixtures import SchemeChain

Actor = tuple[str, str]
"""A member, and which of its keys."""
Said = tuple[Actor, Record]
Refused = Mapping[Actor, Sequence[tuple[str, Record, str]]]
"""Of each actor the events that are refused: a name, the body, and the rule."""
SAMPLE = 3
"""Rejections of each standing whose receipts are verified, beside one of each rule."""
BLOCK_MS = 10
"""How far a block's time is from the clock of a chain of the tests (`Council.batches`)."""
SEEN = b"seen/"


class NextBlock:
    """A chain's next block, for events that are tried on it without being committed."""

    def __init__(self, chain: SchemeChain) -> None:
        self._chain = chain
        self.height, self.time_ms = chain.chain.height + 1, chain.now_ms + BLOCK_MS
        self.view = StateView(chain.state)
        close_commitments(self.view, self.height, self.time_ms, Hash(chain.chain.tip_hash))

    def say(self, actor: Actor, body: Record, event: EventId | None = None) -> str:
        """Apply an event, with the id that it will have; return the rule that it broke, empty where it was applied."""
        transaction = Transaction(self.view)
        rule = self._run(actor, body, event or EventId(sha256(encode(body)).digest()), transaction)
        if not rule:
            transaction.apply(self.view)
        return rule

    def rule_of(self, actor: Actor, body: Record) -> str:
        """Return the rule that an event would break, empty where it would be applied; the block stays as it is."""
        return self._run(actor, body, EventId(sha256(encode(body)).digest()), Transaction(self.view))

    def _run(self, actor: Actor, body: Record, event: EventId, transaction: Transaction) -> str:
        member, desk = actor
        source = key_of(member, desk).public
        grant = source_grant(self.view, source)
        assert grant is not None
        spec = KINDS[place_of(body)[0]]
        if not permitted(spec, grant):
            return "not_permitted"
        context = ApplyContext(
            chain_id=self._chain.chain_id,
            epoch=self._chain.set.epoch,
            rules=RULES_SCHEME,
            member=MemberId(member),
            source=SourceKey(source),
            roles=grant.roles,
            source_roles=grant.source_roles,
            event_id=event,
            reference=bytes(16),
            height=Height(self.height),
            time_ms=TimeMs(self.time_ms),
            policy=Policy(),
        )
        assert spec.apply is not None
        try:
            spec.apply(context, transaction, body)
            keep_standings(transaction, self.view, self.height)
        except RuleBroken as broken:
            return broken.rule
        return ""


def authenticated(view: StateView) -> dict[bytes, bytes]:
    """Return the whole state but the table of references."""
    return {
        key: value
        for key, value in view.raw_scan(b"")
        if not key.startswith(DERIVED_PREFIX) and not key.startswith(SEEN)
    }


def check_refused(chain: SchemeChain, refused: Refused, before: Sequence[Said] = ()) -> set[str]:
    """Commit a block of refused events, behind some that are applied, and hold it to what must be; return the rules."""
    first = [(f"{member}/{desk}", chain.event(member, body)) for (member, desk), body in before]
    expected = NextBlock(chain)
    for (actor, body), (_, event) in zip(before, first, strict=True):
        assert expected.say(actor, body, event_id(encode(event), event.kind)) == "", body
    said = [
        (f"{member}/{desk}", [chain.event(member, body) for _, body, _ in wanted])
        for (member, desk), wanted in refused.items()
        if wanted
    ]
    tip, root = chain.chain.tip_hash, chain.chain.header.state_root
    remembered = dict(chain.state.raw_scan(SEEN))
    update = MapUpdate(lambda node: chain.chain._read_node(tip, node))
    result = chain.batches(*((who, (event,)) for who, event in first), *said)
    assert all(outcome.applied for outcome in result.outcomes[: len(first)])
    found = [outcome.rule for outcome in result.outcomes[len(first) :]]
    triples = [(name, actor, rule) for actor, wanted in refused.items() for name, _, rule in wanted]
    assert [(*triple[:2], rule) for triple, rule in zip(triples, found, strict=True)] == triples
    assert authenticated(chain.state) == authenticated(expected.view)
    taken: dict[bytes, bytes | None] = dict(chain.state.raw_scan(SEEN))
    forgotten = dict.fromkeys(remembered.keys() - taken.keys())
    changed = {key: value for key, value in expected.view.changes.items() if not key.startswith(DERIVED_PREFIX)}
    assert update.apply(root, changed | taken | forgotten) == chain.chain.header.state_root, (
        "but for the references it is the same"
    )
    _check_receipts(chain, [(bytes(i), rule) for i, rule in zip(result.event_ids[len(first) :], found, strict=True)])
    return set(found)


def _check_receipts(chain: SchemeChain, rejected: list[tuple[bytes, str]]) -> None:
    """Hold receipts of a sample, one of each rule at least, to the rules by which their events were rejected."""
    chain.stable()
    by_rule = {rule: event for event, rule in rejected}
    order = sorted(rejected, key=lambda item: sha256(item[0]).digest())
    for event, rule in [*((event, rule) for rule, event in by_rule.items()), *order[:SAMPLE]]:
        receipt = make_receipt(chain.reader, event)
        assert receipt is not None
        verdict = verify(receipt, chain.policy())
        assert (verdict.applied, verdict.rule, verdict.event_id) == (False, rule, event)
