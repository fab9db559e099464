"""Statements: what the world is, what goes on in it, and what breaks."""

from __future__ import annotations

from typing import Final

from consensus.records import decode_record
from ledger.batches import ParsedBatch
from primitives.block import Block
from primitives.votes import QuorumCertificate
from sim.disk import Written
from sim.malicious import BEHAVIOURS
from sim.network import Weather
from sim.scenario.altered import payload_of
from sim.scenario.batches import keep
from sim.scenario.stage import MS_MAX, Stage
from sim.scenario.story import MESSAGE_NAMES, NAMES_OF_KINDS, PHASES, name_of
from sim.scenario.vocabulary import VALUES, find, statement
from sim.scenario.words import NAME, Match, ScenarioError, Unreadable
from sim.scenario.world import ANYTHING, Rule
from sim.workload import bank_of, genesis_of

EVERYBODY: Final = ("all", "*")
KEPT: Final = {"nothing": Written.NOTHING, "rows": Written.ROWS, "half": Written.TORN, "all": Written.ALL}
NODES_MAX: Final = 100
PERCENT_MAX: Final = 100
OFFERED_MAX: Final = 10_000
"""Batches that one line offers."""
RUN_MS_MAX: Final = 24 * 3_600_000
FLIPPED_AT: Final = 500
"""Where a bit is flipped, in thousandths of the log."""

RECORDS: Final = {
    "proposal": "Proposed",
    "prepare": "Prepared",
    "commit": "Committed",
    "view-change": "ViewChanged",
    "new-view": "ViewStarted",
    "cosignature": "Cosigned",
}
"""Kind of record in the write-ahead log to its type's name."""


# --- what the world is


@statement("nodes COUNT", "how many banks there are, each with a validator; 4 if it is not said")
def _nodes(stage: Stage, found: Match) -> None:
    count = stage.count(found, "nodes", 1, NODES_MAX)
    stage.set(found, nodes=count, genesis=genesis_of(count))


@statement("real signatures", "sign and verify with Ed25519, as production does, instead of the simulator's stand-in")
def _real(stage: Stage, found: Match) -> None:
    stage.set(found, real_signatures=True)


@statement("weather loss COUNT replay COUNT delay TIME", "percent of messages lost and replayed, and delays up to this")
def _weather(stage: Stage, found: Match) -> None:
    loss, replay = (stage.count(found, key, 0, PERCENT_MAX) / PERCENT_MAX for key in ("loss", "replay"))
    delay_ms = found.time("delay", MS_MAX)  # of time-outs there are none yet
    if not 0 <= delay_ms <= MS_MAX:
        raise Unreadable(found.line.number, "the time after `delay`", f"0 to {MS_MAX} ms", f"{delay_ms} ms")
    stage.set(found, weather=Weather(loss=loss, replay=replay, delay_ms=delay_ms, tail_share=0.0))


@statement("brief", "leave proposals, votes and cosignatures out of the transcript from here on")
def _brief(stage: Stage, found: Match) -> None:
    del found
    stage.story.brief = True


# --- who is not honest


@statement("puppet NODES", "these nodes run no core: only the file speaks for them")
def _puppet(stage: Stage, found: Match) -> None:
    nodes = stage.nodes(found, "puppet", everybody=True)
    for node in nodes:
        stage.world.puppet(node)
    for node in stage.world.running():
        for puppet in nodes:
            core = stage.world.core(node)
            assert core is not None, "it runs"
            core.connected(bank_of(puppet))


@statement(
    "malicious NODES [as WORD] [beyond f]",
    "no rule is held against these nodes; what they send is twisted by a behaviour of `sim.malicious`, or by the file; "
    "more than f only if said",
)
def _malicious(stage: Stage, found: Match) -> None:
    nodes = stage.nodes(found, "malicious", everybody=True)
    _require_few(stage, found, nodes)
    for node in nodes:
        behaviour = stage.world.honest_twister(node)
        if found.has("as"):
            known = {getattr(make, "__name__", "").lower(): make for make in BEHAVIOURS}
            make = known.get(found.word("as"))
            if make is None:
                raise Unreadable(found.line.number, "no such behaviour", ", ".join(sorted(known)), found.word("as"))
            behaviour = make(stage.world.genesis_validators.validators[node], stage.world.chain_id)
        stage.world.release_node(node, behaviour)


def _require_few(stage: Stage, found: Match, nodes: list[int]) -> None:
    """Refuse more malicious nodes than the protocol bears, unless the file wants them: nothing need hold then."""
    world = stage.world
    f = world.genesis_validators.f
    evil = {node.index for node in world.nodes if node.malicious is not None and node.index not in world.puppets}
    evil |= set(nodes)
    if len(evil) > f and not found.has("beyond"):
        expected = f"at most {f} of {len(world.nodes)}, or `beyond f`"
        raise Unreadable(found.line.number, "too many malicious nodes", expected, " ".join(map(str, sorted(evil))))


# --- batches


@statement("offer NAMES", "hand batches to their own banks' nodes, and again every 2 s until they are committed there")
def _offer(stage: Stage, found: Match) -> None:
    for name in found.words("offer"):
        batch = stage.value(found, name, ParsedBatch)
        stage.story.say(f"({name}, number {batch.header.number} of {batch.header.member}, is offered)")
        stage.world.gateways.hand_in(int(batch.header.member.removeprefix("bank-")), batch.raw)
        stage.world.run_until(stage.world.now_ms)


@statement(
    "offer COUNT batches from NODE [every TIME]",
    "the same with so many new batches of one event, at once or one by one",
)
def _offers(stage: Stage, found: Match) -> None:
    count = stage.count(found, "offer", 1, OFFERED_MAX)
    node, every_ms = stage.node(found, "from"), stage.lasting(found, "every")
    for number in range(count):
        stage.world.schedule(stage.world.now_ms + number * every_ms, lambda: _offer_next(stage, node))
    stage.world.run_until(stage.world.now_ms)


def _offer_next(stage: Stage, node: int) -> None:
    raw = stage.world.gateways.sources[node].next_batch(1, stage.now_ms)
    keep(stage, raw)
    stage.world.gateways.hand_in(node, raw)


@statement(
    "give NAMES to NODES [from NODE]",
    "let batches arrive at nodes as a peer pushes them, their own bank's node by default",
)
def _give(stage: Stage, found: Match) -> None:
    stage.fates.clear()
    receivers = stage.nodes(found, "to", everybody=True)
    for name in found.words("give"):
        held = stage.value(found, name, object)
        if isinstance(held, ParsedBatch) and not found.has("from"):
            sender = int(held.header.member.removeprefix("bank-"))
        else:
            sender = stage.node(found, "from")
        _send(stage, found, name, sender, [node for node in receivers if node != sender])


# --- messages of the file


@statement(
    "send NAMES from NODE to NODES [as KIND]",
    "let messages arrive at nodes, as if this node had sent them; under another kind if so said",
)
def _sends(stage: Stage, found: Match) -> None:
    stage.fates.clear()
    sender = stage.node(found, "from")
    receivers = [node for node in stage.nodes(found, "to", everybody=True) if node != sender]
    for name in found.words("send"):
        _send(stage, found, name, sender, receivers)


def _send(stage: Stage, found: Match, name: str, sender: int, receivers: list[int]) -> None:
    wire = payload_of(stage.value(found, name, object))
    if wire is None:
        raise Unreadable(found.line.number, f"{name!r} is nothing to send", "a message or a batch")
    kind, payload = wire
    if found.has("as"):
        kind = _kind_number(found, found.word("as"))
    for receiver in receivers:
        fate = stage.world.say(sender, receiver, kind, payload)
        stage.fates[receiver] = fate
        if not fate.startswith(("refused", "declined")):
            stage.story.say(f"{name} from {bank_of(sender)} is {fate}", receiver)


def _kind_number(found: Match, name: str) -> int:
    number = {held: kind for kind, held in NAMES_OF_KINDS.items()}.get("vote" if name in PHASES.values() else name)
    if number is None:
        raise Unreadable(found.line.number, "no such kind of message", ", ".join(sorted(MESSAGE_NAMES)), name)
    return number


@statement("let NAME = VALUE", "give a value a name; blocks and batches are called by it in the transcript")
@statement(
    "expect [not] EXPECTATION [within TIME]",
    "end the play unless this holds now; with `within`, let time pass until it does",
)
def _own_words(stage: Stage, found: Match) -> None:
    del stage
    raise Unreadable(found.line.number, "not a statement of this form", found.line.text)  # `play` takes these two


def let(stage: Stage, found: Match) -> None:
    """Make the value that stands behind `let NAME =`; blocks and batches are called by that name from now on."""
    words = found.line.words
    if len(words) < 4 or words[2] != "=":
        raise Unreadable(found.line.number, "not a statement of this form", "let NAME = VALUE", found.line.text)
    if NAME.fullmatch(words[1]) is None:
        raise Unreadable(found.line.number, "no name", "small letters, digits and _, then any '", words[1])
    if words[1] in stage.values:
        raise Unreadable(found.line.number, "a second value of this name", "another name", words[1])
    entry, inner = find(VALUES, "value", found.line, words[3:])
    made = entry.action(stage, inner)
    name = words[1]
    if isinstance(made, Block):
        stage.blocks[made.header.hash()] = made
        stage.story.labels.setdefault(made.header.hash(), name)
    if isinstance(made, QuorumCertificate) and made.block_hash not in stage.blocks:
        stage.blocks.update({held.header.hash(): held for held in stage.values.values() if isinstance(held, Block)})
    stage.values[name] = made


# --- time


@statement("run TIME", "let time pass")
def _run(stage: Stage, found: Match) -> None:
    ms = stage.ms(found, "run")
    if not 0 <= ms <= RUN_MS_MAX:
        raise Unreadable(found.line.number, "time to run", f"0 to {RUN_MS_MAX} ms", str(ms))
    stage.world.run_until(stage.world.now_ms + ms)


@statement("mark", "`sent`, `declined` and `moved` look back to here only")
def _mark(stage: Stage, found: Match) -> None:
    del found
    stage.story.mark()


# --- nodes and disks


@statement(
    "crash NODES [keeping nothing|rows|half|all]",
    "stop nodes at once; of a write the disk keeps nothing, the ledger's rows, half of the log's frame too, or all",
)
def _crash(stage: Stage, found: Match) -> None:
    for node in _running(stage, found, "crash"):
        stage.world.crash(node, KEPT[found.word("keeping")] if found.has("keeping") else Written.NOTHING)


@statement(
    "doom NODE at its next WORD [keeping nothing|rows|half|all]",
    "stop a node in the middle of its next write of a proposal, prepare, commit, view-change, new-view or cosignature",
)
def _doom(stage: Stage, found: Match) -> None:
    node = stage.node(found, "doom")
    kept = KEPT[found.word("keeping")] if found.has("keeping") else Written.NOTHING
    _strike_at(stage, found, node, kept)


def _strike_at(stage: Stage, found: Match, node: int, kept: Written) -> None:
    """Stop a node in the first of its writes that holds a record of the kind that the file names."""
    wanted = RECORDS.get(found.word("next"))
    if wanted is None:
        raise Unreadable(found.line.number, "no such record", ", ".join(RECORDS), found.word("next"))

    def strike() -> None:
        write = stage.world.nodes[node].writing
        assert write is not None, "a doom strikes in a write"
        if any(type(decode_record(data)).__name__ == wanted for data in write.turn.records):
            stage.world.crash(node, kept)
        else:
            stage.world.go_on(node, strike)

    stage.world.nodes[node].doom = strike


@statement("flip a bit in the log of NODE", "damage what a stopped node's write-ahead log holds")
def _flip(stage: Stage, found: Match) -> None:
    (node,) = _stopped(stage, found, "of")
    stage.world.nodes[node].disk.log.flip(FLIPPED_AT, 0)


@statement("start NODES", "start stopped nodes from what their disks hold")
def _start(stage: Stage, found: Match) -> None:
    everybody = set(found.words("start")) & set(EVERYBODY)
    nodes = stage.nodes(found, "start", everybody=True) if everybody else _stopped(stage, found, "start")
    for node in nodes:
        if stage.world.core(node) is None and node not in stage.world.puppets:
            stage.world.start(node)
    stage.world.run_until(stage.world.now_ms)


def _running(stage: Stage, found: Match, key: str) -> list[int]:
    """Return the nodes of a slot, all of which must run."""
    nodes = stage.nodes(found, key)
    stopped = [node for node in nodes if stage.world.core(node) is None]
    if stopped:
        raise Unreadable(found.line.number, f"nothing to {key}", "a node that runs", f"{stopped[0]}, which is stopped")
    return nodes


def _stopped(stage: Stage, found: Match, key: str) -> list[int]:
    """Return the nodes of a slot, none of which may run."""
    nodes = stage.nodes(found, key, everybody=True)
    running = [node for node in nodes if stage.world.core(node) is not None]
    if running:
        what = "nothing to start" if key == "start" else "the disk of a node that runs"
        raise Unreadable(found.line.number, what, "a stopped node", str(running[0]))
    return nodes


@statement("wipe NODES", "a stopped node loses its disk: ledger and write-ahead log; its voting key is still there")
def _wipe(stage: Stage, found: Match) -> None:
    for node in _stopped(stage, found, "wipe"):
        stage.world.wipe(node, ledger=True, log=True)


@statement("lose the ledger|log of NODES", "a stopped node loses only one of the two")
def _lose(stage: Stage, found: Match) -> None:
    what = found.word("the")
    for node in _stopped(stage, found, "of"):
        stage.world.wipe(node, ledger=what == "ledger", log=what == "log")


@statement("back up NODE", "keep a copy of a node's ledger, as a backup holds it: no write-ahead log")
def _back_up(stage: Stage, found: Match) -> None:
    node = stage.node(found, "up")
    stage.notes[f"backup {node}"] = stage.world.nodes[node].disk.store.rows()


@statement("restore NODE from its backup", "a stopped node's disk becomes what the backup holds")
def _restore(stage: Stage, found: Match) -> None:
    (node,) = _stopped(stage, found, "restore")
    rows = stage.notes.get(f"backup {node}")
    if not isinstance(rows, dict):
        raise Unreadable(found.line.number, f"there is no backup of {node}", f"`back up {node}` before")
    stage.world.restore(node, rows)


@statement("clock of NODES is TIME off", "set clocks ahead, or back with a minus sign; at once and for good")
def _clock(stage: Stage, found: Match) -> None:
    nodes = stage.nodes(found, "of", everybody=True)
    stage.world.set_clocks(nodes, stage.ms(found, "is"))


# --- links


@statement("cut NODES -> NODES", "cut links in one direction")
def _cut(stage: Stage, found: Match) -> None:
    for sender in stage.nodes(found, "cut", everybody=True):
        for receiver in stage.nodes(found, "->", everybody=True):
            stage.world.network.cut(sender, receiver)


@statement("partition NODES | NODES", "cut all links between two groups, both ways")
def _partition(stage: Stage, found: Match) -> None:
    groups = [set(stage.nodes(found, key, everybody=True)) for key in ("partition", "|")]
    stage.world.network.partition(groups)


@statement("heal", "restore all links, and drop, hold and delay nothing any more; what was held arrives")
def _heal(stage: Stage, found: Match) -> None:
    del found
    stage.world.network.heal()
    stage.world.rules.clear()
    stage.world.release()


@statement("drop KIND [from NODES] [to NODES]", "lose messages of a kind on some links from here on")
def _drop(stage: Stage, found: Match) -> None:
    stage.world.rules.append(_rule(stage, found, "drop"))


@statement("hold KIND [from NODES] [to NODES]", "keep messages of a kind on their way until `release`")
def _hold(stage: Stage, found: Match) -> None:
    stage.world.rules.append(_rule(stage, found, "hold"))


@statement("delay KIND [from NODES] [to NODES] by TIME", "let messages of a kind take so much longer on some links")
def _delay(stage: Stage, found: Match) -> None:
    stage.world.rules.append(_rule(stage, found, "delay", stage.lasting(found, "by")))


@statement("release", "let what was held arrive; what is sent from now on is held as before")
def _release(stage: Stage, found: Match) -> None:
    del found
    stage.world.release()


def _rule(stage: Stage, found: Match, what: str, delay_ms: int = 0) -> Rule:
    kind = found.word(what)
    if kind != ANYTHING and kind not in MESSAGE_NAMES:
        expected = ", ".join([*sorted(MESSAGE_NAMES), ANYTHING])
        raise Unreadable(found.line.number, "no such kind of message", expected, kind)
    everybody = range(len(stage.world.nodes))
    senders = stage.nodes(found, "from", everybody=True) if found.has("from") else everybody
    receivers = stage.nodes(found, "to", everybody=True) if found.has("to") else everybody
    return Rule(what, kind, frozenset(senders), frozenset(receivers), delay_ms)


@statement("replay KIND from NODE to NODES", "let every message of a kind that a node sent arrive again, byte for byte")
def _replay(stage: Stage, found: Match) -> None:
    stage.fates.clear()
    sender = stage.node(found, "from")
    wire = dict.fromkeys(
        (letter.kind, letter.payload)
        for letter in stage.story.letters
        if letter.sender == sender and name_of(letter.kind, letter.payload) == found.word("replay")
    )
    if not wire:
        raise ScenarioError(found.line.number, f"node {sender} sent no {found.word('replay')}")
    for receiver in stage.nodes(found, "to", everybody=True):
        if receiver != sender:
            fates = [stage.world.say(sender, receiver, kind, payload) for kind, payload in wire]
            stage.fates[receiver] = max(fates)
            stage.story.say(
                f"{len(wire)} {found.word('replay')} of {bank_of(sender)} again: {', '.join(sorted(set(fates)))}",
                receiver,
            )
