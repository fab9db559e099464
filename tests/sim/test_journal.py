"""The journal tells what became of every message, in the field's words, and changes nothing in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.core import BATCH, WIRE_KINDS
from consensus.effects import Delivered, Effect, Persist
from consensus.messages import PrePrepare, Vote, decode_message, encode_message, kind_of
from consensus.state import ReplicaState
from primitives.ids import Epoch, Hash, Height, View
from primitives.votes import COMMIT
from sim.cluster import Cluster
from sim.disk import Written
from sim.events import Offer
from sim.journal import Arrived, Happened, Journal, Lost, Sent, describe
from sim.network import CALM, Weather
from sim.plan import draw
from sim.run import build, run
from sim.twister import Twister
from sim.workload import START_MS

VOTE = next(kind for kind, (name, _, _) in WIRE_KINDS.items() if name == "Vote")


def seen(weather: Weather = CALM, until_ms: int = 3_000) -> tuple[Cluster, Journal]:
    journal = Journal()
    cluster = Cluster(1, weather=weather, journal=journal)
    for number in range(8):
        cluster.schedule(START_MS + 10 + 150 * number, Offer(number % 4, 2))
    cluster.run_until(START_MS + until_ms)
    return cluster, journal


def test_every_message_arrives_or_is_lost_with_the_reason() -> None:
    cluster, journal = seen(Weather(loss=0.2, delay_ms=5, tail_share=0.0))
    cluster.network.cut(0, 1)
    cluster.crash(2)
    cluster.run_until(START_MS + 5_000)
    sent = {entry.number: entry for entry in journal.entries if isinstance(entry, Sent)}
    ends = Counter(entry.number for entry in journal.entries if isinstance(entry, Arrived | Lost))
    early = [number for number, entry in sent.items() if entry.at_ms < 4_900]
    assert early
    assert all(ends[number] == 1 for number in early)
    assert {entry.why for entry in journal.entries if isinstance(entry, Lost)} == {"weather", "cut", "down"}


def test_each_type_of_message_has_its_line_in_the_fields_words() -> None:
    journal = Journal()
    scenario = draw(2)
    cluster = build(scenario)
    cluster.chronicle.journal = journal
    run(scenario, cluster)
    lines: dict[str, str] = {}
    for entry in journal.entries:
        if isinstance(entry, Sent):
            lines.setdefault(WIRE_KINDS[entry.kind][0], describe(entry.kind, entry.payload))
    assert {"PrePrepare", "Vote", "Status", "CheckpointVote", "Batch", "ViewChange", "NewView"} <= set(lines)
    assert lines["PrePrepare"].startswith("PRE-PREPARE v0 h1 ")
    assert lines["Vote"].startswith("PREPARE v0 h1 ")
    assert " by " in lines["Vote"]
    assert lines["Status"] == "STATUS in v0, delivered h0, prepared h0, stable h0"
    assert lines["NewView"].startswith("NEW-VIEW v1 on the VIEW-CHANGEs of ")
    assert lines["Batch"].startswith("BATCH ")


@pytest.mark.hypothesis
@given(kind=st.integers(0, 20), payload=st.binary(max_size=200))
def test_no_bytes_make_the_description_fail(kind: int, payload: bytes) -> None:
    assert describe(kind, payload)


def test_a_message_that_does_not_decode_is_named_by_its_kind() -> None:
    assert describe(VOTE, b"\x00") == "Vote that does not decode, 1 bytes"
    assert describe(99, b"") == "kind 99 that does not decode, 0 bytes"
    assert describe(BATCH, b"x").startswith("Batch that does not decode")


def test_a_run_is_the_same_with_a_journal_and_without() -> None:
    scenario = draw(5)
    written = build(scenario)
    journal = written.chronicle.journal = Journal()
    assert run(scenario, written) == run(scenario)
    assert journal.entries


def test_a_script_decides_what_arrives_and_when() -> None:
    def script(sender: int, receiver: int, kind: int, payload: bytes) -> tuple[int, ...] | None:
        if sender == 0 and receiver == 1:
            return ()
        return (7, 9) if kind == VOTE else None

    journal = Journal()
    cluster = Cluster(1, weather=CALM, journal=journal, script=script)
    cluster.schedule(START_MS + 10, Offer(0, 1))
    cluster.run_until(START_MS + 400)
    sent = {entry.number: entry for entry in journal.entries if isinstance(entry, Sent)}
    lost = {entry.number for entry in journal.entries if isinstance(entry, Lost)}
    assert lost == {number for number, entry in sent.items() if (entry.sender, entry.receiver) == (0, 1)}
    delays: dict[int, list[int]] = {}
    for entry in journal.entries:
        if isinstance(entry, Arrived) and sent[entry.number].kind == VOTE:
            delays.setdefault(entry.number, []).append(entry.at_ms - sent[entry.number].at_ms)
    assert delays
    assert all(found in ([7, 9], [7]) for found in delays.values())


def test_an_injected_message_arrives_as_its_senders_and_may_be_refused() -> None:
    cluster, journal = seen()
    vote = next(
        (entry.kind, entry.payload)
        for entry in journal.entries
        if isinstance(entry, Sent) and entry.sender == 2 and entry.kind == VOTE
    )
    cluster.inject(2, 1, *vote)
    cluster.run_until(START_MS + 3_010)
    assert cluster.nodes[1].refusals == 0
    forged = Vote(COMMIT, Epoch(0), View(0), Height(max(cluster.heights()) + 1), Hash(bytes(32)), 2, bytes(64))
    cluster.inject(2, 1, VOTE, encode_message(forged), delay_ms=3)
    cluster.run_until(START_MS + 3_020)
    assert cluster.nodes[1].refusals == 1
    last = [entry for entry in journal.entries if isinstance(entry, Happened)][-1]
    assert last.node == 1
    assert last.text.startswith("refuses COMMIT v0 h9 000000 by 2: ")


def test_twins_are_two_replicas_of_one_validator_and_an_observer_follows() -> None:
    cluster = Cluster(1, weather=CALM, seats=(0, 1, 2, 3, 3, None))
    honest = Twister(cluster.genesis_validators.validators[3], cluster.chain_id)
    cluster.nodes[3].malicious = cluster.nodes[4].malicious = honest
    for number in range(4):
        cluster.schedule(START_MS + 10 + 200 * number, Offer(number % 3, 1))
    cluster.run_until(START_MS + 4_000)
    heights = cluster.heights()
    assert heights[0] > 0
    assert heights == [heights[0]] * 6
    assert cluster.nodes[4].name == cluster.nodes[3].name == "bank-3"
    assert cluster.nodes[5].name == "observer-5"
    observer = cluster.nodes[5].core
    assert observer is not None
    assert observer.replica.state.me is None


class Trace:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []
        self.effects: dict[int, list[Effect]] = {}

    def started(self, node: int, state: ReplicaState) -> None:
        assert state.halted is None
        self.lines.append(("started", node))

    def synced(self, node: int, effects: Sequence[Effect]) -> None:
        self.effects.setdefault(node, []).extend(effects)

    def crashed(self, node: int, effects: Sequence[Effect], kept: Written) -> None:
        self.lines.append((f"crashed {kept.name}", node))

    def wiped(self, node: int, *, ledger: bool, log: bool) -> None:
        raise AssertionError((node, ledger, log))


def test_a_tracer_sees_starts_crashes_and_each_nodes_synced_effects_in_order() -> None:
    trace = Trace()
    cluster = Cluster(1, weather=CALM, tracer=trace)
    for number in range(4):
        cluster.schedule(START_MS + 10 + 200 * number, Offer(number % 4, 1))
    cluster.run_until(START_MS + 2_000)
    cluster.crash(2, Written.ROWS)
    cluster.start(2)
    assert trace.lines == [*(("started", node) for node in range(4)), ("crashed ROWS", 2), ("started", 2)]
    for node in range(4):
        heights = [item.committed.block.header.height for item in trace.effects[node] if isinstance(item, Delivered)]
        assert heights == list(range(1, max(cluster.heights()) + 1))
        assert any(isinstance(item, Persist) for item in trace.effects[node])


def test_numbers_of_kinds_in_the_journal_are_those_of_the_wire() -> None:
    _, journal = seen(until_ms=400)
    for entry in journal.entries:
        if isinstance(entry, Sent) and entry.kind == VOTE:
            message = decode_message(entry.kind, entry.payload)
            assert isinstance(message, Vote | PrePrepare)
            assert kind_of(message) == VOTE
