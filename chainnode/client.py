"""A small JSON-RPC client over HTTP for the command line: one connection, no event loop, fast to import.

Here: calling a node and what can go wrong on the way. Not here: what methods exist (`rpc`), what is done with answers.
The standard library's HTTP is imported at the first call, so that `chainnode --help` does not pay for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from primitives.errors import ChainError, UsageError

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from socket import socket

ANSWER_BYTES_MAX = 256 * 1024 * 1024
TIMEOUT_S = 30.0
BATCH_CALLS = 50
REFUSAL_BYTES_MAX = 64 * 1024
PART_BYTES = 64 * 1024
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RETRY_DEFAULT_MS = 500
RETRY_PAUSE_S_MAX = 5.0
RETRY_DOUBLINGS_MAX = 10
INVALID_PARAMS = -32602
NOT_FOUND = -32001
UNAVAILABLE = -32002


class Unreachable(ChainError):
    """Nothing answers at the endpoint, or what answers is not a node."""

    reason = "unreachable"


class TimedOut(ChainError):
    """The node took the call and did not answer in time, or something did not become true in time."""

    reason = "timed_out"


class Unhealthy(ChainError):
    """A node runs and is not well, or has ended where it should run."""

    reason = "unhealthy"


class CallRefused(ChainError):
    """The node answered with an error; `code` is JSON-RPC's, `slug` the node's own reason."""

    reason = "call_refused"

    def __init__(self, error: dict[str, Any]) -> None:  # Any: the JSON that a node sent
        data = error.get("data") if isinstance(error.get("data"), dict) else {}
        assert isinstance(data, dict)
        # A node names a parameter by its path in the call, `$.height`; whoever reads this gave an argument.
        super().__init__(str(error.get("message", "the node gave no reason")).replace("$.", ""))
        self.code = int(error["code"]) if isinstance(error.get("code"), int) else 0
        self.slug = str(data.get("reason", "unknown"))
        self.retryable = data.get("retryable") is True
        self.retry_after_ms = data["retry_after_ms"] if isinstance(data.get("retry_after_ms"), int) else None
        self.trace_id = str(data.get("trace_id", ""))


def retry_pause_s(hint_ms: int | None, refusals: int, chance: float) -> float:
    """Return for how long to wait before a call that was refused so often in a row is made again.

    At least as long as the node says; twice as long with each further refusal, and up to half longer by `chance` (0 to
    1): callers that were refused together must not come back together.
    """
    hint_s = (RETRY_DEFAULT_MS if hint_ms is None else max(1, hint_ms)) / 1_000
    grown_s = min(hint_s * (1 << min(refusals, RETRY_DOUBLINGS_MAX)), max(hint_s, RETRY_PAUSE_S_MAX))
    return grown_s * (1 + chance / 2)


class NodeClient:
    """Calls one node at an endpoint such as `http://127.0.0.1:7401`; keeps its connection open between calls."""

    def __init__(
        self, endpoint: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S, ca_file: Path | None = None
    ) -> None:
        try:
            parts = urlsplit(endpoint if "//" in endpoint else f"http://{endpoint}")
        except ValueError as error:
            raise UsageError("not an endpoint", expected="such as http://127.0.0.1:7401", got=error) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("not an endpoint", expected="such as http://127.0.0.1:7401", got=endpoint)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise UsageError("not an endpoint", expected="a port up to 65535", got=endpoint) from None
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self.timeout_s = timeout_s
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._token = token
        self._ca_file = ca_file
        self._connection: HTTPConnection | None = None
        self._number = 0

    def __repr__(self) -> str:
        return f"NodeClient({self.endpoint!r})"

    def call(self, method: str, /, **params: Any) -> Any:  # Any: JSON both ways
        """Return a method's result. Raises `CallRefused`, `Unreachable` or `TimedOut`."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        status, data = self._exchange("POST", "/", json.dumps(request).encode())
        answer = self._decode(data, status)
        if isinstance(answer.get("error"), dict):
            raise CallRefused(answer["error"])
        if status != 200 or answer.get("id") != self._number or "result" not in answer:
            raise Unreachable("the answer is not a node's", where=self.endpoint, got=f"HTTP {status}")
        return answer["result"]

    def call_many(self, method: str, calls: Sequence[dict[str, Any]]) -> list[Any]:  # Any: JSON both ways
        """Return a method's results for several sets of parameters, in order; raises as `call` does for the first."""
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_CALLS):
            results += self._batch(method, calls[start : start + BATCH_CALLS])
        return results

    def _batch(self, method: str, calls: Sequence[dict[str, Any]]) -> list[Any]:
        first = self._number + 1
        self._number += len(calls)
        requests = [
            {"jsonrpc": "2.0", "id": first + place, "method": method, "params": params}
            for place, params in enumerate(calls)
        ]
        status, data = self._exchange("POST", "/", json.dumps(requests).encode())
        if not data.lstrip().startswith(b"["):
            answer = self._decode(data, status)
            raise CallRefused(answer["error"] if isinstance(answer.get("error"), dict) else {})
        answers = {answer.get("id"): answer for answer in json.loads(data) if isinstance(answer, dict)}
        results = []
        for number in range(first, first + len(calls)):
            answer = answers.get(number, {})
            if isinstance(answer.get("error"), dict):
                raise CallRefused(answer["error"])
            if "result" not in answer:
                raise Unreachable("the answer is not a node's", where=self.endpoint, got="a batch without an answer")
            results.append(answer["result"])
        return results

    def members(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return all members of the chain, page by page."""
        return self.pages("gov_listMembers", "members")

    def pages(self, method: str, key: str, **params: Any) -> list[dict[str, Any]]:  # Any: JSON
        """Return all rows of a list, page by page; `key` names them in the answers."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.call(method, limit=BATCH_CALLS, **params, **({} if cursor is None else {"cursor": cursor}))
            rows += page[key]
            cursor = page["cursor"]
            if cursor is None:
                return rows

    def limit(self, timeout_s: float) -> None:
        """Let no later call wait for longer than `timeout_s`."""
        self.timeout_s = timeout_s
        if self._connection is not None:
            self._connection.timeout = timeout_s
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout_s)

    def get(self, path: str) -> bytes:
        """Return what a plain GET gives. Raises `CallRefused` where it is not found, as `call` does otherwise."""
        status, data = self._exchange("GET", path, None)
        if status == 200:
            return data
        raise _refusal(status, data)

    def parts(self, path: str, size_max: int) -> Iterator[bytes]:
        """Yield what a plain GET gives part by part, on a connection of its own, so that no answer is too long to hold.

        Raises as `get`; `Unreachable` where it is cut off, or longer than `size_max` bytes.
        """
        from http.client import HTTPException

        connection, taken = self._connect(), 0
        try:
            connection.request("GET", path, None, self._headers({"Accept": "application/json"}))
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(response.status, response.read(REFUSAL_BYTES_MAX))
            while part := response.read(PART_BYTES):
                taken += len(part)
                if taken > size_max:
                    raise Unreachable("answer too large", where=self.endpoint, expected=f"at most {size_max} bytes")
                yield part
            if response.length:  # announced, and never sent: http.client says so of whole reads alone
                raise Unreachable("the answer was cut off", where=self.endpoint, got=f"{taken} bytes", hint="ask again")
        except TimeoutError:
            raise TimedOut("no answer in time", where=self.endpoint, expected=f"within {self.timeout_s:g} s") from None
        except (HTTPException, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return more if self._token is None else {**more, "Authorization": f"Bearer {self._token}"}

    def upgrade(self, path: str) -> socket | None:
        """Return the socket of a new WebSocket connection; None where HTTP is answered and no upgrade is made.

        Raises `CallRefused` where the node refuses it, as `call` does otherwise.
        """
        from http.client import HTTPException

        connection = self._connect()
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers["Sec-WebSocket-Key"] = key
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request("GET", path, None, headers)
            response = connection.getresponse()
            if response.status == 101:
                accept = base64.b64encode(sha1(key.encode() + WEBSOCKET_GUID).digest()).decode()  # noqa: S324  RFC 6455
                taken: socket | None = connection.sock
                if response.headers.get("Sec-WebSocket-Accept") != accept or taken is None:
                    raise Unreachable("the answer is not a node's", where=self.endpoint, got="another's upgrade")
                return taken
            data = response.read(REFUSAL_BYTES_MAX)
        except TimeoutError:
            raise TimedOut("no answer in time", where=self.endpoint, expected=f"within {self.timeout_s:g} s") from None
        except (HTTPException, OSError) as error:
            raise self._unreachable(error) from None
        connection.close()
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(data)
            if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
                raise CallRefused(answer["error"])
        return None

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _decode(self, data: bytes, status: int) -> dict[str, Any]:
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            text = data[:80].decode("utf-8", "replace").strip()
            raise Unreachable("the answer is not a node's", where=self.endpoint, got=f"HTTP {status} {text}")
        return answer

    def _exchange(self, verb: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        from http.client import HTTPException

        kind = {"Accept": "application/json"} if body is None else {"Content-Type": "application/json"}
        headers = self._headers(kind)
        # A kept connection may have been closed while idle; events are known by id, so asking twice does no harm.
        attempts = 1 if self._connection is None else 2
        while True:
            attempts -= 1
            try:
                return self._once(verb, path, body, headers)
            except TimeoutError:
                self.close()
                limit = f"within {self.timeout_s:g} s"
                raise TimedOut("no answer in time", where=self.endpoint, expected=limit) from None
            except (HTTPException, OSError) as error:
                self.close()
                if not attempts:
                    raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unreachable:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(
            "no node answers",
            where=self.endpoint,
            got=what,
            hint="is it running? name another with --endpoint or --home",
        )

    def _once(self, verb: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(verb, path, body, headers)
        response = self._connection.getresponse()
        data = response.read(ANSWER_BYTES_MAX + 1)
        if len(data) > ANSWER_BYTES_MAX:
            self.close()
            raise Unreachable("answer too large", where=self.endpoint, expected=f"at most {ANSWER_BYTES_MAX} bytes")
        return response.status, data

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        if not self._secure:
            return HTTPConnection(self._host, self._port, timeout=self.timeout_s)
        import ssl

        context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
        return HTTPSConnection(self._host, self._port, timeout=self.timeout_s, context=context)


def _refusal(status: int, data: bytes) -> CallRefused:
    """Return the error for an answer to a plain GET that is none."""
    message = data[:200].decode("utf-8", "replace").strip() or f"HTTP {status}"
    if status == 404:
        return CallRefused({"code": NOT_FOUND, "message": message, "data": {"reason": "not_found"}})
    if status == 503:
        return CallRefused({"code": UNAVAILABLE, "message": message, "data": {"reason": "unavailable"}})
    return CallRefused({"code": 0, "message": message, "data": {"reason": f"http_{status}"}})
