"""Following a subscription without an event loop: across connections that end, each notification once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from chainnode import following
from chainnode.client import CallRefused, NodeClient, Unreachable
from chainnode.following import NoWebSocket, Subscription, follow

REQUEST_BYTES = 4_096
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"subscription":"1","cursor":"c0","as_of":9}}'


def told(number: int) -> bytes:
    text = b'{"method":"ledger_subscription","params":{"subscription":"1","result":{"n":%d},"cursor":"c%d"}}'
    return text % (number, number)


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + length + payload


def unmasked(data: bytes) -> bytes:
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
    return bytes(byte ^ mask[place & 3] for place, byte in enumerate(payload))


class Script:
    """A node that answers each connection with the next of some scripts, and keeps what it was asked."""

    def __init__(self, *scripts: bytes | None) -> None:
        self.scripts = scripts
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        from base64 import b64encode
        from hashlib import sha1

        for script in self.scripts:
            peer, _ = self.listener.accept()
            with closing(peer):
                head = peer.recv(REQUEST_BYTES)
                if script is None:
                    peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
                    continue
                key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
                accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                peer.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                )
                self.asked.append(unmasked(peer.recv(REQUEST_BYTES)))
                peer.sendall(script)
                if frame(b"", 9) in script:
                    self.asked.append(peer.recv(REQUEST_BYTES)[:1])


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Script]]:
    monkeypatch.setattr(following, "retry_pause_s", lambda *_: 0.0)
    made: list[Script] = []

    def make(*scripts: bytes | None) -> Script:
        made.append(Script(*scripts))
        return made[-1]

    yield make
    for script in made:
        script.listener.close()


def numbers(script: Script, count: int, **params: object) -> list[int]:
    found: list[int] = []
    for item in follow(NodeClient(script.url, timeout_s=5), {"topic": "blocks", **params}, idle_s=5):
        if item is not None:
            found.append(item[0]["n"])
        if len(found) == count:
            break
    return found


def test_a_connection_that_ends_is_gone_on_from_the_last_cursor(scripted) -> None:
    close = frame((1013).to_bytes(2, "big") + b"slow_subscriber: c2", 8)
    script = scripted(
        frame(ANSWER) + frame(told(1)) + frame(told(2)) + close,
        frame(ANSWER) + frame(told(3))[:-4],  # cut in the middle of a message
        frame(ANSWER),
        frame(ANSWER) + frame(b"", 9) + frame(told(3)),
    )
    assert numbers(script, 3, from_height=1) == [1, 2, 3]
    assert b'"from_height": 1' in script.asked[0]
    assert b'"from_cursor": "c2"' in script.asked[1]
    assert b"from_height" not in script.asked[1]
    assert b'"from_cursor": "c2"' in script.asked[2]
    script.thread.join(5)
    assert script.asked[4] == b"\x8a", "a ping is answered by a pong"


def test_many_messages_at_once_and_one_in_pieces_are_read_alike(scripted) -> None:
    long = told(2).replace(b'"n":2', b'"n":2,"text":"%b"' % (b"x" * 60_000))
    assert numbers(scripted(frame(ANSWER) + b"".join(frame(told(n)) for n in range(500)) + frame(long)), 501)[-1] == 2


@pytest.mark.parametrize("retryable", [True, False])
def test_a_cursor_that_is_refused_for_good_ends_it_and_one_that_is_not_yet_known_does_not(scripted, retryable) -> None:
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"m","data":{"reason":"r","retryable":%b}}}'
    refused = frame(error % (b"true" if retryable else b"false"))
    script = scripted(frame(ANSWER) + frame(told(1)), refused, frame(ANSWER) + frame(told(2)))
    if retryable:
        assert numbers(script, 2) == [1, 2]
    else:
        with pytest.raises(CallRefused):
            numbers(script, 2)


def test_an_endpoint_that_takes_no_websocket_and_one_where_nothing_answers_are_told_apart(scripted) -> None:
    with pytest.raises(NoWebSocket):
        Subscription(NodeClient(scripted(None).url, timeout_s=5), {"topic": "blocks"})
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(Unreachable):
        Subscription(NodeClient(url, timeout_s=5), {"topic": "blocks"})
