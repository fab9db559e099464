"""Statements: disks that are full, and rows of a ledger that cannot be read any more.

Not here: crashes, lost and torn disks (`actions`). A full disk fails the next write, and with it stops the node; a
damaged row stops the node that reads it, and nobody else.
"""

from __future__ import annotations

from typing import Final

from ledger.rows import block_key
from primitives.ids import Height
from sim.disk import Written
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import statement
from sim.scenario.words import Match, ScenarioError

KEPT: Final = {"nothing": Written.NOTHING, "rows": Written.ROWS, "half": Written.TORN}
TORN_SHARE: Final = 500
"""How much of a frame a full disk takes, in thousandths, where it takes half."""


@statement(
    "fill the disk of NODES [keeping nothing|rows|half]",
    "no more space: the next write stops the node, and of it the disk keeps nothing, the ledger's rows, or half more",
)
def _fill(stage: Stage, found: Match) -> None:
    kept = KEPT[found.word("keeping")] if found.has("keeping") else Written.NOTHING
    for node in stage.nodes(found, "of", everybody=True):
        stage.world.nodes[node].disk.full = (kept, TORN_SHARE)


@statement("free the disk of NODES", "there is space again; who stopped is started by `start`")
def _free(stage: Stage, found: Match) -> None:
    for node in stage.nodes(found, "of", everybody=True):
        stage.world.nodes[node].disk.full = None


@statement(
    "damage block COUNT on NODE",
    "a row of a node's ledger, that of a block, cannot be read any more until it is written anew",
)
def _damage(stage: Stage, found: Match) -> None:
    node, height = stage.node(found, "on"), Height(found.count("block"))
    store = stage.world.nodes[node].disk.store
    if not store.damage_row(block_key(height)):
        raise ScenarioError(found.line.number, f"node {node} has no block", "a committed height", str(height))
