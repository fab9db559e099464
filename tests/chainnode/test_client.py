"""The client: what each kind of answer, and none, becomes."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from chainnode.client import (
    BATCH_CALLS,
    RETRY_DEFAULT_MS,
    RETRY_PAUSE_S_MAX,
    CallRefused,
    NodeClient,
    TimedOut,
    Unreachable,
    retry_pause_s,
)
from primitives.errors import UsageError


class FakeNode(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if isinstance(request, list):
            answers = [{"jsonrpc": "2.0", "id": one["id"], "result": one["params"]["n"]} for one in reversed(request)]
            self.send(200, json.dumps([one for one in answers if one["result"] != 13]).encode())
            return
        FakeNode.seen.append({"authorization": self.headers.get("Authorization"), **request})
        match request["method"]:
            case "echo":
                self.answer(200, {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]})
            case "refuse":
                data = {"reason": "pool_full", "retryable": True, "trace_id": "t1", "retry_after_ms": 50}
                error = {"code": -32002, "message": "the pool is full", "data": data}
                self.answer(503, {"jsonrpc": "2.0", "id": request["id"], "error": error})
            case "hang_up":
                self.answer(200, {"jsonrpc": "2.0", "id": request["id"], "result": 1})
                self.close_connection = True
            case "other_id":
                self.answer(200, {"jsonrpc": "2.0", "id": 99, "result": 1})
            case "page":
                self.send(200, b"<html>router</html>")
            case "silence":
                time.sleep(0.3)
                self.close_connection = True
            case "list":
                self.send(200, b"[]")

    def do_GET(self) -> None:
        if self.path.startswith("/parts"):
            self.send_parts()
            return
        self.send(200 if self.path == "/checkpoint" else 404, b"note")

    def send_parts(self) -> None:
        self.send_response(200)
        short = "short" in self.path
        self.send_header(*(("Content-Length", "9") if short else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        self.wfile.write(b"abc" if short else b"3\r\nabc\r\n4\r\ndefg\r\n")
        if "whole" in self.path:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def answer(self, status: int, value: object) -> None:
        self.send(status, json.dumps(value).encode())

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeNode)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_result_comes_back_and_the_token_goes_along(endpoint: str) -> None:
    client = NodeClient(endpoint, token="secret")
    assert client.call("echo", a=1, b=["x"]) == {"a": 1, "b": ["x"]}
    assert FakeNode.seen[-1]["authorization"] == "Bearer secret"
    assert "secret" not in repr(client)
    assert client.call("echo") == {}


def test_error_of_the_node_keeps_code_reason_and_retry(endpoint: str) -> None:
    with pytest.raises(CallRefused, match="the pool is full") as caught:
        NodeClient(endpoint).call("refuse")
    refused = caught.value
    assert (refused.code, refused.slug, refused.retryable) == (-32002, "pool_full", True)
    assert (refused.retry_after_ms, refused.trace_id) == (50, "t1")


def test_connection_that_was_closed_while_idle_is_opened_again(endpoint: str) -> None:
    client = NodeClient(endpoint)
    assert client.call("hang_up") == 1
    assert client.call("echo", again=True) == {"again": True}


@pytest.mark.parametrize("method", ["other_id", "page", "list"])
def test_answer_that_is_no_nodes_is_said_so(method: str, endpoint: str) -> None:
    with pytest.raises(Unreachable, match="the answer is not a node's"):
        NodeClient(endpoint).call(method)


def test_plain_get_gives_bytes_or_not_found(endpoint: str) -> None:
    assert NodeClient(endpoint).get("/checkpoint") == b"note"
    with pytest.raises(CallRefused) as caught:
        NodeClient(endpoint).get("/tile/0/000")
    assert caught.value.code == -32001


def test_a_long_answer_comes_in_parts_and_one_that_is_cut_off_never_looks_whole(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainnode.client.PART_BYTES", 2)
    client = NodeClient(endpoint)
    assert list(client.parts("/parts/whole", 7)) == [b"ab", b"cd", b"ef", b"g"]
    for path in ("/parts/cut", "/parts/short"):
        with pytest.raises(Unreachable):
            list(client.parts(path, 99))
    with pytest.raises(Unreachable, match=r"answer too large: .*at most 6 bytes"):
        list(client.parts("/parts/whole", 6))
    with pytest.raises(CallRefused) as caught:
        list(client.parts("/tile/0/000", 99))
    assert caught.value.code == -32001


def test_nobody_there_is_unreachable_and_says_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="no node answers: got Connection refused; is it running"):
        NodeClient(f"http://127.0.0.1:{port}").call("net_status")


def test_node_that_never_answers_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = NodeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(TimedOut, match="no answer in time"):
            client.call("net_status")


@pytest.mark.parametrize("endpoint", ["ftp://x", "http://", "http://x:99999", "http://[::1", ""])
def test_bad_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="not an endpoint"):
        NodeClient(endpoint)


def test_many_calls_are_answered_in_their_order_and_none_may_be_left_out(endpoint: str) -> None:
    client = NodeClient(endpoint)
    numbers = list(range(20, 20 + 2 * BATCH_CALLS + 1))
    assert client.call_many("echo", [{"n": number} for number in numbers]) == numbers
    assert client.call_many("echo", []) == []
    with pytest.raises(Unreachable, match="a batch without an answer"):
        client.call_many("echo", [{"n": 12}, {"n": 13}])


def test_limit_holds_for_a_connection_that_is_open(endpoint: str) -> None:
    client = NodeClient(endpoint)
    client.call("echo")
    client.limit(0.05)
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"within 0\.05 s"):
        client.call("silence")
    assert time.monotonic() - started < 1


def test_path_of_a_parameter_is_told_as_its_name() -> None:
    assert str(CallRefused({"message": "no block at this height yet: got 9 ($.height)"})).endswith("got 9 (height)")


def test_a_refused_caller_rests_at_least_as_long_as_it_is_told_and_not_for_ever() -> None:
    assert retry_pause_s(200, 0, 0.0) == 0.2
    assert retry_pause_s(200, 1, 0.0) == 0.4
    assert retry_pause_s(200, 0, 1.0) == pytest.approx(0.3)
    assert retry_pause_s(200, 50, 0.0) == RETRY_PAUSE_S_MAX
    assert retry_pause_s(60_000, 3, 0.0) == 60.0, "what the node says goes before our own bound"
    assert retry_pause_s(None, 0, 0.0) == RETRY_DEFAULT_MS / 1_000
    assert retry_pause_s(-5, 0, 0.0) > 0
