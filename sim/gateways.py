"""The gateways of a simulated consortium: each bank's source, and how its batches get into the chain.

A gateway hands a batch to its bank's own node, and again every RESUBMIT_MS until it is committed there, as production's
does. Here too: proposals and votes, which are events like any other. Not here: what they say (`sim.governance`), when
load comes (`sim.plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from chainnode.core import NodeCore
from ledger.batches import ParsedBatch, parse_batch
from ledger.execution import BlockRefused
from ledger.genesis import Genesis
from ledger.governance_bodies import AnyAction
from primitives.ids import EventId, TimeMs
from sim.governance import proposal, vote
from sim.node import SimNode
from sim.workload import DECIDER, Source, bank_of

RESUBMIT_MS: Final = 2_000

Act = Callable[[int, Callable[[SimNode, NodeCore, TimeMs], bool]], bool]
"""Lets the core of a node that runs do something by the node's clock; returns what that returns, False of one down."""


class Gateways:
    """The gateways of all banks, by the banks' numbers.

    A bank's own node has its number; one without a node of its own goes through another's. While `closed`, nothing of
    governance is submitted: the numbers of batches are then somebody else's to give.
    """

    def __init__(
        self,
        genesis: Genesis,
        nodes: int,
        now: Callable[[], TimeMs],
        schedule: Callable[[int, object], None],
        act: Act,
    ) -> None:
        self.sources = [Source(member.id, genesis.chain_id) for member in genesis.members]
        self.deciders = [Source(member.id, genesis.chain_id, DECIDER) for member in genesis.members]
        """Second keys, which submit decisions on certificates."""
        self.closed = False
        self._nodes = nodes
        self._chain_id = genesis.chain_id
        self._now = now
        self._schedule = schedule
        self._act = act

    def node_of(self, bank: int) -> int:
        """Return the index of the node that a bank goes through."""
        return bank % self._nodes

    def offer(self, bank: int, count: int) -> None:
        """Have a bank's source submit its next batch, of so many statements."""
        self.sources[bank].next_batch(count, self._now())
        self._hand_in(bank, self.sources[bank].parsed[-1])

    def submit(self, bank: int, event: bytes) -> None:
        """Have a bank's source submit one event, in a batch of its own."""
        if not self.closed:
            self.sources[bank].batch_of([event], self._now())
            self._hand_in(bank, self.sources[bank].parsed[-1])

    def say(self, bank: int, key: str, event: bytes) -> None:
        """Have one of a bank's sources submit one event of a certificate's life, in a batch of its own."""
        if not self.closed:
            source = (self.deciders if key == DECIDER else self.sources)[bank]
            source.batch_of([event], self._now())
            self._hand_in(bank, source.parsed[-1])

    def propose(self, bank: int, action: AnyAction) -> EventId:
        """Have a bank's source submit a proposal, and return its id."""
        proposal_id, event = proposal(bank_of(bank), action, self._now())
        self.submit(bank, event)
        return proposal_id

    def approve(self, proposal_id: EventId, banks: Iterable[int], *, approve: bool = True) -> None:
        """Have these banks' sources submit their votes on a proposal."""
        for bank in banks:
            self.submit(bank, vote(bank_of(bank), self._chain_id, proposal_id, self._now(), approve=approve))

    def hand_in(self, bank: int, raw: bytes) -> None:
        """Hand a batch to its bank's own node, and again until it is committed there or can't be any more."""
        self._hand_in(bank, parse_batch(raw))

    def _hand_in(self, bank: int, batch: ParsedBatch) -> None:
        if not self._act(self.node_of(bank), lambda node, core, now_ms: _submitted(node, core, batch, now_ms)):
            self._schedule(self._now() + RESUBMIT_MS, lambda: self._hand_in(bank, batch))


def _submitted(node: SimNode, core: NodeCore, batch: ParsedBatch, now_ms: TimeMs) -> bool:
    """Offer a batch to its node; say whether there is no more to do: it is committed there, or turned away for good."""
    number, _ = core.chain.next_number(core.chain.tip_hash, batch.header.source)
    if batch.header.number < number:
        return True
    try:
        core.chain.check_admission(core.chain.tip_hash, batch)
    except BlockRefused:
        return True  # its source was removed, or its member excluded
    offer = "offer_again" if core.chain.has_batch(batch.hash) else "submit_batch"
    if node.recording is not None:
        node.recording.note(offer, batch.raw, now_ms)
    getattr(core, offer)(batch, now_ms)
    return False
