"""The node around its core: what it tells the disk, the network and the log, and what must not end it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from chainnode.config import load_config
from chainnode.core import BATCH, WIRE_KINDS, Outgoing, Turn
from chainnode.home import Home
from chainnode.identity import read_key
from chainnode.localnet import Localnet
from chainnode.logs import Position
from chainnode.node import Node, run_node
from chainnode.node_metrics import render_metrics
from consensus.effects import EvidenceFound
from consensus.messages import Evidence, Vote
from ledger import rows
from ledger.batches import build_batch, parse_batch
from ledger.certificate_bodies import Accept
from ledger.events import Event
from primitives.encoding import encode
from primitives.ids import ZERO_HASH, Epoch, Height, TimeMs, View
from rpc.ports import Wait

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    net = Localnet(tmp_path_factory.mktemp("node") / "net")
    file = net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    return Home(Path(file.nodes[0].home))


@pytest.fixture
def node(home: Home) -> Iterator[Node]:
    opened = Node(home, load_config(home.config).config, Position())
    yield opened
    opened._close()


def test_a_node_makes_its_data_directory_where_a_lost_disk_left_none(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home.root, tmp_path / "home")
    bare = Home(tmp_path / "home")
    shutil.rmtree(bare.data)
    monkeypatch.setattr(Node, "run", lambda node: asyncio.to_thread(node._close))
    asyncio.run(run_node(bare, load_config(bare.config).config, Position()))
    assert bare.data.stat().st_mode & 0o777 == 0o700
    assert bare.learner_wal.exists()


@pytest.mark.parametrize("use", ["vote", "cosign", "log"])
def test_a_key_file_of_another_validator_is_an_error_in_the_log_and_a_warning_in_the_status(
    use: str, home: Home, tmp_path: Path
) -> None:
    shutil.copytree(home.root, tmp_path / "home")
    mine = Home(tmp_path / "home")
    own, other = (read_key(each / f"{use}.key").public for each in (home.keys, home.root.parent / "bank-b" / "keys"))
    shutil.copy(home.root.parent / "bank-b" / "keys" / f"{use}.key", mine.keys / f"{use}.key")
    with structlog.testing.capture_logs() as logs:
        node = Node(mine, load_config(mine.config).config, Position())
    (line,) = [line for line in logs if line["event"] == "key_not_registered"]
    assert line["log_level"] == "error"
    assert line["file"] == f"keys/{use}.key"
    assert line["expected"] == f"{own}, the {use} key of bank-a"
    assert line["got"] == f"{other}, the {use} key of bank-b"
    assert "validator renew-keys" in line["hint"]
    warning, alone = node.view.status().warnings
    assert f"keys/{use}.key is not the key" in warning
    assert alone.startswith("no peer is linked")
    assert node.view.status().role == ("learner" if use == "vote" else "validator")
    node._close()


def test_a_node_with_its_own_keys_warns_of_nothing(home: Home) -> None:
    with structlog.testing.capture_logs() as logs:
        node = Node(home, load_config(home.config).config, Position())
    assert not [line for line in logs if "key" in line["event"]]
    (alone,) = node.view.status().warnings
    assert alone.startswith("no peer is linked"), "it does not run"
    node._close()


def test_outbox_that_is_damaged_does_not_keep_the_validator_from_starting(home: Home) -> None:
    sound = home.outbox.read_bytes() if home.outbox.exists() else None
    home.outbox.write_bytes(b"\xff" * 100)
    try:
        node = Node(home, load_config(home.config).config, Position())
        assert node.outbox is None
        node._close()
    finally:
        home.outbox.unlink()
        if sound is not None:
            home.outbox.write_bytes(sound)


def test_gateway_signs_nothing_where_the_outbox_that_init_made_is_missing(home: Home) -> None:
    sound = home.outbox.read_bytes()
    home.outbox.unlink()
    try:
        node = Node(home, load_config(home.config).config, Position())
        assert node.outbox is None
        assert not home.outbox.exists()
        node._close()
    finally:
        home.outbox.write_bytes(sound)


def test_message_that_is_too_large_is_dropped_and_those_after_it_are_sent(node: Node) -> None:
    size_max = WIRE_KINDS[2][1]
    sent: list[bytes] = []
    node.network.send = lambda peer, kind, payload: not sent.append(payload)  # type: ignore[method-assign,func-returns-value]  # listens in
    turn = Turn(outgoing=[Outgoing(None, 2, bytes(size_max + 1)), Outgoing("bank-b", BATCH, b"x")])
    node._send(turn.outgoing)
    assert sent == [b"x"]
    text = render_metrics(node).decode()
    assert 'chainnode_messages_dropped_total{reason="unsendable"} 1.0' in text
    assert 'chainnode_messages_total{direction="out",kind="Batch"} 1.0' in text


def evidence(epoch: int, validator: int) -> EvidenceFound:
    votes = [
        Vote(1, Epoch(epoch), View(0), Height(1), block_hash, validator, bytes(64))
        for block_hash in (ZERO_HASH, type(ZERO_HASH)(b"\1" * 32))
    ]
    return EvidenceFound(Evidence(votes[0], votes[1]))


def test_evidence_is_counted_by_the_set_of_its_epoch_or_as_of_another(node: Node) -> None:
    node._note(evidence(0, 2))
    node._note(evidence(7, 6))  # of a set that is larger than ours and not known any more
    text = render_metrics(node).decode()
    assert 'chainnode_evidence_total{validator="bank-c"} 1.0' in text
    assert 'chainnode_evidence_total{validator="other"} 1.0' in text


def test_link_is_logged_by_the_network_alone(node: Node) -> None:
    with structlog.testing.capture_logs() as logs:
        node.on_connected("bank-b")
        node.on_disconnected("bank-b", "closed")
    assert logs == []


def test_what_comes_in_and_what_is_rendered_is_measured(node: Node) -> None:
    node.on_connected("bank-b")
    status = [item for item in node.core.take_turn().outgoing if item.kind == 6]
    node.on_message("bank-b", 6, status[0].payload)
    text = render_metrics(node).decode()
    assert 'chainnode_messages_total{direction="in",kind="Status"} 1.0' in text
    assert f'chainnode_message_bytes_total{{direction="in"}} {len(status[0].payload):.1f}' in text
    assert f"chainnode_wal_bytes {node.wal.size_bytes:.1f}" in text
    assert "chainnode_log_size 1.0" in text


def test_batch_is_answered_accepted_when_the_flush_has_written_it_and_not_before(node: Node) -> None:
    key, member = node._keys.source, node.config.node.member
    assert key is not None
    event = encode(Event(member, bytes(16), NOW_MS, 2, 1, encode(Accept("bank-a.1"))))
    raw = build_batch(
        [event],
        chain_id=node.genesis.chain_id,
        member=member,
        key=key,
        number=0,
        previous=ZERO_HASH,
        time_ms=TimeMs(NOW_MS),
    )
    written = rows.batch_key(parse_batch(raw).hash)

    async def main() -> None:
        answer = asyncio.create_task(node.gateway.submit_batch(raw, Wait.ACCEPTED, 20_000))
        await asyncio.sleep(0)
        assert node._store.get(written) is None
        assert not answer.done()
        flush = asyncio.create_task(node._flush_forever())
        await asyncio.wait_for(answer, 5)
        assert node._store.get(written) == raw
        flush.cancel()

    asyncio.run(main())
