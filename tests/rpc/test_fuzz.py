"""No input whatsoever ends in an internal error: random bytes, random JSON, random parameters of every method."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.registry import KINDS_BY_NAME
from rpc import jsonrpc
from rpc.dispatch import Caller, Dispatcher
from rpc.errors import Code, RpcError
from rpc.jsonrpc import Call
from rpc.methods.catalogue import METHODS
from rpc.ports import Services
from rpc.rights import Rights, Role
from rpc.types import make_cursor

# A good statement as JSON has it; fields that hold nothing are left out.
STATEMENT: dict[str, Any] = {
    "side": "debtor",
    "message_type": "pacs.008",
    "status": "accepted",
    "amount": "12.34",
    "currency": "CNY",
    "agents": [{"role": "debtor-agent", "scheme": "BIC", "code": "ABCDCNBJ"}],
    "channel": "qr",
    "uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d",
    "settlement_date": "2026-01-02",
    "reference_commitment": "ab" * 32,
    "pair_key": "cd" * 32,
    "tokens": {"amount": "ef" * 16},
    "fields_root": "12" * 32,
    "source_digest": "34" * 32,
    "time": "2026-01-01T00:00:00Z",
    "salt": "00" * 16,
}
KNOWN = {int(code) for code in Code}
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
meaningful = st.sampled_from(
    [
        "latest",
        "earliest",
        "ab" * 32,
        "committed",
        "none",
        "AAAA",
        "FTP-2026-06-000123",
        make_cursor("ledger_getBlocks", 3, "desc"),
    ]
)
values = st.recursive(
    plain | meaningful,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def whole(size_max: int, size_min: int = 0) -> st.SearchStrategy[str]:
    """Return texts without half surrogate pairs, which no UTF-8 can hold."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=size_min, max_size=size_max)


FIELDS = sorted({name for item in METHODS.values() for name in item.params.__struct_encode_fields__})
params = st.lists(values, max_size=4) | st.dictionaries(
    st.sampled_from(FIELDS) | st.text(max_size=6), values, max_size=4
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(sorted(METHODS))}, optional={"id": plain, "params": params}
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | requests.map(lambda value: json.dumps(value).encode())
    | st.lists(requests | values, max_size=5).map(lambda value: json.dumps(value).encode())
)


@pytest.fixture(scope="module")
def answered(living: Services) -> Callable[[bytes], Any]:
    """Return the answer to a body, through everything but HTTP; the chain lives as long as this module's tests."""

    def answer(body: bytes) -> Any:
        async def run() -> Any:
            dispatcher = Dispatcher(METHODS, living)
            caller = Caller("trace", Rights("test", Role.OPERATOR))
            try:
                request = dispatcher.parse(body)
            except RpcError as error:
                return dispatcher.refuse(error, caller)
            return await dispatcher.answer(request, caller)

        return asyncio.run(run())

    return answer


def check(answer: Any) -> None:
    for item in answer if isinstance(answer, list) else [answer]:
        assert item["jsonrpc"] == "2.0"
        assert "id" in item
        if "error" in item:
            assert item["error"]["code"] in KNOWN - {int(Code.INTERNAL_ERROR)}, item
            assert item["error"]["data"]["reason"]
            assert item["error"]["data"]["trace_id"] == "trace"
            assert "Traceback" not in item["error"]["message"]


@given(body=bodies)
def test_no_body_ends_in_an_internal_error(answered, body: bytes) -> None:
    answer = answered(body)
    if answer.body is not None:
        check(json.loads(answer.body))


@given(name=st.sampled_from(sorted(METHODS)), given_params=params)
def test_no_parameters_end_in_an_internal_error(answered, name: str, given_params: Any) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": name, "params": given_params}
    check(json.loads(answered(json.dumps(request).encode()).body))


@given(call_id=st.integers(-(2**63), 2**63 - 1) | whole(50) | st.none(), name=whole(100, 1))
def test_a_well_formed_call_is_read_as_it_was_written(call_id: Any, name: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": call_id, "method": name, "params": [1]}).encode()
    (call,) = jsonrpc.parse(body).calls
    assert isinstance(call, Call)
    assert (call.id, call.method, json.loads(call.params), call.is_notification) == (call_id, name, [1], False)


kinds = st.sampled_from(sorted(KINDS_BY_NAME))
body_fields = sorted(
    {name.removesuffix("_ms") for spec in KINDS_BY_NAME.values() for name in spec.schemas[1].__struct_fields__}
)
event_bodies = st.dictionaries(st.sampled_from(body_fields) | st.text(max_size=5), values, max_size=6)
loose_events = st.fixed_dictionaries(
    {"kind": kinds, "body": event_bodies},
    optional={
        "reference": st.just("00" * 16) | values,
        "expires": st.just("2026-01-01T00:00:00Z") | values,
        "schema": values,
    },
)


@given(event=loose_events)
def test_no_event_ends_in_an_internal_error(answered, event: dict[str, Any]) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "ledger_submit", "params": {"events": [event], "wait": "none"}}
    check(json.loads(answered(json.dumps(request).encode()).body))


@given(event=loose_events, field=st.sampled_from(sorted(STATEMENT)), value=values)
def test_no_single_changed_field_of_a_statement_ends_in_an_internal_error(answered, event, field, value) -> None:
    body = {**STATEMENT, field: value}
    event = {**event, "kind": "payment.statement", "body": body}
    request = {"jsonrpc": "2.0", "id": 1, "method": "ledger_submit", "params": [[event], "none"]}
    check(json.loads(answered(json.dumps(request).encode()).body))


@given(batch=st.binary(max_size=300))
def test_no_batch_ends_in_an_internal_error(answered, batch: bytes) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "ledger_submitBatch", "params": [base64.b64encode(batch).decode()]}
    check(json.loads(answered(json.dumps(request).encode()).body))
