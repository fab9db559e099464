"""Whatever a client sends gets a typed answer that says expected and got, and the server answers the next one."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from rpc.limits import READ_BODY_BYTES_MAX
from rpc.rights import Access

GOOD = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
HASH = "ab" * 32


def call(method: str, params: str = "", *, extra: str = "") -> bytes:
    text = f'{{"jsonrpc":"2.0","id":7,"method":"{method}"'
    return (text + (f',"params":{params}' if params else "") + extra + "}").encode()


def many_keys() -> bytes:
    """Return an object of many keys whose last is its first: looking for it must not take quadratic time."""
    return b"{" + b",".join(b'"k%d":0' % number for number in (*range(90_000), 0)) + b"}"


@dataclass
class Bad:
    """One bad request and what it gets: HTTP status, code, reason, and what `expected`, `got` and `where` hold."""

    name: str
    body: bytes
    code: int
    reason: str
    expected: str | None = None
    got: str | None = None
    where: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    id: object = None


PARSING = [
    Bad("nothing", b"", -32700, "parse_error", "RFC 8259", "character 0"),
    Bad("words", b"hello", -32700, "parse_error", "RFC 8259", "character 0"),
    Bad("a cut object", GOOD[:-1], -32700, "parse_error", "RFC 8259", f"character {len(GOOD) - 1}"),
    Bad("two objects", GOOD + GOOD, -32700, "parse_error", "RFC 8259", "Extra data"),
    Bad("a trailing comma", b'{"jsonrpc":"2.0",}', -32700, "parse_error", "RFC 8259", "character"),
    Bad("single quotes", b"{'jsonrpc':'2.0'}", -32700, "parse_error", "RFC 8259", "character 1"),
    Bad("NaN", call("ledger_getBlock", '{"height":NaN}'), -32700, "parse_error", "RFC 8259", "NaN"),
    Bad("Infinity", call("ledger_getBlock", "[-Infinity]"), -32700, "parse_error", "RFC 8259", "Infinity"),
    Bad("a control character", b'{"method":"\x01"}', -32700, "parse_error", "RFC 8259", "control character"),
    Bad("a byte order mark", b"\xef\xbb\xbf" + GOOD, -32700, "parse_error", "RFC 8259", "BOM"),
    Bad("UTF-16", GOOD.decode().encode("utf-16"), -32700, "not_utf8", "UTF-8", "byte 0xff at 0"),
    Bad("a byte that is not UTF-8", call("net_status", '["\xff"]').replace(b"\xc3\xbf", b"\xff"), -32700, "not_utf8"),
    Bad("half a surrogate pair", b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}', -32700, "parse_error", "RFC 8259"),
    Bad(
        "a key twice",
        b'{"jsonrpc":"2.0","id":7,"id":8,"method":"net_status"}',
        -32700,
        "duplicate_key",
        "distinct",
        "id",
    ),
    Bad(
        "a key twice, once escaped",
        b'{"jsonrpc":"2.0","id":7,"method":"a","params":{"x":1,"\\u0078":2}}',
        -32700,
        "duplicate_key",
        "distinct",
        "x",
    ),
    Bad("arrays a thousand deep", b"[" * 1_500 + b"]" * 1_500, -32700, "nested_too_deeply", "at most 32", "more"),
    Bad(
        "objects a thousand deep",
        call("ledger_getBlock", '{"a":' * 1_500 + "1" + "}" * 1_500),
        -32700,
        "nested_too_deeply",
        "at most 32",
        "more",
    ),
    Bad("33 levels", b"[" * 33 + b"]" * 33, -32700, "nested_too_deeply", "at most 32", "more"),
    Bad("many keys and one twice", many_keys(), -32700, "duplicate_key", "distinct", "k0"),
    Bad("many empty arrays", b"[" + b"[]," * 250_000 + b"[]]", -32005, "too_many_values", "200000", "250002"),
    Bad("many numbers", b"[" + b"1," * 510_000 + b"1]", -32005, "too_many_values", "500000", "510000", status=413),
]

REQUESTS = [
    Bad("a number", b"1", -32600, "invalid_request", "object", "int"),
    Bad("a string", b'"net_status"', -32600, "invalid_request", "object", "str"),
    Bad("null", b"null", -32600, "invalid_request", "object", "null"),
    Bad("an empty batch", b"[]", -32600, "invalid_request", "at least 1", "0"),
    Bad("no version", b'{"id":7,"method":"net_status"}', -32600, "invalid_request", id=7),
    Bad("version 1", b'{"jsonrpc":"1.0","id":7,"method":"a"}', -32600, "invalid_request", got="'1.0'", id=7),
    Bad("version as a number", b'{"jsonrpc":2.0,"id":7,"method":"a"}', -32600, "invalid_request", "str", "float", id=7),
    Bad("no method", b'{"jsonrpc":"2.0","id":7}', -32600, "invalid_request", id=7),
    Bad("method as a number", b'{"jsonrpc":"2.0","id":7,"method":1}', -32600, "invalid_request", "str", "int", id=7),
    Bad("a method of 101 characters", call("m" * 101), -32600, "invalid_request", "100", id=7),
    Bad("an unknown member", call("net_status", extra=',"auth":1'), -32600, "invalid_request", id=7),
    Bad("a fractional id", b'{"jsonrpc":"2.0","id":1.5,"method":"a"}', -32600, "invalid_request", "int", "float"),
    Bad("an object as id", b'{"jsonrpc":"2.0","id":{},"method":"a"}', -32600, "invalid_request", "int", "object"),
    Bad("an id of 30 digits", b'{"jsonrpc":"2.0","id":' + b"9" * 30 + b',"method":"a"}', -32600, "invalid_request"),
    Bad("an id of 5000 digits", b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"a"}', -32600, "invalid_request"),
    Bad("a long id", f'{{"jsonrpc":"2.0","id":"{"i" * 300}","method":"a"}}'.encode(), -32600, "invalid_request", "256"),
    Bad(
        "params as a string", call("net_status", '"x"'), -32600, "invalid_request", "an object or an array", '"x"', id=7
    ),
    Bad("params as null", call("net_status", "null"), -32600, "invalid_request", "an object or an array", "null", id=7),
    Bad("an unknown method", call("ledger_steal"), -32601, "method_not_found", "rpc.discover", "ledger_steal", id=7),
    Bad("a method in other letters", call("NET_STATUS"), -32601, "method_not_found", got="NET_STATUS", id=7),
    Bad("a private name", call("__class__"), -32601, "method_not_found", got="__class__", id=7),
]

PARAMETERS = [
    Bad("an unknown parameter", call("net_status", '{"x":1}'), -32602, "invalid_params"),
    Bad("too many positions", call("net_status", "[1]"), -32602, "invalid_params", "at most 0", "1", "$"),
    Bad("a missing parameter", call("ledger_getEvent"), -32602, "invalid_params"),
    Bad("a height as text", call("ledger_getBlock", '["7"]'), -32602, "invalid_params", got="'7'", where="$.height"),
    Bad("a negative height", call("ledger_getBlock", "[-1]"), -32602, "invalid_params", "int >= 0", "-1", "$.height"),
    Bad("half a height", call("ledger_getBlock", "[1.5]"), -32602, "invalid_params", "int", "float", "$.height"),
    Bad("a true height", call("ledger_getBlock", "[true]"), -32602, "invalid_params", "int", "bool", "$.height"),
    Bad(
        "a huge height",
        call("ledger_getBlock", f"[{10**30}]"),
        -32602,
        "invalid_params",
        "281474976710655",
        str(10**30),
    ),
    Bad("a height of 5000 digits", call("ledger_getBlock", f"[{'9' * 5000}]"), -32602, "invalid_params"),
    Bad("a height with exponent", call("ledger_getBlock", "[1e400]"), -32602, "invalid_params"),
    Bad(
        "a height not reached",
        call("ledger_getBlock", "[12]"),
        -32001,
        "not_found",
        got="newest is 0",
        where="$.height",
    ),
    Bad(
        "height and hash", call("ledger_getBlock", f'[0,"{HASH}"]'), -32602, "invalid_params", "height or hash", "both"
    ),
    Bad("an unknown hash", call("ledger_getBlock", f'{{"hash":"{HASH}"}}'), -32001, "not_found", got=HASH),
    Bad("a short hash", call("ledger_getEvent", '["ab"]'), -32602, "invalid_params", "64 lower-case hex digits", "ab"),
    Bad(
        "a hash in capitals",
        call("ledger_getEvent", f'["{HASH.upper()}"]'),
        -32602,
        "invalid_params",
        "64 lower-case hex digits",
        HASH.upper(),
        "$.event_id",
    ),
    Bad("a hash and a line feed", call("ledger_getEvent", f'["{HASH}\\n"]'), -32602, "invalid_params", "64 lower-case"),
    Bad("an unknown event", call("ledger_getEvent", f'["{HASH}"]'), -32001, "not_found", got=HASH),
    Bad("a limit of 101", call("ledger_getBlocks", '{"limit":101}'), -32602, "invalid_params", "int <= 100", "101"),
    Bad("a limit of 0", call("ledger_getBlocks", '{"limit":0}'), -32602, "invalid_params", "int >= 1", "0", "$.limit"),
    Bad("an unknown order", call("ledger_getBlocks", '{"order":"up"}'), -32602, "invalid_params", got="'up'"),
    Bad(
        "a made-up cursor",
        call("ledger_getBlocks", '{"cursor":"abcd"}'),
        -32602,
        "bad_cursor",
        "a cursor that ledger_getBlocks gave",
        "abcd",
    ),
    Bad(
        "a cursor in other letters", call("ledger_getBlocks", '{"cursor":"../x"}'), -32602, "invalid_params", "a cursor"
    ),
    Bad("an event of height 9", call("ledger_getBlockEvents", "[9]"), -32001, "not_found", got="newest is 0"),
    Bad("a log size not reached", call("ledger_getConsistency", "[1,99]"), -32602, "invalid_params", "<= 1", "99"),
    Bad(
        "sizes the wrong way",
        call("ledger_getConsistency", "[1,0]"),
        -32602,
        "invalid_params",
        "<= new_size",
        "1 and 0",
    ),
    Bad("a checkpoint that is not kept", call("ledger_getCheckpoint", "[77]"), -32001, "not_found", got="77"),
    Bad("no checkpoint yet", call("ledger_getCheckpoint"), -32002, "no_checkpoint"),
    Bad("an unknown source", call("ledger_getSource", f'["{HASH}"]'), -32001, "not_found", got=HASH),
    Bad("a made-up number", call("cert_get", '["42"]'), -32602, "invalid_params", "FTP", "42", "$.number"),
    Bad(
        "an unknown certificate",
        call("cert_get", '["FTP-2026-06-000123"]'),
        -32001,
        "not_found",
        got="FTP-2026-06-000123",
    ),
    Bad(
        "submitting without a token",
        call("ledger_submit", '{"events":[]}'),
        -32004,
        "token_required",
        "Bearer",
        "no token",
    ),
    Bad(
        "a batch without a token",
        call("ledger_submitBatch", '["AAAA"]'),
        -32004,
        "token_required",
        "Bearer",
        "no token",
    ),
]

TRANSPORT = [
    Bad(
        "no content type",
        GOOD,
        -32600,
        "wrong_content_type",
        "application/json",
        status=415,
        headers={"Content-Type": ""},
    ),
    Bad(
        "text", GOOD, -32600, "wrong_content_type", got="text/plain", status=415, headers={"Content-Type": "text/plain"}
    ),
    Bad(
        "another charset",
        GOOD,
        -32600,
        "wrong_content_type",
        got="latin-1",
        status=415,
        headers={"Content-Type": "application/json; charset=latin-1"},
    ),
    Bad(
        "gzip",
        GOOD,
        -32600,
        "wrong_content_encoding",
        "identity",
        "gzip",
        status=415,
        headers={"Content-Encoding": "gzip"},
    ),
    Bad(
        "a body above the limit",
        b" " * (READ_BODY_BYTES_MAX + 1),
        -32005,
        "body_too_large",
        f"at most {READ_BODY_BYTES_MAX}",
        str(READ_BODY_BYTES_MAX + 1),
        status=413,
    ),
]


@pytest.mark.parametrize("bad", [*PARSING, *REQUESTS, *PARAMETERS, *TRANSPORT], ids=lambda bad: bad.name)
async def test_bad_input_gets_a_typed_answer_and_the_server_goes_on(client, bad: Bad) -> None:
    status, answer, headers = await client.post(bad.body, headers=bad.headers)
    error = answer["error"]
    data = error["data"]
    assert (error["code"], data["reason"]) == (bad.code, bad.reason)
    for key, needle in (("expected", bad.expected), ("got", bad.got), ("where", bad.where)):
        if needle is not None:
            assert needle in data[key]
            assert data[key] in error["message"]
    assert data["retryable"] is (bad.code == -32002)
    assert data["trace_id"] == headers["X-Trace-Id"]
    assert re.fullmatch("[0-9a-f]{32}", data["trace_id"])
    assert "Traceback" not in json.dumps(answer)
    if bad.status == 200 or bad.code == -32005:
        assert status in (200, 413)
    else:
        assert status == bad.status
    if bad.id is not None:
        assert answer["id"] == bad.id
    assert (await client.call("net_status"))["height"] == 0


async def test_an_error_neither_repeats_nor_searches_a_megabyte(client) -> None:
    long_text = " - at `" * 100_000
    for body in (
        {"jsonrpc": long_text, "id": 7, "method": "net_status"},
        {"jsonrpc": "2.0", "id": 7, "method": "net_status", long_text: 1},
        {"jsonrpc": "2.0", "id": 7, "method": "ledger_getBlock", "params": [long_text]},
        {"jsonrpc": "2.0", "id": 7, "method": "ledger_getBlock", "params": {long_text: 1}},
        {"jsonrpc": "2.0", "id": 7, "method": "ledger_getEvent", "params": [long_text]},
    ):
        answer = await asyncio.wait_for(client.post(body), 5)
        assert answer[1]["error"]["code"] in (-32600, -32602)
        assert len(json.dumps(answer[1])) < 2_000


@dataclass
class RawCase:
    """Bytes on the wire that no client library would send, and the status line that they get."""

    name: str
    sent: bytes
    status: bytes


RAW = [
    RawCase("not HTTP", b"\x16\x03\x01\x00\xa5 hello\r\n\r\n", b"400"),
    RawCase("a header without a colon", b"POST / HTTP/1.1\r\nHost localhost\r\n\r\n", b"400"),
    RawCase("a negative length", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"400"),
    RawCase(
        "length and chunks",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"400",
    ),
    RawCase("a header of 20 KiB", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
    RawCase("two hosts", b"GET /checkpoint HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"40"),
    RawCase("no host", b"GET /checkpoint HTTP/1.1\r\n\r\n", b"40"),
    RawCase("an unknown HTTP method", b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"40"),
]


@pytest.mark.parametrize("case", RAW, ids=lambda case: case.name)
async def test_broken_http_is_refused_without_a_trace_of_our_code(client, case: RawCase) -> None:
    url = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(case.sent)
    answer = await asyncio.wait_for(reader.read(4096), 5)
    writer.close()
    assert answer.startswith((b"HTTP/1.1 " + case.status, b"HTTP/1.0 " + case.status))
    assert b"Traceback" not in answer
    assert (await client.call("net_status"))["height"] == 0


async def test_a_chunked_body_above_the_limit_is_cut_off(client) -> None:
    async def chunks():
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    async with client.session.post(client.url, data=chunks(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["error"]["data"]["reason"] == "body_too_large"
    assert (await client.call("net_status"))["height"] == 0


async def test_a_fault_of_our_own_is_answered_without_its_details(client, services, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret of the node")

    monkeypatch.setattr(services.reads, "block", fail)
    error = await client.error("ledger_getBlock")
    assert (error["code"], error["data"]["reason"]) == (-32603, "internal_error")
    assert "secret" not in json.dumps(error)
    assert (await client.call("net_status"))["height"] == 0


async def test_a_damaged_store_is_unavailable_and_says_nothing_of_the_disk(client, node) -> None:
    node.commit_events(2)
    node.store.write([(b"x" + (1).to_bytes(8, "big"), None)], sync=True)
    error = await client.error("ledger_getBlock")
    assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32002, "storage", True)
    assert "height" not in error["message"]


def test_no_reading_method_may_submit() -> None:
    from rpc.methods.catalogue import METHODS

    reading = (Access.PUBLIC, Access.READ)
    others = {name: method.access for name, method in METHODS.items() if method.access not in reading}
    submitting = {"ledger_submit": Access.GOVERN, "ledger_submitBatch": Access.SUBMIT}
    assert others == submitting | {name: Access.OPERATE for name in METHODS if name.startswith("admin_")}
