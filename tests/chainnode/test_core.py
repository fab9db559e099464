"""The pure core: what peers send it, what a turn holds, and that nobody can make it raise, forget or hoard."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from chainnode.core import BATCH, BATCH_HAVE, BATCH_WANT, IDS_MAX, BatchIds, NodeCore, Turn
from consensus.effects import Refused
from consensus.messages import Blocks, PrePrepare, Status, Vote, decode_message, encode_message, kind_of
from consensus.records import Prepared, Proposed, decode_record
from ledger import rows
from ledger.batches import Batch, parse_batch
from primitives.encoding import decode, encode
from primitives.errors import InputError, SignatureError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from sim.cluster import Cluster
from sim.disk import Disk, DiskStore, Written
from sim.events import Offer
from sim.network import CALM
from sim.workload import START_MS, Source, bank_of

NOW = TimeMs(START_MS + 1_000)
WORLD = Cluster(0, weather=CALM)


def core_of(index: int, disk: Disk | None = None) -> NodeCore:
    core = WORLD.open_core(index, disk or Disk(), None)
    core.restore((disk or Disk()).records, NOW)
    for other in range(4):
        if other != index:
            core.connected(bank_of(other))
    core.take_turn()
    return core


def source(index: int) -> Source:
    return Source(bank_of(index), WORLD.chain_id)


def sent(turn: Turn, kind: int) -> list[tuple[str | None, bytes]]:
    return [(item.peer, item.payload) for item in turn.outgoing if item.kind == kind]


def proposal() -> tuple[bytes, bytes]:
    """Return a batch and the leader's proposal of it."""
    leader = core_of(0)
    raw = source(0).next_batch(2, NOW)
    leader.submit_batch(parse_batch(raw), NOW)
    (found,) = sent(leader.take_turn(), 1)
    return raw, found[1]


def test_a_submitted_batch_is_written_and_pushed_to_every_peer() -> None:
    core = core_of(1)
    raw = source(1).next_batch(3, NOW)
    core.submit_batch(parse_batch(raw), NOW)
    turn = core.take_turn()
    assert (rows.batch_key(parse_batch(raw).hash), raw) in turn.rows
    assert turn.patient, "nothing rests on a batch that waits"
    assert sorted(peer or "" for peer, payload in sent(turn, BATCH) if payload == raw) == ["bank-0", "bank-2", "bank-3"]
    core.submit_batch(parse_batch(raw), NOW)
    assert sent(core.take_turn(), BATCH) == []


def test_the_leaders_turn_writes_batch_and_proposal_before_it_sends_them() -> None:
    core = core_of(0)
    raw = source(0).next_batch(1, NOW)
    core.submit_batch(parse_batch(raw), NOW)
    turn = core.take_turn()
    (payload,) = [payload for _, payload in sent(turn, 1)]
    message = decode_message(1, payload)
    assert isinstance(message, PrePrepare)
    assert [decode_record(record) for record in turn.records] == [Proposed(message)]
    assert any(value == raw for _, value in turn.rows)
    assert not turn.patient, "the proposal rests on them"


def test_a_backup_prepares_what_it_can_execute_and_writes_both() -> None:
    raw, payload = proposal()
    core = core_of(2)
    core.on_message("bank-0", 1, payload, NOW)
    turn = core.take_turn()
    assert sent(turn, 2) == []
    assert sent(turn, BATCH_WANT) == [("bank-0", encode(BatchIds((parse_batch(raw).hash,))))]
    core.on_message("bank-0", BATCH, raw, NOW)
    turn = core.take_turn()
    ((peer, vote),) = sent(turn, 2)
    assert peer is None
    kinds = [type(decode_record(record)) for record in turn.records]
    assert kinds == [Proposed, Prepared]
    assert any(value == raw for _, value in turn.rows)
    assert isinstance(decode_message(2, vote), Vote)


def test_a_wanted_batch_is_given_and_an_unknown_one_is_not() -> None:
    core = core_of(1)
    raw = source(1).next_batch(1, NOW)
    core.submit_batch(parse_batch(raw), NOW)
    core.take_turn()
    wanted = encode(BatchIds((leaf_hash(b"unknown"), parse_batch(raw).hash)))
    core.on_message("bank-3", BATCH_WANT, wanted, NOW)
    assert sent(core.take_turn(), BATCH) == [("bank-3", raw)]


def altered(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


BAD: dict[str, tuple[int, bytes]] = {
    "an unknown kind": (99, b"\x90"),
    "an empty vote": (2, b""),
    "a vote that is no vote": (2, encode((1, 2, 3))),
    "a vote of another chain's key": (
        2, encode_message(Vote(1, Epoch(0), View(0), Height(1), leaf_hash(b"x"), 1, b"\1" * 64)),
    ),
    "an oversized vote": (2, b"\x00" * 5_000),
    "a status with a negative height": (
        6, encode_message(Status(Epoch(0), View(0), True, Height(-1), Height(0), Height(0), True)),
    ),
    "a batch that is none": (BATCH, b"\xc0"),
    "a batch cut short": (BATCH, source(1).next_batch(1, NOW)[:-5]),
    "wanted ids that are no hashes": (BATCH_WANT, encode(BatchIds((b"short",)))),
    "too many wanted ids": (BATCH_WANT, encode(BatchIds((leaf_hash(b"x"),) * (IDS_MAX + 1)))),
    "had ids that are text": (BATCH_HAVE, encode((("a" * 32,),))),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_peers_bad_message_is_a_typed_error_and_leaves_nothing(name: str) -> None:
    core = core_of(2)
    kind, payload = BAD[name]
    with pytest.raises(InputError):
        core.on_message("bank-1", kind, payload, NOW)
    assert core.take_turn() == Turn()
    assert core.replica.state.slots == {}


def test_a_batch_of_an_unknown_source_is_refused_without_blame_and_not_held() -> None:
    core = core_of(2)
    stranger = Source("bank-9", WORLD.chain_id).next_batch(1, NOW)
    core.on_message("bank-1", BATCH, stranger, NOW)
    turn = core.take_turn()
    assert not core.chain.has_batch(parse_batch(stranger).hash)
    assert [type(notice) for notice in turn.notices] == [Refused]


def test_a_second_batch_of_a_number_is_refused_without_blame() -> None:
    core = core_of(2)
    first, second = source(1).next_batch(1, NOW), source(1).next_batch(2, NOW)
    core.on_message("bank-1", BATCH, first, NOW)
    core.take_turn()
    core.on_message("bank-1", BATCH, second, NOW)
    assert not core.chain.has_batch(parse_batch(second).hash)
    (notice,) = core.take_turn().notices
    assert isinstance(notice, Refused)
    assert notice.reason == "number_taken"


def test_another_epochs_message_is_counted_and_not_blamed() -> None:
    core = core_of(2)
    vote = Vote(1, Epoch(7), View(0), Height(1), leaf_hash(b"x"), 1, b"\1" * 64)
    core.on_message("bank-1", kind_of(vote), encode_message(vote), NOW)
    (notice,) = core.take_turn().notices
    assert isinstance(notice, Refused)
    assert notice.reason == "wrong_epoch"


@pytest.fixture(scope="module")
def ran() -> Cluster:
    """A cluster that ordered some batches, but for its last node, which was away."""
    cluster = Cluster(5, weather=CALM)
    cluster.crash(3)
    for number in range(40):
        cluster.schedule(START_MS + 100 * number, Offer(number % 3, 2))
    cluster.run_until(START_MS + 6_000)
    assert min(cluster.heights()[:3]) >= 30
    return cluster


def served(cluster: Cluster, start: int, count: int = 64) -> Blocks:
    core = cluster.nodes[0].core
    assert core is not None
    core.take_turn()
    core._serve_blocks("bank-3", start, count)
    (found,) = sent(core.take_turn(), 8)
    message = decode_message(8, found[1])
    assert isinstance(message, Blocks)
    return message


def behind(cluster: Cluster) -> NodeCore:
    core = cluster.open_core(3, Disk(), None)
    core.restore([], cluster.now_ms)
    for other in range(3):
        core.connected(bank_of(other))
    core.take_turn()
    return core


def test_one_answer_of_blocks_brings_a_node_on_and_asks_at_most_once_more(ran: Cluster) -> None:
    core = behind(ran)
    height = ran.heights()[0]
    ahead = Status(Epoch(0), View(0), True, Height(height + 100), Height(height + 100), Height(0), True)
    core.on_message("bank-0", 6, encode_message(ahead), ran.now_ms)
    assert len(sent(core.take_turn(), 7)) == 1
    core.on_message("bank-0", 8, encode_message(served(ran, 1)), ran.now_ms)
    turn = core.take_turn()
    assert core.chain.height == height
    assert len(turn.commits) == height
    assert not turn.patient, "a block's rows wait for nothing"
    assert len(sent(turn, 7)) == 1


def test_only_batches_that_certified_blocks_name_are_held(ran: Cluster) -> None:
    core = behind(ran)
    message = served(ran, 1, 2)
    stray = Source("bank-1", ran.chain_id).next_batch(5, NOW)
    core.on_message("bank-0", 8, encode_message(Blocks(message.blocks, (*message.batches, stray))), ran.now_ms)
    assert core.chain.height == 2
    assert not core.chain.has_batch(parse_batch(stray).hash)


def test_a_batch_with_a_forged_signature_is_not_held_though_a_certified_block_names_it(ran: Cluster) -> None:
    core = behind(ran)
    message = served(ran, 1, 1)
    batch = decode(Batch, message.batches[0], size_max=len(message.batches[0]))
    forged = Batch(batch.header, altered(batch.signature), batch.events)  # of the same hash: that covers the header
    with pytest.raises(SignatureError):
        core.on_message("bank-0", 8, encode_message(Blocks(message.blocks, (encode(forged),))), ran.now_ms)
    assert (core.chain.height, core.chain.has_batch(batch.header.hash())) == (0, False)


def test_a_block_with_a_forged_certificate_is_refused_and_changes_nothing(ran: Cluster) -> None:
    core = behind(ran)
    message = served(ran, 1, 2)
    first, second = message.blocks
    swapped = type(first)(first.block, second.certificate)
    with pytest.raises(InputError):
        core.on_message("bank-0", 8, encode_message(Blocks((swapped,), message.batches)), ran.now_ms)
    assert core.chain.height == 0


def test_blocks_that_are_known_cost_no_step(ran: Cluster) -> None:
    core = ran.nodes[1].core
    assert core is not None
    core.take_turn()
    before = core.replica.state.moves
    core.on_message("bank-0", 8, encode_message(served(ran, 1, 5)), ran.now_ms)
    assert core.replica.state.moves == before


def test_a_batch_that_comes_with_its_block_is_no_longer_asked_for(ran: Cluster) -> None:
    core = behind(ran)
    message = served(ran, 1, 1)
    core.on_message("bank-0", 8, encode_message(Blocks(message.blocks, ())), ran.now_ms)
    assert sent(core.take_turn(), BATCH_WANT)
    core.on_message("bank-1", 8, encode_message(message), ran.now_ms)
    assert core.chain.height == 1
    core.take_turn()
    assert core.gossip.missing() == 0
    for later in range(10):
        core.on_tick(TimeMs(ran.now_ms + 1_000 * later))
        assert sent(core.take_turn(), BATCH_WANT) == []


def test_waiting_batches_are_proposed_after_a_restart() -> None:
    disk = Disk()
    core = core_of(0, disk)
    raw = source(0).next_batch(2, NOW)
    core.submit_batch(parse_batch(raw), NOW)
    disk.write(core.take_turn(), Written.ROWS)  # the crash comes before the proposal's record
    core = WORLD.open_core(0, disk, None)
    core.restore(disk.records, NOW)
    (payload,) = [payload for _, payload in sent(core.take_turn(), 1)]
    message = decode_message(1, payload)
    assert isinstance(message, PrePrepare)
    assert message.block.batch_hashes == (parse_batch(raw).hash,)


def test_a_poisoned_batch_is_let_go_and_the_rest_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger.execution import BlockRefused

    core = core_of(0)
    good, bad = parse_batch(source(0).next_batch(1, NOW)), parse_batch(source(1).next_batch(1, NOW))
    admission, build = core.chain.check_admission, core.chain.build

    def refuse_bad(parent: Hash, batch: object) -> None:
        if batch is bad:
            raise BlockRefused("source no longer registered")
        admission(parent, batch)  # type: ignore[arg-type]  # a batch

    def build_without_bad(parent: Hash, **fields: object) -> object:
        for batch in fields["batches"]:  # type: ignore[attr-defined]  # a list
            refuse_bad(parent, batch)
        return build(parent, **fields)  # type: ignore[arg-type]  # as given

    core.application.pool.add(core.chain, bad, NOW)
    core.application.add_fetched(good)
    monkeypatch.setattr(core.chain, "check_admission", refuse_bad)
    monkeypatch.setattr(core.chain, "build", build_without_bad)
    for later in range(3):
        core.on_tick(TimeMs(NOW + 100 * later))
    (proposed,) = [decode_message(1, payload) for _, payload in sent(core.take_turn(), 1)]
    assert isinstance(proposed, PrePrepare)
    assert proposed.block.batch_hashes == (good.hash,)
    assert bad.hash not in core.application.pool


def test_a_taken_turn_is_empty_the_next_time() -> None:
    core = core_of(1)
    core.on_tick(NOW)
    assert not core.take_turn().empty
    assert core.take_turn() == Turn()


def test_a_batch_whose_signature_does_not_hold_is_refused_and_not_held() -> None:
    core = core_of(2)
    raw = source(1).next_batch(1, NOW)
    batch = decode(Batch, raw, size_max=len(raw))
    forged = Batch(batch.header, altered(batch.signature), batch.events)
    with pytest.raises(SignatureError):
        core.on_message("bank-1", BATCH, encode(forged), NOW)
    assert not core.chain.has_batch(parse_batch(raw).hash)
    assert core.take_turn() == Turn()


def test_blocks_that_are_not_here_any_more_are_refused_by_an_empty_answer(ran: Cluster) -> None:
    """Before the base of a snapshot, or without their batches: silence would cost whoever asks a time-out each time."""
    core = ran.nodes[0].core
    assert core is not None
    store = core.reader.store
    assert isinstance(store, DiskStore)
    first, *_ = served(ran, 1, 8).blocks
    batch = rows.batch_key(first.block.batch_hashes[0])
    kept = store.get(batch)
    base = encode(rows.BaseRow(Height(5), Height(1)))
    try:
        store.write([(batch, None)], sync=True)
        assert served(ran, 1) == Blocks((), ())
        assert served(ran, 2, 3).blocks[0].block.header.height == 2
        store.write([(rows.BASE_KEY, base)], sync=True)
        assert served(ran, 5) == Blocks((), ())
        assert served(ran, 6, 3).blocks[0].block.header.height == 6
    finally:
        store.write([(batch, kept), (rows.BASE_KEY, None)], sync=True)


def test_rows_of_a_commit_are_pressing_though_no_record_stands_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    core = core_of(1)
    core.take_turn()
    monkeypatch.setattr(core.application, "take_rows", lambda: [(b"row", b"")])
    assert core.take_turn().patient
    monkeypatch.setattr(core.application, "take_commits", lambda: [MagicMock()])
    assert not core.take_turn().patient
