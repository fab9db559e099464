"""Reading a log over HTTP from servers that stall, never end, compress bombs or are something else altogether."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.log_source import AnswerTooLarge, DirectorySource, HttpSource, open_source, read_tile
from ledger.tile_paths import Tile
from primitives.errors import ProofError, UsageError

LIMIT = 1000
Script = Callable[[socket.socket], None]


@contextmanager
def server(*scripts: Script) -> Iterator[str]:
    """Serve one script a connection, in order, the last one for all that follow."""
    listener = socket.create_server(("127.0.0.1", 0))
    waiting, threads = list(scripts), []

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            threads.append(threading.Thread(target=served, args=(connection, script), daemon=True))
            threads[-1].start()

    def served(connection: socket.socket, script: Script) -> None:
        with connection, suppress(OSError):
            script(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(4096)
        if not part:
            raise OSError
        data += part
    return data


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Script:
    size = [] if any("chunked" in header for header in headers) else [f"Content-Length: {length or len(body)}"]
    lines = [f"HTTP/1.1 {status}", *size, *headers, "", ""]

    def script(connection: socket.socket) -> None:
        while True:
            request(connection)
            connection.sendall("\r\n".join(lines).encode() + body)
            if length is not None:
                return

    return script


def drip(head: bytes, part: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(part)
            time.sleep(0.05)

    return script


def source(url: str, **fields: object) -> HttpSource:
    return HttpSource(url, timeout_s=0.6, **fields)  # type: ignore[arg-type]  # as the fields have them


@contextmanager
def reading(url: str) -> Iterator[HttpSource]:
    found = source(url)
    try:
        yield found
    finally:
        found.close()


def test_a_body_is_read_as_it_is_and_over_one_connection() -> None:
    def refuse(connection: socket.socket) -> None:
        raise OSError("a second connection")

    for script in (
        answer(b"hello"),
        answer(b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        answer(gzip.compress(b"hello"), "Content-Encoding: gzip"),
    ):
        with server(script, refuse) as url, reading(url) as found:
            assert [found.get("checkpoint", LIMIT) for _ in range(3)] == [b"hello"] * 3
    with server(answer(b"", status="404 Not Found"), refuse) as url, reading(url) as found:
        assert [found.get("checkpoint", LIMIT) for _ in range(3)] == [None] * 3


def test_a_gzip_body_is_unzipped_within_the_limit() -> None:
    body = b"leaf" * 200
    with server(answer(gzip.compress(body), "Content-Encoding: gzip")) as url, reading(url) as found:
        assert found.get("tile/entries/000", len(body)) == body
        with pytest.raises(AnswerTooLarge):
            found.get("tile/entries/000", len(body) - 1)


def test_what_is_asked_for_names_gzip_and_identity_and_the_token_goes_along() -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    with server(script) as url:
        found = source(f"{url}/logs/a/", token="secret")
        assert found.get("tile/0/x001/000.p/3", LIMIT) == b"x"
        found.close()
    assert seen[0].startswith(b"GET /logs/a/tile/0/x001/000.p/3 HTTP/1.1\r\n")
    assert b"Accept-Encoding: gzip, identity\r\n" in seen[0]
    assert b"Authorization: Bearer secret\r\n" in seen[0]


@pytest.mark.parametrize(
    "script",
    [
        answer(b"x" * 5000),
        answer(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip"),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 500),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1f4\r\n" + b"x" * 500 + b"\r\n"),
    ],
    ids=["long", "bomb", "endless", "endless chunks"],
)
def test_an_answer_that_is_too_large_is_refused_while_it_is_read(script: Script) -> None:
    with server(script) as url, reading(url) as found, pytest.raises(AnswerTooLarge, match=f"at most {LIMIT} bytes"):
        found.get("tile/0/000", LIMIT)


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"x" * 50)[:-4], gzip.compress(b"x") + b"more" * 40_000, zlib.compress(b"x")],
    ids=["text", "cut", "goes on", "zlib"],
)
def test_a_gzip_body_that_is_none_is_refused(body: bytes) -> None:
    with server(answer(body, "Content-Encoding: gzip")) as url, reading(url) as found, pytest.raises(ProofError):
        found.get("tile/0/000", 1 << 20)


@pytest.mark.parametrize(
    "script",
    [
        lambda connection: time.sleep(20),
        drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0"),
    ],
    ids=["silent", "headers drip", "body drips", "gzip drips"],
)
def test_a_source_that_stalls_is_left_in_time(script: Script) -> None:
    started = time.monotonic()
    with server(script) as url, reading(url) as found, pytest.raises((TimedOut, Unreachable, ProofError)):
        found.get("checkpoint", LIMIT)
    assert time.monotonic() - started < 10


def test_who_closes_an_idle_connection_is_asked_again_once() -> None:
    def once(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    with server(once) as url, reading(url) as found:
        assert [found.get("checkpoint", LIMIT) for _ in range(3)] == [b"x"] * 3


def test_an_answer_that_ends_early_is_none() -> None:
    with server(answer(b"abc", length=9)) as url, reading(url) as found, pytest.raises(Unreachable):
        found.get("checkpoint", LIMIT)


def test_a_busy_source_is_asked_again_a_few_times_and_others_refusals_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    reader, sleep = threading.current_thread(), time.sleep  # servers of this and of other tests have threads that sleep

    def wait(seconds: float) -> None:
        (waited.append if threading.current_thread() is reader else sleep)(seconds)

    monkeypatch.setattr("chainnode.log_source.time.sleep", wait)
    busy = answer(b"", "Retry-After: 2", status="503 Busy")
    with server(busy) as url, reading(url) as found, pytest.raises(CallRefused, match="HTTP 503"):
        found.get("checkpoint", LIMIT)
    assert waited == [2.0] * 4
    waited.clear()
    with server(busy) as url:
        impatient = HttpSource(url, patience_s=1.5)
        with pytest.raises(CallRefused, match="HTTP 503"):
            impatient.get("checkpoint", LIMIT)
        impatient.close()
    assert waited == [], "it is not worth while to wait"
    refusal = (
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32004,"message":"no token","data":{"reason":"token_required"}}}'
    )
    with server(answer(refusal, status="401 X")) as url, reading(url) as found:
        with pytest.raises(CallRefused, match="no token") as caught:
            found.get("tile/entries/000", LIMIT)
        assert (caught.value.code, caught.value.slug) == (-32004, "token_required")
    none = b'{"error":{"code":-32002,"message":"none yet","data":{"reason":"no_checkpoint"}}}'
    with server(answer(none, status="503 Busy")) as url, reading(url) as found:
        assert found.get("checkpoint", LIMIT) is None
    for status in ("302 Found", "403 No", "500 Oh"):
        refused = pytest.raises(CallRefused, match=f"HTTP {status[:3]}: <html>")
        with server(answer(b"<html>", "Location: /x", status=status)) as url, reading(url) as found, refused:
            found.get("checkpoint", LIMIT)
    with server(answer(b"", status="404 Not Found")) as url, reading(url) as found:
        assert found.get("tile/0/000", LIMIT) is None


def test_where_nothing_listens_or_what_answers_is_no_http_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with reading(f"http://127.0.0.1:{port}") as found, pytest.raises(Unreachable, match="nobody answers"):
        found.get("checkpoint", LIMIT)
    other = server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n"))
    with other as url, reading(url) as found, pytest.raises(Unreachable):
        found.get("checkpoint", LIMIT)


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://", "http://a:99999", "http://a/?q=1", "http://u@a/", "http://[::1", "file://host/a"]
)
def test_what_is_no_url_of_a_log_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_source(url)


def test_a_directory_is_read_like_a_server(tmp_path: Path) -> None:
    (tmp_path / "tile/0").mkdir(parents=True)
    (tmp_path / "tile/0/000").write_bytes(bytes(range(256)) * 32)
    found = open_source(f"file://{tmp_path}")
    assert isinstance(found, DirectorySource)
    assert found.get("checkpoint", LIMIT) is None
    with pytest.raises(AnswerTooLarge):
        found.get("tile/0/000", LIMIT)
    assert read_tile(found, Tile(0, 0, 3)) == bytes(range(96)), "cut from the full one"
    assert read_tile(found, Tile(0, 1, 3)) is None


def test_entries_of_a_partial_bundle_are_cut_from_the_full_one(tmp_path: Path) -> None:
    (tmp_path / "tile/entries").mkdir(parents=True)
    entries = [bytes([n]) * n for n in range(256)]
    bundle = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    (tmp_path / "tile/entries/000").write_bytes(bundle)
    found = read_tile(DirectorySource(tmp_path), Tile(None, 0, 5))
    assert found == bundle[: 5 * 2 + 1 + 2 + 3 + 4]
