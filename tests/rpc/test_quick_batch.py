"""The quick reading of a signed batch against the way that any other call is read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc import jsonrpc
from rpc.errors import RpcError
from rpc.jsonrpc import Call
from rpc.methods import submit as methods
from rpc.methods.submit import ReadyBatch, quick_batch, submit_batch
from rpc.ports import Wait
from rpc.types import base64_bytes

BATCH = bytes(range(256))
Read = tuple[Any, bool, bytes, Wait]


def body_of(batch: bytes = BATCH, *, form: int = 0, **params: Any) -> bytes:
    """Return a request's body in one of the ways in which clients write it."""
    text = base64.b64encode(batch).decode()
    named = {"batch": text, **params}
    found = {"jsonrpc": "2.0", "id": 7, "method": "ledger_submitBatch", "params": named}
    match form:
        case 0:
            return json.dumps(found, separators=(",", ":")).encode()
        case 1:
            return json.dumps(found, indent=1).encode()
        case 2:
            return json.dumps({**found, "params": dict(reversed(named.items()))}).encode()
        case _:
            return json.dumps(dict(reversed(found.items()))).encode()


def slowly(body: bytes) -> Read | None:
    """Return what is read of a body as of any other call, or None where it is refused."""
    try:
        (call,) = jsonrpc.parse(body).calls
        if not isinstance(call, Call):
            return None
        params = jsonrpc.bind(submit_batch.decoder, call.params)
        return call.id, call.is_notification, base64_bytes(params.batch, "$.batch"), params.wait
    except RpcError:
        return None


def quickly(body: bytes) -> Read | None:
    """Return what the quick reading makes of a body, or None where it leaves it."""
    call = quick_batch(body)
    if call is None:
        return None
    assert isinstance(call.bound, ReadyBatch)
    return call.id, call.is_notification, call.bound.batch, call.bound.wait


def check(body: bytes) -> None:
    """Hold the quick reading to taking nothing that is refused, and to the same bytes where it takes them."""
    found = quickly(body)
    assert found is None or found == slowly(body)


@given(st.binary(min_size=150, max_size=600), st.integers(0, 3), st.sampled_from([*Wait, None]))
def test_a_batch_is_read_quickly_however_its_call_is_written(batch: bytes, form: int, wait: Wait | None) -> None:
    body = body_of(batch, form=form, **({} if wait is None else {"wait": wait}))
    assert quickly(body) == slowly(body) == (7, False, batch, wait or Wait.COMMITTED)


@given(st.binary(max_size=12), st.integers(0, 3))
def test_a_text_shorter_than_the_rest_of_its_call_is_left_to_the_slow_reading(batch: bytes, form: int) -> None:
    assert quickly(body_of(batch, form=form)) is None


TEXT = base64.b64encode(BATCH)


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        (b'"batch":', b'"batch":"AAAA","batch":'),
        (b'"batch":', b'"batch":"' + TEXT + b'","batch":'),
        (b'"batch":"' + TEXT + b'"', b'"batch":"' + TEXT + b'","batch":"' + TEXT + b'"'),
        (b'"wait":', b'"wait":"none","wait":'),
        (b'"id":', b'"id":1,"id":'),
        (b'"method":', b'"method":"ledger_submitBatch","method":'),
        (b'"id":7', b'"id":"' + b"\\u0022" * 4 + b'","wait":"none"'),
        (b'"wait":', b'"w\\u0061it":"none","wait":'),
    ],
)
def test_a_key_that_stands_twice_is_never_read_quickly(text: bytes, twice: bytes) -> None:
    body = body_of(wait="none")
    assert quickly(body) is not None
    assert text in body
    assert quickly(body.replace(text, twice)) is None
    assert slowly(body.replace(text, twice)) is None


def test_no_other_text_is_cut_out_in_place_of_a_short_batch() -> None:
    """The id's escaped quotation marks would be counted for those of the key that stands twice, and not be seen."""
    head = b'{"jsonrpc":"2.0","method":"ledger_submitBatch","params":{"batch":"%b","wait":"none","wait":"none"},'
    body = head % base64.b64encode(BATCH[:15]) + b'"id":"' + b"\\u0022" * 4 + b'"}'
    assert quickly(body) is None
    assert slowly(body) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b" x",
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b'"2.0"', b'"1.0"'),
        lambda body: body.replace(b'"id":7', b'"id":7.5'),
        lambda body: body.replace(b'"id":7', b'"id":null'),
        lambda body: body.replace(b'"id":7', b'"id":"\xff"'),
        lambda body: body.replace(b'"id":7,', b""),
        lambda body: body.replace(TEXT, TEXT[:-1]),
        lambda body: body.replace(TEXT, TEXT[:-2]),
        lambda body: body.replace(TEXT, TEXT + b"AAAA"),
        lambda body: body.replace(TEXT, b"-_" + TEXT[2:]),
        lambda body: body.replace(TEXT, b" " + TEXT[1:]),
        lambda body: body.replace(TEXT, TEXT[:8] + b"\\n" + TEXT[8:]),
        lambda body: body.replace(TEXT, b"\\u0041" + TEXT[1:]),
        lambda body: body.replace(TEXT, TEXT[:-2] + b"\\u003d\\u003d"),
        lambda body: body.replace(TEXT, TEXT[:-3] + b"/=="),
        lambda body: body.replace(b'"batch":', b'"batch":null,"colour":'),
        lambda body: body.replace(b'"params":{', b'"params":{"colour":1,'),
        lambda body: body.replace(b'{"batch":"' + TEXT + b'"}', b'["' + TEXT + b'"]'),
        lambda body: b"[" + body + b"]",
        lambda body: body[:-1],
    ],
)
def test_odd_requests_are_judged_as_by_the_slow_reading(change: Any) -> None:
    body = body_of()
    assert change(body) != body
    check(change(body))


async def test_a_batch_reaches_the_gateway_without_its_text_being_read_again(
    client: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_again(*_: object) -> bytes:
        raise AssertionError("the text was decoded again")

    monkeypatch.setattr(methods, "base64_bytes", read_again)
    refused = await client.error("ledger_submitBatch", {"batch": TEXT.decode()}, token=token)
    assert refused["data"]["reason"] == "bad_encoding", "bytes that are no batch"
