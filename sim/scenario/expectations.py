"""Expectations: what must hold, and what is seen. Each returns whether it holds and a few words for the transcript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.messages import PrePrepare, ViewChange, Vote
from consensus.state import ReplicaState
from ledger.batches import ParsedBatch
from primitives.block import Block
from primitives.ids import Hash
from sim.scenario.stage import Stage
from sim.scenario.story import MESSAGE_NAMES, Letter
from sim.scenario.vocabulary import expectation
from sim.scenario.words import Match, ScenarioError, Unreadable
from sim.scenario.world import WatchedCore

Seen = tuple[bool, str]

FIGURES: Final[dict[str, Callable[[ReplicaState], int]]] = {
    "view": lambda state: state.view,
    "epoch": lambda state: state.epoch,
    "height": lambda state: state.tip.height,
    "checkpoint": lambda state: state.checkpoints.stable_height,
}


def _core(stage: Stage, found: Match, node: int) -> WatchedCore:
    core = stage.world.core(node)
    if core is None:
        raise ScenarioError(found.line.number, f"node {node} does not run")
    return core


def compare(op: str, got: int, expected: int) -> bool:
    """Say whether a figure is as expected: `=`, `>=` or `<=`."""
    return {"=": got == expected, ">=": got >= expected, "<=": got <= expected}[op]


def _each(stage: Stage, found: Match, key: str, look: Callable[[int], tuple[bool, object]]) -> Seen:
    """Return whether something holds at each node of a slot, and what is seen there."""
    seen = [(node, *look(node)) for node in stage.nodes(found, key)]
    return bool(seen) and all(holds for _, holds, _ in seen), ", ".join(f"{node}: {what}" for node, _, what in seen)


# --- where nodes are


@expectation(
    "view|epoch|height|checkpoint OP COUNT on NODES", "the view, epoch, delivered height or stable checkpoint of nodes"
)
def _figure(stage: Stage, found: Match) -> Seen:
    figure, op, expected = FIGURES[found.words("")[0]], found.word("op"), found.count("count")

    def look(node: int) -> tuple[bool, object]:
        got = figure(_core(stage, found, node).replica.state)
        return compare(op, got, expected), got

    return _each(stage, found, "on", look)


@expectation("time-out OP TIME on NODES", "the time-out that nodes have grown to")
def _timeout(stage: Stage, found: Match) -> Seen:
    expected = found.time("time", stage.setting.parameters.timeout_base_ms)

    def look(node: int) -> tuple[bool, object]:
        got = _core(stage, found, node).replica.state.timeout_ms()
        return compare(found.word("time-out"), got, expected), f"{got} ms"

    return _each(stage, found, "on", look)


@expectation(
    "active|waiting in view COUNT on NODES", "nodes vote in this view, or have left for it and wait for its NEW-VIEW"
)
def _active(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        state = _core(stage, found, node).replica.state
        wanted = found.words("")[0] == "active"
        return (state.view, state.active) == (
            found.count("view"),
            wanted,
        ), f"{state.view} {'active' if state.active else 'waiting'}"

    return _each(stage, found, "on", look)


@expectation("leader NODE on NODES", "nodes take this one for the leader of their view")
def _leader(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        state = _core(stage, found, node).replica.state
        name = state.validators.validators[state.validators.leader(state.view)].name
        return name == stage.world.nodes[stage.node(found, "leader")].name, name

    return _each(stage, found, "on", look)


@expectation("learner on NODES", "nodes follow without a vote")
def _learner(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        learner = _core(stage, found, node).replica.state.learner
        return learner, "learner" if learner else "voter"

    return _each(stage, found, "on", look)


@expectation("voters OP COUNT on NODES", "nodes hear from so many others that say they have a vote")
def _voters_heard(stage: Stage, found: Match) -> Seen:
    op, expected = found.word("voters"), found.count("count")

    def look(node: int) -> tuple[bool, object]:
        state = _core(stage, found, node).replica.state
        heard = state.voters_among(state.statuses)
        return compare(op, heard, expected), heard

    return _each(stage, found, "on", look)


@expectation("voter on NODES", "nodes are validators of their epoch, and may vote")
def _voter(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        index = _core(stage, found, node).replica.state.me
        return index is not None, "no vote" if index is None else f"validator {index}"

    return _each(stage, found, "on", look)


@expectation("halted on NODES [because TEXT]", "nodes stopped for good, and say why")
def _halted(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        halted = _core(stage, found, node).replica.state.halted
        return halted is not None and found.text("because") in halted, halted or "runs"

    return _each(stage, found, "on", look)


@expectation("down|running on NODES", "nodes are stopped, or run")
def _down(stage: Stage, found: Match) -> Seen:
    wanted = found.words("")[0]
    seen = [
        (node, "down" if stage.world.core(node) is None else "running")
        for node in stage.nodes(found, "on", everybody=True)
    ]
    return all(what == wanted for _, what in seen), ", ".join(f"{node}: {what}" for node, what in seen)


@expectation("no start of NODE TEXT", "a node refused to start from its disk, with these words")
def _no_start(stage: Stage, found: Match) -> Seen:
    node = stage.node(found, "of")
    why = stage.story.unstartable.get(node, "it was not refused")
    return stage.world.core(node) is None and found.text("text") in why, why


# --- what is ordered


def _heights(core: WatchedCore, wanted: Hash) -> list[int]:
    """Return the heights at which a block or batch stands in a node's chain."""
    found = []
    for height in range(1, core.chain.height + 1):
        block = core.reader.block(height)
        if block is not None and (block.hash == wanted or wanted in block.batch_hashes):
            found.append(height)
    return found


@expectation("committed NAMES on NODES", "blocks or batches stand exactly once in the chains of nodes")
def _committed(stage: Stage, found: Match) -> Seen:
    wanted: list[Hash] = []
    for name in found.words("committed"):
        held = stage.value(found, name, object)
        if isinstance(held, Block):
            wanted.append(held.header.hash())
        else:
            wanted.append(stage.value(found, name, ParsedBatch).hash)

    def look(node: int) -> tuple[bool, object]:
        core = _core(stage, found, node)
        heights = [_heights(core, item) for item in wanted]
        shown = " ".join("none" if not each else "+".join(map(str, each)) for each in heights)
        return all(len(each) == 1 for each in heights), f"height {shown}"

    return _each(stage, found, "on", look)


@expectation("same blocks on NODES", "the chains of nodes agree as far as they reach")
def _same(stage: Stage, found: Match) -> Seen:
    cores = [_core(stage, found, node) for node in stage.nodes(found, "on")]
    least = min((core.chain.height for core in cores), default=0)
    for height in range(1, least + 1):
        hashes = {view.hash for core in cores if (view := core.reader.block(height)) is not None}
        if len(hashes) != 1:
            return False, f"different blocks at height {height}"
    return least > 0, f"equal up to height {least}"


@expectation(
    "order on NODES",
    "nodes stand at one block, everything offered is in it or below, and its checkpoint is stable there",
)
def _order(stage: Stage, found: Match) -> Seen:
    cores = [(node, _core(stage, found, node)) for node in stage.nodes(found, "on")]
    tips = {core.chain.tip_hash for _, core in cores}
    heights = ", ".join(f"{node}: {core.chain.height}" for node, core in cores)
    if len(tips) != 1:
        return False, f"heights {heights}"
    for node, core in cores:
        if core.chain.batches.waiting:
            return False, f"a batch waits at {node}"
        if core.replica.state.checkpoints.stable_height < core.chain.height:
            return False, f"the checkpoint of height {core.chain.height} is not stable at {node}"
    return cores[0][1].chain.height > 0, f"heights {heights}"


@expectation("held NAMES by NODES", "batches wait at nodes, or are ordered")
def _held(stage: Stage, found: Match) -> Seen:
    wanted = [batch.hash for batch in stage.listed(found, "held", ParsedBatch)]

    def look(node: int) -> tuple[bool, object]:
        has = [_core(stage, found, node).chain.has_batch(item) for item in wanted]
        return all(has), "held" if all(has) else "not held"

    return _each(stage, found, "by", look)


# --- what became of the last `send`


def _fate(stage: Stage, found: Match, what: str, text: str = "") -> Seen:
    def look(node: int) -> tuple[bool, object]:
        fate = stage.fates.get(node, "nothing was sent to it")
        return fate.startswith(what) and text in fate, fate

    return _each(stage, found, "by", look)


@expectation("refused by NODES TEXT", "the last message of the file was held against its sender, with these words")
def _refused(stage: Stage, found: Match) -> Seen:
    return _fate(stage, found, "refused", found.text("text"))


@expectation("ignored by NODES", "the last message of the file changed nothing at nodes, and nobody is held to account")
def _ignored(stage: Stage, found: Match) -> Seen:
    return _fate(stage, found, "ignored")


@expectation("taken by NODES", "the last message of the file was taken in by nodes")
def _taken(stage: Stage, found: Match) -> Seen:
    return _fate(stage, found, "taken")


@expectation("declined by NODES TEXT", "nodes counted a refusal with these words since the last `mark`")
def _declined(stage: Stage, found: Match) -> Seen:
    text = found.text("text")

    def look(node: int) -> tuple[bool, object]:
        why = [why for who, why in stage.story.declined if who == node]
        matching = [item for item in why if text in item]
        return bool(matching), (matching or why or ["nothing"])[-1]

    return _each(stage, found, "by", look)


@expectation("moved by NODES TEXT", "nodes left or entered a view for this reason since the last `mark`")
def _moved(stage: Stage, found: Match) -> Seen:
    text = found.text("text")

    def look(node: int) -> tuple[bool, object]:
        why = [why for who, why in stage.story.moved if who == node]
        return any(text in item for item in why), "; ".join(dict.fromkeys(why)) or "did not move"

    return _each(stage, found, "by", look)


# --- what nodes sent


@expectation(
    "sent KIND by NODES [to NODE] [at height COUNT] [in view COUNT] [for NAME] [claiming NAME]",
    "each of these nodes itself sent a message of a kind since the last `mark`",
)
def _sent(stage: Stage, found: Match) -> Seen:
    kind = found.word("sent")
    if kind not in MESSAGE_NAMES:
        raise Unreadable(found.line.number, "no such kind of message", ", ".join(sorted(MESSAGE_NAMES)), kind)

    def look(node: int) -> tuple[bool, object]:
        letters = [letter for letter in stage.story.letters if letter.name == kind and letter.sender == node]
        count = len({letter.payload for letter in letters if _fits(stage, found, letter)})
        return count > 0, f"{count} sent"

    nodes = stage.nodes(found, "by", everybody=True)
    seen = [(node, *look(node)) for node in nodes]
    return all(holds for _, holds, _ in seen), ", ".join(f"{node}: {what}" for node, _, what in seen)


def _fits(stage: Stage, found: Match, letter: Letter) -> bool:
    message = letter.message
    if not letter.own:
        return False
    header = message.block.header if isinstance(message, PrePrepare) else None
    height = getattr(message, "height", None) if header is None else header.height
    block_hash = getattr(message, "block_hash", None) if header is None else header.hash()
    if found.has("to") and letter.receiver != stage.node(found, "to"):
        return False
    if found.has("height") and height != found.count("height"):
        return False
    if found.has("view") and getattr(message, "view", None) != found.count("view"):
        return False
    if found.has("for") and block_hash != stage.value(found, found.word("for"), Block).header.hash():
        return False
    if found.has("claiming"):
        wanted = stage.value(found, found.word("claiming"), Block).header.hash()
        return isinstance(message, ViewChange) and wanted in [item.certificate.block_hash for item in message.claims]
    return True


@expectation("evidence against NODE on NODES", "nodes hold two contradicting votes of a validator")
def _evidence(stage: Stage, found: Match) -> Seen:
    accused = stage.index(stage.node(found, "against"))

    def look(node: int) -> tuple[bool, object]:
        held = sorted(_core(stage, found, node).replica.state.accused)
        return accused in held, f"against {' '.join(map(str, held))}" if held else "none"

    return _each(stage, found, "on", look)


@expectation(
    "one vote by NODES at height COUNT [in view COUNT]",
    "each node sent PREPAREs and COMMITs of one block only, and some of it",
)
def _one_vote(stage: Stage, found: Match) -> Seen:
    def look(node: int) -> tuple[bool, object]:
        hashes = set()
        for letter in stage.story.letters:
            message = letter.message
            if letter.sender != node or not isinstance(message, Vote | PrePrepare) or not _fits(stage, found, letter):
                continue
            hashes.add(message.block.header.hash() if isinstance(message, PrePrepare) else message.block_hash)
        return len(hashes) == 1, f"{len(hashes)} blocks"

    return _each(stage, found, "by", look)
