"""What a node's parts stand at, put into its metrics when somebody asks for them.

Not here: the metrics themselves (`chainnode.metrics`), and what is counted as it happens.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ledger.evidence import recorded_count

if TYPE_CHECKING:
    from chainnode.node import Node


def render_metrics(node: Node) -> bytes:
    """Return all metrics as text, those of the moment read from the node's parts. On the loop."""
    state = node.core.replica.state
    pool = node.core.application.pool
    node.metrics.peers.set(len(node.network.peers()))
    node.metrics.certified_height.set(max(state.certified_height, state.tip.height))
    node.metrics.log_size.set(node.core.chain.log_size)
    node.metrics.archived_height.set(node.archive.archived_height)
    node.metrics.archive_missing.set(node.archive.missing_height)
    node.metrics.evidence_recorded.set(recorded_count(node.core.chain.state_after(node.core.chain.tip_hash)))
    node.metrics.ends(node.view.endings(), time.time_ns() // 1_000_000)
    node.metrics.pool_batches.set(len(pool))
    node.metrics.pool_bytes.set(pool.size_bytes)
    node.metrics.wal_bytes.set(node.wal.size_bytes)
    node.metrics.gateway_pending.set(node.gateway.pending)
    node.metrics.gateway_waiting.set(node.gateway.waiting_bytes)
    node.metrics.gateway_room.set(node.gateway.room_bytes)
    behind, proved_s = node.view.lag()
    node.metrics.behind_blocks.set(behind)
    node.metrics.proved_time.set(proved_s)
    node.metrics.position(
        height=state.tip.height,
        view=state.view,
        epoch=state.epoch,
        is_leader=state.leads,
        catching_up=node.view.status().catching_up,
    )
    return node.metrics.render()
