"""Subscriptions on /ws: history and the present are one stream, cursors go on without gap or repetition."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType
from structlog.testing import capture_logs

import rpc.announcing as announcing
import rpc.websocket as websocket_module
from rpc.dispatch import READ_THREADS_MAX
from rpc.methods.catalogue import METHODS
from rpc.ports import Services
from rpc.server import RpcServer
from rpc.streams import TOPICS, Place, cursor_of
from rpc.subscriptions import SubscriptionLimits, Subscriptions
from rpc.types import make_cursor
from rpc.websocket_frames import text_frame_head
from tests.rpc.conftest import MemoryNode
from tests.rpc.test_records import NUMBER, UETR, granted, submit  # noqa: F401  fixtures

PATIENCE_S = 20
Json = dict[str, Any]
Said = tuple[Json, str]
"""A notification's result and cursor."""


class Talk:
    """A client: one connection, its answers, and what it was told under each subscription."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[Json] = []
        self.asked = 0

    async def ask(self, method: str, **params: Any) -> Json:
        """Return the answer to a call; notifications that come before it are kept."""
        self.asked += 1
        await self.socket.send_json({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params})
        while True:
            message = json.loads(await self.socket.receive_str(timeout=PATIENCE_S))
            if message.get("id") == self.asked:
                return message
            self.told.append(message["params"])

    async def subscribe(self, topic: str, **params: Any) -> Json:
        answer = await self.ask("ledger_subscribe", topic=topic, **params)
        assert "error" not in answer, answer
        found: Json = answer["result"]
        return found

    async def refused(self, topic: str, **params: Any) -> Json:
        answer = await self.ask("ledger_subscribe", topic=topic, **params)
        assert "result" not in answer, answer
        found: Json = answer["error"]
        return found

    async def hear(self) -> Json:
        """Return the params of the next notification."""
        if self.told:
            return self.told.pop(0)
        message = json.loads(await self.socket.receive_str(timeout=PATIENCE_S))
        assert message["method"] == "ledger_subscription", message
        assert "id" not in message
        found: Json = message["params"]
        return found

    async def next(self, count: int) -> list[Said]:
        """Return the next notifications."""
        found = [await self.hear() for _ in range(count)]
        return [(item["result"], item["cursor"]) for item in found]

    async def nothing_more(self) -> None:
        """Say that nothing was sent but what was taken: an answer to a call comes next."""
        await asyncio.sleep(0.02)
        assert "result" in await self.ask("net_status")
        assert self.told == []


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def connect(session, server) -> Callable[..., Any]:
    async def opened(to: RpcServer = server, **more: Any) -> Talk:
        return Talk(await session.ws_connect(to.address + "/ws", max_msg_size=0, **more))

    return opened


@pytest.fixture
async def listen(settings, services, observed) -> AsyncIterator[Callable[..., Any]]:
    """Start listeners with other settings or limits; they are stopped at the end."""
    servers: list[RpcServer] = []

    async def start(limits: SubscriptionLimits | None = None, **changes: object) -> RpcServer:
        server = RpcServer(replace(settings, **changes), services, METHODS, observed)
        if limits is not None:
            server._websockets.subscriptions = Subscriptions(services, observed, limits)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


async def becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110  the state of a listener has no event
            await asyncio.sleep(0.001)


async def whole(connect: Any, topic: str, count: int, **params: Any) -> list[Said]:
    """Return all of a topic from the earliest on."""
    talk = await connect()
    await talk.subscribe(topic, from_cursor="earliest", **params)
    found: list[Said] = await talk.next(count)
    await talk.nothing_more()
    return found


# --- what is told


async def test_blocks_are_told_as_they_are_committed_and_as_they_are_read(connect, client, node) -> None:
    talk = await connect()
    assert (await talk.subscribe("blocks"))["as_of"] == 0
    for height in (1, 2, 3):
        node.commit_events(2, first=10 * height)
        [(block, _)] = await talk.next(1)
        assert block == await client.call("ledger_getBlock", {"height": height})
    await talk.nothing_more()


async def test_events_are_told_one_by_one_as_the_block_lists_them(connect, client, node) -> None:
    talk = await connect()
    await talk.subscribe("events")
    node.commit_events(3)
    listed = await client.call("ledger_getBlockEvents", {"height": 1})
    assert [event for event, _ in await talk.next(3)] == listed["events"]


@pytest.mark.parametrize("piece", [256, 2])
async def test_the_past_is_told_in_the_same_words_and_cursors_as_the_present(connect, node, monkeypatch, piece) -> None:
    monkeypatch.setattr(announcing, "EVENTS_A_PIECE", piece)
    live = await connect()
    await live.subscribe("events")
    for number in range(4):
        node.commit_events(5, first=10 * number)
    told = await live.next(20)
    assert await whole(connect, "events", 20) == told
    for place in range(0, 20, 3):
        again = await connect()
        await again.subscribe("events", from_cursor=told[place][1])
        assert await again.next(19 - place) == told[place + 1 :]
        await again.nothing_more()


async def test_a_subscription_goes_on_at_another_node_of_the_chain(connect, session, settings, node, services) -> None:
    other = MemoryNode(genesis=node.genesis)
    talk = await connect()
    await talk.subscribe("events")
    for number in range(3):
        batch = node.batch([node.event(10 * number + item) for item in range(3)])
        for each in (node, other):
            each.commit(batch)
    told = await talk.next(9)
    elsewhere = RpcServer(settings, replace(services, reads=other.reader, feed=other.feed), METHODS)
    await elsewhere.start()
    resumed = await connect(elsewhere)
    await resumed.subscribe("events", from_cursor=told[4][1])
    assert await resumed.next(4) == told[5:]
    await elsewhere.stop()


async def test_filters_must_all_fit(connect, node, submit, granted, make_statement) -> None:  # noqa: F811
    node.member, node.key_use = "bank-a", "source"
    body = make_statement(7, uetr=bytes.fromhex(UETR.replace("-", "")), pair_key=b"\x07" * 32)
    node.commit(node.batch([node.event(900), node.event(901, body=body)]))
    everything = [event for event, _ in await whole(connect, "events", len(granted) + 2)]

    def those(fits: Callable[[Json], bool]) -> list[Json]:
        found = [event for event in everything if fits(event)]
        assert found
        return found

    cases: list[tuple[Json, Callable[[Json], bool]]] = [
        ({"member": "cb"}, lambda event: event["member"] == "cb"),
        ({"kind": "certificate.grant"}, lambda event: event["kind"] == "certificate.grant"),
        ({"certificate": NUMBER}, lambda event: event["body"].get("number") == NUMBER),
        ({"certificate": "bank-a.0001"}, lambda event: event["body"].get("application") == "bank-a.0001"),
        ({"payment": UETR}, lambda event: event["body"].get("uetr") == UETR),
        ({"payment": "07" * 32}, lambda event: event["body"].get("uetr") == UETR),
        (
            {"member": "cb", "certificate": "bank-a.0001", "kind": "certificate.accept"},
            lambda event: event["kind"] == "certificate.accept",
        ),
    ]
    for asked, fits in cases:
        expected = those(fits)
        assert [event for event, _ in await whole(connect, "events", len(expected), **asked)] == expected
    assert await whole(connect, "events", 0, member="lab", kind="certificate.grant") == []


async def test_checkpoints_are_told_and_told_again_when_they_were_cosigned_again(connect, node) -> None:
    node.commit_events(1)
    first = node.checkpoint()
    talk = await connect()
    await talk.subscribe("checkpoints", from_cursor="earliest")
    [(told, cursor)] = await talk.next(1)
    assert (told["note"], told["size"]) == (first, node.chain.log_size)
    node.now += 60_000
    again = node.checkpoint()
    [(renewed, _)] = await talk.next(1)
    assert (renewed["note"], renewed["size"]) == (again, told["size"])
    node.commit_events(1, first=5)
    node.checkpoint()
    resumed = await connect()
    await resumed.subscribe("checkpoints", from_cursor=cursor)
    assert [item["size"] for item, _ in await resumed.next(2)] == [told["size"], node.chain.log_size]
    await resumed.nothing_more()


async def test_checkpoints_that_are_gone_are_not_passed_over_in_silence(connect, node, monkeypatch) -> None:
    monkeypatch.setattr(announcing, "CHECKPOINTS_KEPT", 2)
    monkeypatch.setattr("ledger.checkpoint_rows.CHECKPOINTS_KEPT", 2)
    talk = await connect()
    await talk.subscribe("checkpoints")
    cursors = []
    for number in range(4):
        node.commit_events(1, first=number)
        node.checkpoint()
        cursors += [cursor for _, cursor in await talk.next(1)]
    resumed = await connect()
    await resumed.subscribe("checkpoints", from_cursor=cursors[0])
    ended = await resumed.hear()
    assert ended["error"]["data"]["reason"] == "pruned"
    assert ended["cursor"] == cursors[0]
    await resumed.subscribe("checkpoints", from_cursor=cursors[2])
    assert len(await resumed.next(1)) == 1


AHEAD = ["renewal_opened", "expiring_180", "expiring_90", "expiring_30"]


async def test_deadlines_are_told_with_the_block_that_reached_them(connect, node, submit, granted) -> None:  # noqa: F811
    talk = await connect()
    await talk.subscribe("deadlines")
    node.member, node.key_use = "bank-a", "source"
    node.now += 4 * 365 * 86_400_000
    node.commit_events(1)
    said = await talk.next(5)
    due = said[-1][0]
    assert (due["kind"], due["subject"], due["member"]) == ("certificate_expired", NUMBER, "bank-a")
    assert sorted(item["kind"] for item, _ in said[:-1]) == sorted(AHEAD)
    assert due["height"] == node.chain.height
    assert await whole(connect, "deadlines", 5) == said


async def test_what_is_due_while_no_block_comes_is_told_once_the_validators_have_agreed_on_the_time(
    connect,
    node,
    submit,  # noqa: F811
    granted,  # noqa: F811
) -> None:
    node.member, node.key_use = "bank-a", "source"
    talk = await connect()
    await talk.subscribe("deadlines")
    await talk.nothing_more()
    height = node.chain.height
    node.now += 3 * 365 * 86_400_000 - 100 * 86_400_000
    await talk.nothing_more()  # no node tells by its own clock
    node.checkpoint()
    early = await talk.next(2)
    assert sorted(item["kind"] for item, _ in early) == ["expiring_180", "renewal_opened"]
    assert {item["height"] for item, _ in early} == {height + 1}
    node.now += 60_000
    node.checkpoint()
    await talk.nothing_more()
    node.now += 80 * 86_400_000
    node.checkpoint()
    early += await talk.next(2)
    late = await connect()  # one who comes now is told the same at once, and one who comes again the rest
    await late.subscribe("deadlines", from_cursor="earliest")
    assert await late.next(4) == early
    again = await connect()
    await again.subscribe("deadlines", from_cursor=early[1][1])
    assert await again.next(2) == early[2:]
    node.now += 40 * 86_400_000
    node.commit_events(1)
    rest = [await each.next(1) for each in (talk, late, again)]
    assert rest[0] == rest[1] == rest[2]
    assert [item["kind"] for item, _ in rest[0]] == ["certificate_expired"]
    for each in (talk, late, again):
        await each.nothing_more()
    assert await whole(connect, "deadlines", 5) == [*early, *rest[0]], "as those see it who come after the block"
    behind = await connect()
    await behind.subscribe("deadlines", from_cursor=early[2][1])
    assert await behind.next(2) == [early[3], *rest[0]]


async def test_a_time_that_is_agreed_on_for_an_older_block_tells_nothing_of_the_newest(
    connect,
    node,
    submit,  # noqa: F811
    granted,  # noqa: F811
) -> None:
    node.member, node.key_use = "bank-a", "source"
    size = node.chain.log_size
    node.commit_events(1)
    talk = await connect()
    await talk.subscribe("deadlines")
    node.now += 4 * 365 * 86_400_000
    node.checkpoint_at(size)
    await talk.nothing_more()
    node.checkpoint()
    await talk.next(5)


# --- where it begins and ends


async def test_nothing_is_told_before_the_node_says_that_it_is_on_the_disk(connect, node) -> None:
    node.commit_events(1)
    told, node.feed.committed = node.feed.committed, lambda height: None
    node.commit_events(1, first=5)
    assert node.reader.tip().height == 2
    for params in ({"from_cursor": "earliest"}, {"from_height": 2}, {}):
        talk = await connect()
        await talk.subscribe("blocks", **params)
        await talk.next(2 if "from_cursor" in params else 0)
        await talk.nothing_more()
    told(2)
    [(block, _)] = await talk.next(1)
    assert block["header"]["height"] == 2


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_cursor_that_names_nothing_here_is_refused_by_name(connect, node, topic) -> None:
    talk = await connect()
    chain_id = node.chain.chain_id
    cases = {
        "not-a-cursor": "bad_cursor",
        make_cursor("ledger_getBlocks", 1, "asc"): "bad_cursor",
        make_cursor("ledger_subscribe", 1, 2): "bad_cursor",
        cursor_of(bytes(32), topic, Place(1)): "foreign_cursor",
        cursor_of(chain_id, topic, Place(1_000)): "cursor_ahead",
        cursor_of(chain_id, "blocks" if topic == "events" else "events", Place(1)): "bad_cursor",
    }
    for cursor, reason in cases.items():
        error = await talk.refused(topic, from_cursor=cursor)
        assert error["data"]["reason"] == reason, cursor
        assert error["data"]["retryable"] is (reason == "cursor_ahead")
    await talk.subscribe(topic, from_cursor=cursor_of(chain_id, topic, Place(1)))


async def test_what_was_archived_away_is_refused_with_the_first_height_that_is_here(
    connect, settings, services, node
) -> None:
    for number in range(4):
        node.commit_events(1, first=number)

    class Archive:
        archived_height = 2

        def status(self) -> Any:
            return type("Status", (), {"missing_height": 2})

    server = RpcServer(settings, replace(services, archive=Archive()), METHODS)
    await server.start()
    talk = await connect(server)
    error = await talk.refused("events", from_height=2)
    assert (error["code"], error["data"]["reason"]) == (-32001, "pruned")
    assert error["data"]["expected"] == "from 3 on"
    await talk.subscribe("blocks", from_height=1)
    assert [block["header"]["height"] for block, _ in await talk.next(4)] == [1, 2, 3, 4]
    begun = await talk.subscribe("events", from_cursor="earliest")
    told = [await talk.hear() for _ in range(2)]
    assert {item["subscription"] for item in told} == {begun["subscription"]}
    assert [item["result"]["height"] for item in told] == [3, 4]
    await server.stop()


async def test_a_subscription_whose_blocks_go_away_under_it_is_ended_by_name(connect, node, monkeypatch) -> None:
    from ledger.archive_store import Pruned

    node.commit_events(1)

    def gone(*_: object) -> None:
        raise Pruned("bodies are gone")

    monkeypatch.setattr(node.reader, "block_events", gone)
    talk = await connect()
    begun = await talk.subscribe("events", from_height=1)
    ended = await talk.hear()
    assert "result" not in ended
    assert ended["error"]["data"]["reason"] == "pruned"
    assert ended["cursor"] == begun["cursor"]
    assert (await talk.ask("ledger_unsubscribe", subscription=begun["subscription"]))["result"]["ended"] is False


async def test_over_post_a_subscription_is_refused_by_name(client) -> None:
    for method, params in (("ledger_subscribe", {"topic": "blocks"}), ("ledger_unsubscribe", {"subscription": "1"})):
        error = await client.error(method, params)
        assert (error["code"], error["data"]["reason"]) == (-32600, "needs_websocket")


@pytest.mark.parametrize(
    "params",
    [
        {"topic": "gossip"},
        {"topic": "blocks", "member": "bank-a"},
        {"topic": "events", "kind": "certificate.forge"},
        {"topic": "events", "payment": "not a payment"},
        {"topic": "blocks", "from_cursor": "earliest", "from_height": 1},
        {"topic": "checkpoints", "from_height": 1},
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused(connect, params) -> None:
    talk = await connect()
    assert (await talk.ask("ledger_subscribe", **params))["error"]["code"] == -32602


async def test_a_member_that_does_not_exist_is_said_so_and_not_waited_for(connect) -> None:
    talk = await connect()
    error = (await talk.ask("ledger_subscribe", topic="events", member="bank-z"))["error"]
    assert (error["code"], error["data"]["reason"], error["data"]["got"]) == (-32001, "not_found", "bank-z")
    assert (await talk.subscribe("events", member="bank-a"))["subscription"]


async def test_after_unsubscribing_nothing_is_told(connect, node, observed) -> None:
    talk = await connect()
    begun = await talk.subscribe("blocks")
    node.commit_events(1)
    await talk.next(1)
    assert observed.subscriptions["blocks"] == 1
    assert (await talk.ask("ledger_unsubscribe", subscription=begun["subscription"]))["result"]["ended"] is True
    node.commit_events(1, first=3)
    await talk.nothing_more()
    assert observed.subscriptions["blocks"] == 0
    assert observed.notifications["blocks"] == 1


async def test_no_notification_comes_before_the_answer_that_names_its_subscription(connect, node) -> None:
    node.commit_events(3)
    talk = await connect()
    calls = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "ledger_subscribe",
            "params": ["events", None, None, None, None, "earliest"],
        },
        {"jsonrpc": "2.0", "id": 2, "method": "ledger_getBlocks"},
    ]
    await talk.socket.send_json(calls)
    first = json.loads(await talk.socket.receive_str(timeout=PATIENCE_S))
    assert isinstance(first, list), "a notification came before the answer"
    assert [item["id"] for item in first] == [1, 2]
    assert (await talk.hear())["subscription"] == first[0]["result"]["subscription"]


async def test_subscriptions_of_a_connection_and_of_a_listener_are_bounded(connect, listen) -> None:
    server = await listen(SubscriptionLimits(subscriptions_max=3, of_connection_max=2))
    one, other = await connect(server), await connect(server)
    for _ in range(2):
        await one.subscribe("blocks")
    assert (await one.refused("blocks"))["data"]["reason"] == "too_many_subscriptions"
    await other.subscribe("blocks")
    assert (await other.refused("blocks"))["code"] == -32005
    await one.socket.close()
    await becomes(lambda: server._websockets.subscriptions.count == 1)
    await other.subscribe("events")


# --- many, slow and restless ones


async def test_an_event_is_rendered_once_for_all_who_want_it(connect, node, monkeypatch) -> None:
    rendered: list[str] = []
    as_json = announcing.event_result
    monkeypatch.setattr(announcing, "event_result", lambda view: rendered.append(view.id.hex()) or as_json(view))
    talks = [await connect() for _ in range(10)]
    for place, talk in enumerate(talks):
        await talk.subscribe("events", **({"member": "bank-a"} if place % 2 else {}))
    node.commit_events(4)
    told = [await talk.next(4) for talk in talks]
    assert all(said == told[0] for said in told)
    assert len(rendered) == 4


def fill(node: MemoryNode, first: int, blocks: int, events: int = 100) -> None:
    for number in range(blocks):
        node.commit_events(events, first=first + events * number)


def stop_reading(server: RpcServer, talk: Talk) -> None:
    """Let a client read no more, and hardly anything wait in the kernel between the two."""
    for conversation in server._websockets._open:
        conversation._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    talk.socket._conn.protocol.pause_reading()


async def all_that_is_left(talk: Talk) -> tuple[list[Json], aiohttp.WSMessage]:
    """Let a client read on; return what it was told before it was closed, and the message that closed it."""
    talk.socket._conn.protocol.resume_reading()
    told: list[Json] = []
    while (message := await talk.socket.receive(timeout=PATIENCE_S)).type is WSMsgType.TEXT:
        told.append(json.loads(message.data))
    return told, message


async def test_a_slow_client_is_closed_with_its_cursor_and_goes_on_from_it(
    connect, listen, node, observed, monkeypatch
) -> None:
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_PAUSE", 64 * 1024)
    server = await listen(SubscriptionLimits(behind_s=0.05))
    slow = await connect(server)
    await slow.subscribe("events")
    stop_reading(server, slow)
    blocks = 0
    while not observed.slow:
        fill(node, 1_000 * blocks, 1)
        blocks += 1
        assert blocks < 100
        await asyncio.sleep(0.01)
    fill(node, 1_000 * blocks, 1)
    told, closed = await all_that_is_left(slow)
    assert (closed.type, closed.data) == (WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER)
    assert len(closed.extra.encode()) <= 123
    word, _, cursor = closed.extra.partition(": ")
    assert word == "slow_subscriber"
    again = await connect(server)
    await again.subscribe("events", from_cursor=cursor)
    left = 100 * (blocks + 1) - len(told)
    assert left > 0
    found = [(item["params"]["result"], item["params"]["cursor"]) for item in told] + await again.next(left)
    assert found == await whole(connect, "events", 100 * (blocks + 1))


async def test_who_takes_nothing_of_the_past_is_closed_with_a_cursor_too(
    connect, listen, node, observed, monkeypatch
) -> None:
    monkeypatch.setattr(websocket_module, "SLOW_READER_S", 0.1)
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_PAUSE", 64 * 1024)
    fill(node, 0, 10)
    server = await listen()
    slow = await connect(server)
    stop_reading(server, slow)
    request = {"jsonrpc": "2.0", "id": 1, "method": "ledger_subscribe"}
    await slow.socket.send_json({**request, "params": {"topic": "events", "from_cursor": "earliest"}})
    await becomes(lambda: observed.slow == 1)
    _, closed = await all_that_is_left(slow)
    assert (closed.data, closed.extra.partition(":")[0]) == (1013, "slow_subscriber")


async def test_who_was_too_slow_and_reads_nothing_of_the_rest_is_cut_off(
    connect, listen, node, observed, monkeypatch
) -> None:
    monkeypatch.setattr(websocket_module, "SLOW_SUBSCRIBER_CLOSING_S", 0.1)
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_PAUSE", 64 * 1024)
    server = await listen(SubscriptionLimits(behind_s=0.01))
    slow = await connect(server)
    await slow.subscribe("events")
    stop_reading(server, slow)
    fill(node, 0, 5)
    await becomes(lambda: observed.slow == 1)
    await becomes(lambda: not server._websockets._open)
    assert server._websockets.subscriptions.count == 0


async def test_a_client_that_falls_behind_for_a_moment_is_not_closed_and_misses_nothing(
    connect, listen, node, observed, monkeypatch
) -> None:
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_PAUSE", 1024)
    monkeypatch.setattr(announcing, "RUN_BYTES", 4096)
    server = await listen()
    talk = await connect(server)
    await talk.subscribe("events")
    await becomes(lambda: bool(server._websockets.subscriptions._groups))
    stop_reading(server, talk)
    fill(node, 0, 10)
    await becomes(lambda: not server._websockets.subscriptions._groups)
    talk.socket._conn.protocol.resume_reading()
    told = await talk.next(1_000)
    await becomes(lambda: bool(server._websockets.subscriptions._groups))
    fill(node, 100_000, 1)
    told += await talk.next(100)
    assert [result["index"] for result, _ in told] == list(range(100)) * 11
    assert observed.slow == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_clients_that_come_and_go_at_random_get_all_of_it_once(connect, listen, node, seed, monkeypatch) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(announcing, "EVENTS_A_PIECE", draw.choice([2, 3, 256]))
    monkeypatch.setattr(announcing, "PIECES_A_RUN", draw.choice([1, 2, 128]))
    server, done, blocks = await listen(), asyncio.Event(), 40
    got: list[list[Said]] = [[] for _ in range(4)]

    async def follow(said: list[Said]) -> None:
        cursor: Json = {"from_cursor": "earliest"}
        while not done.is_set() or len(said) < total:
            talk = await connect(server)
            await talk.subscribe("events", **cursor)
            for _ in range(draw.randrange(1, 30)):
                if done.is_set() and len(said) == total:
                    break
                said += await talk.next(1)
                cursor = {"from_cursor": said[-1][1]}
            await talk.socket.close()

    total = 0
    async with asyncio.TaskGroup() as tasks:
        for said in got:
            tasks.create_task(follow(said))
        for block in range(blocks):
            count = draw.randrange(1, 8)
            total += count
            node.commit_events(count, first=100 * block)
            await asyncio.sleep(draw.choice([0, 0, 0.002]))
        done.set()
    expected = await whole(connect, "events", total)
    assert all(said == expected for said in got)


async def test_a_fault_of_our_own_cuts_off_whom_it_leaves_without(connect, listen, node, monkeypatch) -> None:
    server = await listen()
    talk = await connect(server)
    await talk.subscribe("blocks")
    await becomes(lambda: bool(server._websockets.subscriptions._groups))
    monkeypatch.setattr(announcing, "block_result", lambda *_: 1 / 0)
    with capture_logs() as logged:
        node.commit_events(1)
        message = await talk.socket.receive(timeout=PATIENCE_S)
    assert "rpc_subscriptions_failed" in [line["event"] for line in logged]
    assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
    monkeypatch.undo()
    again = await connect(server)
    await again.subscribe("blocks", from_height=1)
    await again.next(1)
    node.commit_events(1, first=9)
    assert [block["header"]["height"] for block, _ in await again.next(1)] == [2]


async def test_nothing_is_told_to_whose_rights_have_ended(connect, server, node, token, observed) -> None:
    talk = await connect(headers={"Authorization": f"Bearer {token}"})
    await talk.subscribe("blocks")
    [conversation] = server._websockets._open
    conversation._caller.rights.end("token_revoked")
    node.commit_events(1)
    message = await talk.socket.receive(timeout=PATIENCE_S)
    assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
    assert observed.notifications["blocks"] == observed.subscriptions["blocks"] == 0


async def test_a_node_without_a_feed_says_so(connect, settings, services: Services) -> None:
    server = RpcServer(settings, replace(services, feed=None), METHODS)
    await server.start()
    talk = await connect(server)
    assert (await talk.refused("blocks"))["data"]["reason"] == "no_feed"
    await server.stop()


# --- ends that nobody waits for


async def test_what_a_call_opens_after_its_connection_has_gone_is_nobodys(connect, server) -> None:
    talk = await connect()
    shared, dispatcher = server._websockets, server._dispatcher
    for _ in range(READ_THREADS_MAX):
        await dispatcher._threads.acquire()
    subscribe = {"jsonrpc": "2.0", "method": "ledger_subscribe", "params": {"topic": "events"}}
    reading = {"jsonrpc": "2.0", "id": 1, "method": "ledger_getBlocks"}
    await talk.socket.send_json([reading, *({**subscribe, "id": number} for number in range(2, 30))])
    await becomes(lambda: len(dispatcher._threads._waiters or ()) == 1)
    await talk.socket.close()
    await becomes(lambda: not shared._open)
    for _ in range(READ_THREADS_MAX):
        dispatcher._threads.release()
    await becomes(lambda: not shared.tasks)
    assert (shared.subscriptions.count, shared.subscriptions._groups) == (0, {})


async def test_a_cursor_inside_a_block_that_comes_yet_holds_up_nobody_else(connect, server, node) -> None:
    ahead, talk = await connect(), await connect()
    chain_id = node.chain.chain_id
    await ahead.subscribe("events", from_cursor=cursor_of(chain_id, "events", Place(1, 5)))
    groups = server._websockets.subscriptions._groups
    await becomes(lambda: bool(groups))
    await talk.subscribe("events")
    await becomes(lambda: [len(group.members) for group in groups.values()] == [2])
    node.commit_events(8)
    told = await talk.next(8)
    assert await ahead.next(3) == told[5:]
    node.commit_events(1, first=50)
    assert await talk.next(1) == await ahead.next(1)


async def test_many_subscriptions_of_a_client_that_reads_nothing_take_no_more_room_than_one(
    connect, listen, node, monkeypatch
) -> None:
    monkeypatch.setattr(websocket_module, "UNREAD_BYTES_PAUSE", 64 * 1024)
    fill(node, 0, 2, events=250)
    server = await listen()
    deaf = await connect(server)
    stop_reading(server, deaf)
    request = {"jsonrpc": "2.0", "method": "ledger_subscribe", "params": {"topic": "events", "from_cursor": "earliest"}}
    await deaf.socket.send_json([{**request, "id": number} for number in range(30)])
    await becomes(lambda: server._websockets.subscriptions.count == 30)
    talk = await connect(server)  # one who reads is served behind all of them
    await talk.subscribe("events", from_cursor="earliest")
    await talk.next(500)
    [unread] = [item._transport.get_write_buffer_size() for item in server._websockets._open if not item.has_room]
    assert unread < 1_000_000


async def test_nothing_is_given_after_the_cursor_with_which_a_slow_client_is_closed(connect, server, node) -> None:
    talk = await connect()
    await talk.subscribe("events")
    [conversation] = server._websockets._open
    conversation.close_behind(conversation._subscriber.cursor())
    conversation.push(text_frame_head(2) + b"{}")
    message = await talk.socket.receive(timeout=PATIENCE_S)
    assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER)
