"""Reading a tiled log from whoever serves it: a node, a mirror behind any web server, or a directory.

Here: GET below a URL or a directory, with a limit of size and time for each answer. Nothing that comes from here is
believed: `ledger.signed_trees` and the policy judge it. Not here: JSON-RPC (`client`).
Source: C2SP tlog-tiles (a full tile stands in for a partial one that is gone; gzip).
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, quote, urlsplit

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.files import NotFound, read_file
from ledger.tile_paths import Tile
from primitives.errors import InputError, ProofError, UsageError

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

TIMEOUT_S = 30.0
READ_BYTES = 1 << 16
REFUSAL_BYTES_MAX = 4_096
BUSY_ATTEMPTS_MAX = 5
BUSY_WAIT_S = 0.5
BUSY_WAIT_S_MAX = 5.0
WATCH_S = 0.25
NO_CHECKPOINT = "no_checkpoint"
"""The reason of a node that has none yet, as one at its beginning."""
_BUSY = (429, 503)
_OK, _NOT_FOUND, _GONE = 200, 404, 410


class AnswerTooLarge(ProofError):
    """What a source sends has no end in sight: more than the thing that was asked for can have."""

    reason = "answer_too_large"


class LogSource(Protocol):
    """Where a log's parts are read; `name` is told in messages."""

    name: str

    def get(self, path: str, size_max: int) -> bytes | None:
        """Return what lies at a path below the log's prefix, None where there is nothing.

        Raises AnswerTooLarge above `size_max` bytes, Unreachable, TimedOut, CallRefused.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def open_source(
    place: str,
    *,
    token: str | None = None,
    timeout_s: float = TIMEOUT_S,
    ca_file: Path | None = None,
    patience_s: float = math.inf,
) -> LogSource:
    """Return the source of a URL (http, https or file). Raises `UsageError` where it is none."""
    parts = _split(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return DirectorySource(Path(parts.path))
    return HttpSource(place, token=token, timeout_s=timeout_s, ca_file=ca_file, patience_s=patience_s)


def _split(url: str) -> SplitResult:
    """Return the parts of a URL, of http where it names no scheme. Raises `UsageError` where a bracket stays open."""
    try:
        return urlsplit(url if "//" in url else f"http://{url}")
    except ValueError:
        raise UsageError("not the URL of a log", expected="such as http://127.0.0.1:7401", got=url) from None


def read_tile(source: LogSource, tile: Tile) -> bytes | None:
    """Return a tile's bytes, cut from the full one where the partial one is gone; None where there is neither."""
    data = source.get(tile.path, tile.bytes_max)
    full = Tile(tile.level, tile.index)
    if data is not None or tile == full:
        return data
    data = source.get(full.path, full.bytes_max)
    if data is None:
        return None
    return data[: tile.bytes_max] if tile.level is not None else _first_entries(data, tile.width)


def _first_entries(bundle: bytes, width: int) -> bytes:
    """Return the beginning of a bundle; whether these are entries of the log is for others to judge."""
    place = 0
    for _ in range(width):
        place += 2 + int.from_bytes(bundle[place : place + 2], "big")
    return bundle[:place]


class DirectorySource:
    """A log that lies in a directory."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._directory = directory

    def get(self, path: str, size_max: int) -> bytes | None:
        """Return a file's bytes, as `LogSource.get` does."""
        try:
            return read_file(self._directory / path, size_max=size_max)
        except NotFound:
            return None
        except InputError as error:
            raise AnswerTooLarge(error.what, where=error.where, expected=error.expected) from None

    def close(self) -> None:
        """Do nothing: no file stays open."""


class HttpSource:
    """A log below a URL; keeps its connection open between calls.

    An answer may take `timeout_s`; a server that is busy again and again is left alone after `patience_s`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        ca_file: Path | None = None,
        patience_s: float = math.inf,
    ) -> None:
        parts = _split(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or not plain:
            raise UsageError("not the URL of a log", expected="such as http://127.0.0.1:7401", got=url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self.name = f"{parts.scheme}://{parts.netloc}{self._prefix}"
        self._token, self._timeout_s, self._ca_file = token, timeout_s, ca_file
        self._patience_s = patience_s
        self._connection: HTTPConnection | None = None
        self.tls_ends_s: float | None = None
        self._watch = _Watch()

    def get(self, path: str, size_max: int) -> bytes | None:
        """Return the body of a GET, as `LogSource.get` does; a busy server is asked again a few times."""
        end = time.monotonic() + self._patience_s
        for attempt in range(BUSY_ATTEMPTS_MAX):
            status, body, wait_s = self._ask(path, size_max)
            if status == _OK:
                return body
            refused = CallRefused(_refusal(f"{self.name}/{path}: HTTP {status}", f"http_{status}", body))
            if status in (_NOT_FOUND, _GONE) or refused.slug == NO_CHECKPOINT:
                return None
            if status not in _BUSY or attempt == BUSY_ATTEMPTS_MAX - 1 or time.monotonic() + wait_s > end:
                break
            time.sleep(wait_s)
        raise refused

    def close(self) -> None:
        """Close the connection and end the thread that watches it; the next call opens another."""
        self._drop()
        self._watch.stop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, path: str, size_max: int) -> tuple[int, bytes, float]:
        """Return status, body and how long a busy server wants to be left alone, in seconds."""
        from http.client import HTTPException

        # A kept connection may have been closed while idle; reading twice does no harm.
        attempts = 1 if self._connection is None else 2
        while True:
            attempts -= 1
            try:
                with self._watch.over(self, self._timeout_s):
                    answer = self._once(path, size_max)
                if self._watch.ended:  # what was cut may look like an answer without a body
                    raise TimeoutError
                return answer
            except (HTTPException, OSError) as error:
                self._drop()
                if isinstance(error, TimeoutError) or self._watch.ended:
                    limit = f"within {self._timeout_s:g} s"
                    raise TimedOut("no answer in time", where=f"{self.name}/{path}", expected=limit) from None
                if not attempts:
                    what = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise Unreachable("nobody answers", where=self.name, got=what) from None
            except ProofError:
                self._drop()
                raise

    def cut(self) -> None:
        """End the exchange that runs in another thread: it then fails as if the other side had gone."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _once(self, path: str, size_max: int) -> tuple[int, bytes, float]:
        if self._connection is None:
            self._connection = self._connect()
        headers = {"Accept-Encoding": "gzip, identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        self._connection.request("GET", f"{self._prefix}/{quote(path)}", headers=headers)
        self._note_certificate(self._connection.sock)
        response = self._connection.getresponse()
        if response.status != _OK:
            body = response.read(REFUSAL_BYTES_MAX)
            if response.read(1):
                self._drop()
            return response.status, body, _wait_s(response.getheader("Retry-After"))
        zipped = (response.getheader("Content-Encoding") or "identity").lower() == "gzip"
        body = self._body(response, f"{self.name}/{path}", size_max, zlib.decompressobj(wbits=31) if zipped else None)
        return response.status, body, 0.0

    def _body(self, response: HTTPResponse, where: str, size_max: int, unzip: zlib._Decompress | None) -> bytes:
        """Return a body of at most `size_max` bytes, also once it is unzipped."""
        parts: list[bytes] = []
        size = 0
        while part := response.read1(READ_BYTES):
            if unzip is not None and unzip.eof:
                raise ProofError("answer goes on", where=where, expected="one gzip stream")
            try:
                # One byte more than there may be is enough to know.
                part = part if unzip is None else unzip.decompress(part, size_max - size + 1)
            except zlib.error as error:
                raise ProofError("answer cannot be unzipped", where=where, got=error) from None
            size += len(part)
            if size > size_max:
                raise AnswerTooLarge("answer too large", where=where, expected=f"at most {size_max} bytes")
            parts.append(part)
        if response.length:
            raise ConnectionError(f"the answer ended {response.length} bytes early")
        response.close()  # only then is the connection free for the next request
        if unzip is not None and not unzip.eof:
            raise ProofError("answer cut", where=where, expected="a whole gzip stream")
        return b"".join(parts)

    def _note_certificate(self, sock: socket.socket) -> None:
        """Note when the certificate of who answers ends, before the answer may close the connection."""
        if self._secure:
            import ssl

            found = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            ends = found.get("notAfter") if found else None
            self.tls_ends_s = ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        if not self._secure:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        import ssl

        context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)


class _Watch:
    """Cuts a source's exchange that lasts too long: a socket's own time-out bears a byte now and then for ever."""

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Condition()
        self._source: HttpSource | None = None
        self._end = 0.0
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, source: HttpSource, timeout_s: float) -> Iterator[None]:
        """Cut what `source` does in this block, once it has taken `timeout_s`; `ended` says afterwards that it was."""
        with self._lock:
            self.ended = False
            self._source, self._end = source, time.monotonic() + timeout_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._source = None

    def stop(self) -> None:
        """End the thread; the next exchange starts another."""
        with self._lock:
            self._thread = None
            self._lock.notify_all()

    def _run(self) -> None:
        with self._lock:
            while self._thread is threading.current_thread():
                if self._source is not None and time.monotonic() >= self._end:
                    self.ended = True
                    self._source.cut()
                self._lock.wait(WATCH_S)


def _refusal(where: str, reason: str, body: bytes) -> dict[str, Any]:
    """Return a refusal as `CallRefused` takes it: a node's own words where it is one's, or how the text begins."""
    try:
        error = json.loads(body)["error"]
        return {"code": error["code"], "message": f"{where}: {error['message']}", "data": error["data"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        message = body[:200].decode("utf-8", "replace").strip() or "no reason given"
        return {"code": 0, "message": f"{where}: {message}", "data": {"reason": reason}}


def _wait_s(retry_after: str | None) -> float:
    """Return how long a busy server wants to be left alone, within our own limit."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return BUSY_WAIT_S
    return min(float(retry_after[:6]), BUSY_WAIT_S_MAX)
