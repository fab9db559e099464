"""How messages travel in a simulated cluster: who gets one, what malicious senders make of it, what links do to it.

Nothing that binds its sender leaves before it is on the sender's disk: that is required of each letter here. Not here:
what a message does where it arrives (`sim.cluster`), what the weather is (`sim.network`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from chainnode.core import Outgoing
from consensus import messages
from consensus.invariants import require
from sim.chronicle import Chronicle
from sim.events import Arrival
from sim.network import Network
from sim.node import SimNode
from sim.streams import Streams
from sim.twister import Letter
from sim.workload import START_MS

SIGNED_KINDS: Final = frozenset(
    kind
    for kind, (type_, _) in messages.KINDS.items()
    if type_ in (messages.PrePrepare, messages.Vote, messages.ViewChange, messages.NewView, messages.CheckpointVote)
)
"""What binds its signer, and so must be on the sender's disk before it leaves."""

Script = Callable[[int, int, int, bytes], tuple[int, ...] | None]
"""Decides a message by (sender, receiver, kind, payload): the delays of its copies in ms (none: it is lost), or None
to let the weather decide. Cut links stay cut."""


class Post:
    """Carries the letters of one cluster, whose `nodes` and `network` it looks at; arrivals go into its queue."""

    def __init__(
        self,
        nodes: Sequence[SimNode],
        network: Network,
        streams: Streams,
        chronicle: Chronicle,
        schedule: Callable[[int, object], None],
        script: Script | None,
    ) -> None:
        self._nodes = nodes
        self._network = network
        self._streams = streams
        self._chronicle = chronicle
        self._schedule = schedule
        self._script = script

    def send(self, node: SimNode, message: Outgoing, now_ms: int) -> None:
        """Let a message of a node leave for one peer or all, as its behaviour twists it."""
        name, peer, kind, payload = node.name, message.peer, message.kind, message.payload
        peers = [other.index for other in self._nodes if other.name != name and (peer is None or other.name == peer)]
        if node.malicious is None:
            if kind in SIGNED_KINDS:
                written = payload in node.disk.promised or _shown(node, message)
                require(written, "no send before its write", (node.index, kind))
            for receiver in peers:
                self._carry(node.index, receiver, kind, payload, now_ms)
            return
        letters = [Letter(receiver, kind, payload) for receiver in peers]
        twisted = node.malicious.twist(letters, self._streams.of(f"malicious {node.index}"))
        for letter in twisted:
            self._carry(node.index, letter.receiver, letter.kind, letter.payload, now_ms, letter.late_ms)

    def inject(self, sender: int, receiver: int, kind: int, payload: bytes, now_ms: int, delay_ms: int) -> None:
        """Let a crafted message arrive as if `sender` had sent it: no weather, no script, but cuts hold."""
        number = self._chronicle.sent(now_ms - START_MS, sender, receiver, kind, payload)
        self._schedule(now_ms + delay_ms, Arrival(number, sender, receiver, kind, payload, injected=True))

    def _carry(self, sender: int, receiver: int, kind: int, payload: bytes, now_ms: int, late_ms: int = 0) -> None:
        """Decide by cut links, the script or the weather whether and when a letter arrives."""
        number = self._chronicle.sent(now_ms - START_MS, sender, receiver, kind, payload)
        if not self._network.linked(sender, receiver):
            self._chronicle.lost(now_ms - START_MS, number, "cut")
            return
        delays = None if self._script is None else self._script(sender, receiver, kind, payload)
        why = "weather" if delays is None else "script"
        if delays is None:
            delays = self._network.delays(sender, receiver, len(payload), now_ms)
        for delay_ms in delays:
            self._schedule(now_ms + late_ms + delay_ms, Arrival(number, sender, receiver, kind, payload))
        if not delays:
            self._chronicle.lost(now_ms - START_MS, number, why)


def _shown(node: SimNode, message: Outgoing) -> bool:
    """Say whether a node passes on what another one signed: the PREPARE of a leader that proposed two blocks."""
    if messages.KINDS[message.kind][0] is not messages.Vote:
        return False
    vote = messages.decode_message(message.kind, message.payload)
    assert isinstance(vote, messages.Vote), "as its kind says"
    assert node.core is not None, "a node that sends runs"
    return vote.validator != node.core.replica.state.me
