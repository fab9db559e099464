"""Batches of calls: order, ids, notifications, limits, and calls that go wrong beside others that do not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from rpc import dispatch
from rpc.dispatch import Caller, Dispatcher
from rpc.jsonrpc import parse
from rpc.limits import BATCH_CALLS_MAX
from rpc.methods.catalogue import METHODS
from rpc.methods.net import net_status
from rpc.registry import method, table, waiting_method
from rpc.rights import ON_LOOPBACK, Access
from rpc.types import NoParams


def status_call(call_id: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": call_id, "method": "net_status"}


async def test_a_batch_is_answered_in_order_each_call_for_itself(client) -> None:
    calls = [status_call(1), {"foo": 1}, status_call("two"), {"jsonrpc": "2.0", "id": 3, "method": "nothing"}, 7]
    _, answers, _ = await client.post(calls)
    assert [answer["id"] for answer in answers] == [1, None, "two", 3, None]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, None, -32601, -32600]


async def test_a_hundred_calls_are_taken_and_one_more_is_not(client) -> None:
    _, answers, _ = await client.post([status_call(number) for number in range(BATCH_CALLS_MAX)])
    assert [answer["id"] for answer in answers] == list(range(BATCH_CALLS_MAX))
    _, answer, _ = await client.post([status_call(number) for number in range(BATCH_CALLS_MAX + 1)])
    data = answer["error"]["data"]
    assert (answer["error"]["code"], data["reason"], data["expected"], data["got"]) == (
        -32005,
        "too_many_calls",
        "at most 100",
        "101",
    )


async def test_notifications_are_done_and_not_answered(client, observed) -> None:
    notification = {"jsonrpc": "2.0", "method": "net_status"}
    status, answer, _ = await client.post(notification)
    assert (status, answer) == (204, None)
    status, answer, _ = await client.post([notification, notification])
    assert (status, answer) == (204, None)
    _, answer, _ = await client.post([notification, status_call(1), {"jsonrpc": "2.0", "method": "nothing"}])
    assert [item["id"] for item in answer] == [1]
    assert observed.calls.count(("net_status", 0)) == 5
    assert observed.calls.count(("unknown", -32601)) == 1


async def test_a_call_whose_id_is_null_is_no_notification(client) -> None:
    _, answer, _ = await client.post(status_call(None))
    assert (answer["id"], answer["result"]["node"]) == (None, "node-bank-a")


async def test_a_batch_in_a_batch_is_refused(client) -> None:
    _, answer, _ = await client.post([[status_call(1)]])
    assert answer[0]["error"]["code"] == -32600


async def test_positional_and_named_parameters_mean_the_same(client, node) -> None:
    node.commit_events(2)
    named = await client.call("ledger_getBlocks", {"start": 1, "limit": 1})
    assert named == await client.call("ledger_getBlocks", [1, 1])
    assert named == await client.call("ledger_getBlocks", {"limit": 1})


async def test_waiting_calls_of_a_batch_run_side_by_side(services) -> None:
    started: list[int] = []
    release = asyncio.Event()

    @waiting_method("test_wait", params=NoParams, result=int, access=Access.READ)
    async def wait(services, params) -> int:
        """Wait for the others."""
        started.append(1)
        if len(started) == 3:
            release.set()
        await release.wait()
        return len(started)

    dispatcher = Dispatcher(table((wait, net_status)), services)
    request = parse(json.dumps([{"jsonrpc": "2.0", "id": n, "method": "test_wait"} for n in range(3)]).encode())
    answer = await asyncio.wait_for(dispatcher.answer(request, Caller("t", ON_LOOPBACK)), 5)
    assert [item["result"] for item in json.loads(answer.body)] == [3, 3, 3]


async def test_what_waits_too_long_is_unavailable(services, monkeypatch) -> None:
    @waiting_method("test_stuck", params=NoParams, result=int, access=Access.READ)
    async def stuck(services, params) -> int:
        """Wait for ever."""
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(dispatch, "WAIT_GRACE_S", 0.01)
    dispatcher = Dispatcher(table((stuck,)), replace(services, wait_timeout_ms=10))
    answer = await dispatcher.answer(parse(b'{"jsonrpc":"2.0","id":1,"method":"test_stuck"}'), Caller("t", ON_LOOPBACK))
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32002, "timed_out", True)


async def test_a_response_above_its_limit_names_it_and_keeps_the_rest(services, monkeypatch) -> None:
    @method("test_large", params=NoParams, result=str)
    def large(services, params) -> str:
        """Say much."""
        return "x" * 1_000

    monkeypatch.setattr(dispatch, "RESPONSE_BYTES_MAX", 2_500)
    dispatcher = Dispatcher(table((large,)), services)
    request = parse(json.dumps([{"jsonrpc": "2.0", "id": n, "method": "test_large"} for n in range(3)]).encode())
    answers = json.loads((await dispatcher.answer(request, Caller("t", ON_LOOPBACK))).body)
    assert [item["id"] for item in answers] == [0, 1, 2]
    assert ["error" in item for item in answers] == [False, False, True]
    assert answers[2]["error"]["data"]["reason"] == "response_too_large"


async def test_the_loop_has_its_turn_between_the_reads_of_a_batch(services) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(turn())
    await Dispatcher(METHODS, services).answer(
        parse(json.dumps([status_call(n) for n in range(50)]).encode()), Caller("t", ON_LOOPBACK)
    )
    other.cancel()
    assert turns >= 50


def test_a_method_defined_twice_stops_the_program() -> None:
    with pytest.raises(AssertionError, match="defined twice"):
        table((net_status,), (net_status,))
