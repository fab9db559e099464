"""What the node tells rpc of itself: status, peers, readiness, version; read from the running parts."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chainnode.expiry import ca_endings, file_ending, own_warnings
from chainnode.lag import behind_blocks, is_catching_up, proved_ms
from chainnode.version import VERSION
from ledger.committed_state import CommittedState
from ledger.rows import FORMAT_VERSION
from ledger.times import format_time
from primitives.hashing import PROTOCOL_VERSION
from rpc.ports import Check, Ending, NodeStatus, PeerStatus, Version

if TYPE_CHECKING:
    from chainnode.node import Node


ENDINGS_KEPT_S: Final = 5.0


class LiveNodeView:
    """Implements `rpc.ports.NodeView` over a running node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._endings: list[Ending] | None = None
        self._looked_s = 0.0

    def status(self) -> NodeStatus:
        """Return the node's position and role."""
        node, state = self._node, self._node.core.replica.state
        leader = state.validators.validators[state.validators.leader(state.view)].name
        checkpoint = node.reader.checkpoint()
        return NodeStatus(
            chain_id=node.genesis.chain_id.hex(),
            node=node.config.node.name,
            member=node.config.node.member,
            role=self._role(),
            height=state.tip.height,
            epoch=state.epoch,
            view=state.view,
            leader=leader,
            peers=len(node.network.peers()),
            catching_up=self._catching_up(),
            version=VERSION,
            log_size=node.core.chain.log_size,
            checkpoint_size=0 if checkpoint is None else checkpoint.size,
            archived_height=node.archive.archived_height,
            base_height=int(node.reader.base()),
            warnings=[
                *(fault.sentence() for fault in node.key_faults()),
                *self._alone(),
                *self._unserved(),
                *self._ending(),
            ],
            behind_blocks=behind_blocks(state),
            proved_until=format_time(self._proved_ms()),
        )

    def peers(self) -> Sequence[PeerStatus]:
        """Return the linked peers, and the known ones that are not linked."""
        node, statuses = self._node, self._node.core.replica.state.statuses
        linked = {peer.name: peer for peer in node.network.peers()}
        rows = [
            PeerStatus(
                name,
                peer.member,
                peer.address,
                True,
                statuses[name].delivered if name in statuses else None,
                software=peer.software,
                protocol=peer.protocol,
                votes=statuses[name].votes if name in statuses else None,
            )
            for name, peer in linked.items()
        ]
        for listed in node.links.peers:
            if listed.name not in linked:
                rows.append(PeerStatus(listed.name, listed.member, f"{listed.host}:{listed.port}", False))
        return sorted(rows, key=lambda row: row.name)

    def ready(self) -> tuple[bool, Sequence[Check]]:
        """Return whether the node can serve and, as a validator, reach a quorum.

        An observer needs no quorum: one peer that is honest brings it everything, and one that holds back shows by what
        cannot be proved any more.
        """
        state = self._node.core.replica.state
        voters = state.voters_among(peer.name for peer in self._node.network.peers())
        observes = self._role() == "observer"
        needed = 1 if observes else state.validators.quorum - (1 if state.may_vow else 0)
        checks = [
            Check("not_halted", state.halted is None, state.halted or ""),
            Check(
                "peer_linked" if observes else "quorum_linked",
                voters >= needed,
                f"{voters} voters linked, {needed} needed",
            ),
            Check("caught_up", not self._catching_up(), f"height {state.tip.height}"),
        ]
        if observes:
            checks.append(self._fresh())
        ending = self._ending()
        if ending:  # told and never a failure: a node that is taken out of service renews nothing
            checks.append(Check("certificates", True, f"warning: {'; '.join(ending)}"))
        return all(check.ok for check in checks), checks

    def lag(self) -> tuple[int, float]:
        """Return how many blocks this node is behind, and the Unix time up to which it can prove the chain."""
        return behind_blocks(self._node.core.replica.state), self._proved_ms() / 1_000

    def _fresh(self) -> Check:
        """Judge whether what this node can prove is young enough to be served as the present."""
        proved = self._proved_ms()
        age_ms, allowed_ms = time.time_ns() // 1_000_000 - proved, self._node.config.ops.proved_ago_ms_max
        detail = f"proved until {format_time(proved)}, {age_ms / 1_000:.1f} s ago, {allowed_ms / 1_000:g} s allowed"
        return Check("fresh", age_ms <= allowed_ms, detail)

    def _proved_ms(self) -> int:
        core, reader = self._node.core, self._node.reader
        return proved_ms(core.chain.header, reader.checkpoint(), core.replica.state.validators.quorum)

    def version(self) -> Version:
        """Return what runs."""
        return Version(VERSION, PROTOCOL_VERSION, FORMAT_VERSION.decode(), platform.python_version())

    def endings(self) -> Sequence[Ending]:
        """Return when certificates of this node, of its linked peers and the members' root CAs end.

        Looked at again after ENDINGS_KEPT_S: statuses are asked for often, and a member's row holds its CA.
        """
        now_s = time.monotonic()
        if self._endings is None or now_s - self._looked_s >= ENDINGS_KEPT_S:
            self._endings, self._looked_s = self._endings_now(), now_s
        return self._endings

    def _endings_now(self) -> list[Ending]:
        node = self._node
        own, rpc = node.config.node, node.config.rpc
        found = file_ending("node_certificate", own.name, own.member, node.home.tls_certificate)
        if rpc.tls_certificate_file:
            path = node.home.resolve(rpc.tls_certificate_file)
            found += file_ending("rpc_certificate", own.name, own.member, path)
        found += [
            Ending("node_certificate", peer.name, peer.member, peer.certificate_ends_ms, "link")
            for peer in node.network.peers()
        ]
        return found + ca_endings(CommittedState(node.reader.store))

    def _ending(self) -> list[str]:
        own = self._node.config.node
        return own_warnings(self.endings(), own.name, own.member, time.time_ns() // 1_000_000)

    def _alone(self) -> list[str]:
        """Say of a node without links why there are none, as far as either side told."""
        node = self._node
        if not node.links.peers or node.network.peers():
            return []
        told = ", ".join(f"{reason} ({count})" for reason, count in node.metrics.refusals())
        return [f"no peer is linked; refused since the start: {told or 'nothing yet'}"]

    def _unserved(self) -> list[str]:
        """Say that no linked node holds the next block, where all said so: only a snapshot or another node helps."""
        state = self._node.core.replica.state
        if state.unserved != state.tip.height + 1:
            return []
        return [
            f"no linked node holds block {state.unserved} any more: link one that holds the whole chain, "
            "or begin again from a snapshot"
        ]

    def _role(self) -> str:
        state = self._node.core.replica.state
        if state.me is not None:
            return "validator"
        return "learner" if self._node.config.node.name in state.validators.indexes else "observer"

    def _catching_up(self) -> bool:
        """Whether a height above ours is certified, or claimed by more validators than may lie."""
        return is_catching_up(self._node.core.replica.state, is_stuck=bool(self._unserved()))
