"""Following a node's subscription from a program without an event loop, across whatever ends a connection.

`Subscription` is one WebSocket connection with one subscription: it is told until it ends. `follow` subscribes again
from the last cursor when a connection ends, so that whoever iterates gets each notification once, in order. Not here:
what a notification says (docs/api.md). Source: RFC 6455, a client's side; the node sends whole messages, uncompressed.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from socket import socket
from typing import Any, Final

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable, retry_pause_s
from primitives.errors import ChainError

PATH: Final = "/ws"
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
IDLE_S: Final = 1.0
"""After so long without a notification whoever iterates has its turn."""
ALIVE_S: Final = 120.0
"""A node that says nothing for so long, not even a ping, is not there any more: it pings each half minute."""
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10

Json = dict[str, Any]  # Any: JSON of a node
Told = tuple[Json, str]
"""A notification's result and its cursor."""


class Ended(ChainError):
    """The connection, or the subscription on it, has ended; `cursor` is given where the node closed with one."""

    reason = "subscription_ended"

    def __init__(self, what: str, *, got: object = None, cursor: str = "") -> None:
        super().__init__(what, got=got)
        self.cursor = cursor


class NoWebSocket(ChainError):
    """The endpoint answers HTTP and takes no WebSocket: something stands before the node that does not pass it on."""

    reason = "no_websocket"


class Subscription:
    """One subscription on a connection of its own."""

    def __init__(self, client: NodeClient, params: Json) -> None:
        """Connect and subscribe. Raises `CallRefused`, `NoWebSocket`, `Unreachable`, `TimedOut` or `Ended`."""
        found = client.upgrade(PATH)
        if found is None:
            raise NoWebSocket("the endpoint takes no WebSocket", where=client.endpoint)
        self._socket: socket = found
        self._read, self._at = b"", 0  # what was read, and up to where it was taken
        self._heard_s = time.monotonic()
        request = {"jsonrpc": "2.0", "id": 1, "method": "ledger_subscribe", "params": params}
        self._send(_TEXT, json.dumps(request).encode())
        answer = self._message(client.timeout_s)
        if answer is None:
            self.close()
            raise TimedOut("no answer in time", where=client.endpoint, expected=f"within {client.timeout_s:g} s")
        if isinstance(answer.get("error"), dict):
            self.close()
            raise CallRefused(answer["error"])
        self.cursor: str = answer["result"]["cursor"]

    def next(self, wait_s: float) -> Told | None:
        """Return the next notification, None if none came in time. Raises `Ended`."""
        message = self._message(wait_s)
        if message is None:
            return None
        params = message.get("params", {})
        if "error" in params:
            raise CallRefused(params["error"])
        self.cursor = params["cursor"]
        return params["result"], self.cursor

    def close(self) -> None:
        """Close the connection; the node forgets the subscription."""
        with suppress(OSError):
            self._socket.close()

    def _message(self, wait_s: float) -> Json | None:
        """Return the next text message, having answered what came between. Raises `Ended`."""
        until_s = time.monotonic() + wait_s
        while True:
            frame = self._frame()
            if frame is None:
                if not self._receive(until_s):
                    return None
                continue
            opcode, payload = frame
            if opcode == _TEXT:
                found: Json = json.loads(payload)
                return found
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                self._closed(payload)

    def _closed(self, payload: bytes) -> None:
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
        word, _, cursor = reason.partition(": ")
        self.close()
        raise Ended("the node closed the connection", got=f"{code} {word}", cursor=cursor if code == 1013 else "")

    def _frame(self) -> tuple[int, bytes] | None:
        """Return opcode and payload of the next whole frame that was read, if there is one."""
        data, at = self._read, self._at
        if len(data) < at + 2:
            return None
        size, start = data[at + 1], at + 2
        if size >= 126:
            start = at + (4 if size == 126 else 10)
            size = int.from_bytes(data[at + 2 : start], "big") if len(data) >= start else MESSAGE_BYTES_MAX
        if size > MESSAGE_BYTES_MAX or not data[at] & 0x80:
            self.close()
            raise Ended("not frames of a node", got=f"{size} bytes")
        if len(data) < start + size:
            return None
        self._at = start + size
        return data[at] & 0x0F, data[start : self._at]

    def _receive(self, until_s: float) -> bool:
        """Read more; say whether there was any in time."""
        self._socket.settimeout(max(0.001, until_s - time.monotonic()))
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            if time.monotonic() > self._heard_s + ALIVE_S:
                self.close()
                raise Ended("the node says nothing any more") from None
            return False
        except OSError as error:
            self.close()
            raise Ended("the connection is gone", got=error) from None
        if not data:
            self.close()
            raise Ended("the connection is gone")
        self._heard_s = time.monotonic()
        self._read, self._at = self._read[self._at :] + data, 0
        return True

    def _send(self, opcode: int, payload: bytes) -> None:
        """Send a frame, masked as a client's are."""
        mask, size = os.urandom(4), len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        masked = bytes(byte ^ mask[place & 3] for place, byte in enumerate(payload))
        try:
            self._socket.sendall(bytes((0x80 | opcode,)) + length + mask + masked)
        except OSError as error:
            self.close()
            raise Ended("the connection is gone", got=error) from None


def follow(
    client: NodeClient, params: Json, *, idle_s: float = IDLE_S, tell: Callable[[str], None] = lambda _: None
) -> Generator[Told | None, None, None]:
    """Yield each notification once, across ended connections; None when there was none for `idle_s`.

    `tell` is called with why a connection ended. Raises what the first subscribing does, and later `CallRefused` where
    the node refuses the cursor for good; whatever else ends a connection is tried again until somebody ends this.
    """
    subscription: Subscription | None = Subscription(client, params)
    assert subscription is not None
    cursor, failures = subscription.cursor, 0
    try:
        while True:
            try:
                if subscription is None:
                    subscription = Subscription(client, _from(params, cursor))
                told = subscription.next(idle_s)
                failures = 0
            except (Ended, Unreachable, TimedOut, NoWebSocket, CallRefused) as error:
                if subscription is not None:
                    subscription.close()
                    subscription = None
                if isinstance(error, CallRefused) and not error.retryable:
                    raise
                tell(str(error))
                time.sleep(retry_pause_s(None, failures, random.random()))  # noqa: S311  spreads, guards nothing
                failures += 1
                continue
            if told is not None:
                cursor = told[1]
            yield told
    finally:
        if subscription is not None:
            subscription.close()


def _from(params: Json, cursor: str) -> Json:
    return {name: value for name, value in params.items() if name != "from_height"} | {"from_cursor": cursor}
