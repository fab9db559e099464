"""A node that lies: a proxy before a real one, which changes what passes through it and knows all formats.

Proofs are changed in their fields and encoded anew, as a node that means to deceive does it, not by broken bytes.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from ledger.certificate_history import CertificateHistory
from ledger.completeness import Completeness
from ledger.events import EVENT_SIZE_MAX, Event
from ledger.outcomes import Outcome
from ledger.receipts import Receipt
from ledger.status_proofs import StatusProof
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from primitives.encoding import Record, decode, encode
from primitives.ids import Hash

SIZE_MAX = 16 << 20
FORWARDED = {"content-type", "content-disposition", "cache-control", "content-security-policy", "retry-after", "vary"}
Lie = Callable[[str], str]


class LyingNode:
    """Serves what a node serves at a URL of its own; `lies` maps paths' beginnings (or a method's name) to changes."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.lies: dict[str, Lie] = {}
        self.url = ""

    def lie_of(self, path: str, body: bytes) -> Lie | None:
        if path == "/" and body:
            method = json.loads(body).get("method", "")
            return self.lies.get(method)
        return next((lie for start, lie in self.lies.items() if start.startswith("/") and path.startswith(start)), None)


def _handler(node: LyingNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _pass_on(self, body: bytes) -> None:
            # A proxy is asked by other names than the node's own.
            left_out = {"accept-encoding", "host", "origin"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            connection = HTTPConnection(str(node.upstream.hostname), node.upstream.port, timeout=30)
            try:
                connection.request(self.command, self.path, body or None, headers)
                response = connection.getresponse()
                data, status = response.read(), response.status
            finally:
                connection.close()
            lie = node.lie_of(self.path, body)
            if lie is not None and status == 200:
                data = lie(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            self.send_response(status)
            for name, value in response.getheaders():
                if name.lower() in FORWARDED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was left closes its connections: nobody needs to be told."""
        del request, client_address


@contextmanager
def lying_node(upstream: str, tls: ssl.SSLContext | None = None) -> Iterator[LyingNode]:
    """Serve a node that can be made to lie, over TLS with a context for it."""
    node = LyingNode(upstream)
    server = _Server(("127.0.0.1", 0), _handler(node))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    node.url = f"http{'' if tls is None else 's'}://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- lies about a receipt, by what they change and the step that must notice


def _receipt(change: Callable[[Receipt], Receipt]) -> Lie:
    return _extra(Receipt, change)


def _extra(type_: type[Any], change: Callable[[Any], Record]) -> Lie:  # Any: one of the records of proofs
    def lie(text: str) -> str:
        proof = parse_tlog_proof(text, size_max=SIZE_MAX)
        changed = change(decode(type_, proof.extra, size_max=SIZE_MAX))
        return TlogProof(encode(changed), proof.index, proof.path, proof.note).text()

    return lie


def _proof(change: Callable[[TlogProof], TlogProof]) -> Lie:
    return lambda text: change(parse_tlog_proof(text, size_max=SIZE_MAX)).text()


def flipped(data: bytes, place: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def other_root(note: str) -> str:
    """Return a note whose root is another, under the old signatures."""
    lines = note.split("\n")
    lines[2] = base64.b64encode(flipped(base64.b64decode(lines[2]))).decode()
    return "\n".join(lines)


def other_signature(note: str) -> str:
    """Return a note whose last cosignature has a flipped bit."""
    head, _, last = note.rstrip("\n").rpartition(" ")
    return f"{head} {base64.b64encode(flipped(base64.b64decode(last), -1 % 60)).decode()}\n"


def _other_event(receipt: Receipt) -> Receipt:
    event = decode(Event, receipt.event, size_max=EVENT_SIZE_MAX)
    return replace(receipt, event=encode(replace(event, body=flipped(event.body, len(event.body) - 2))))


def _other_outcome(receipt: Receipt) -> Receipt:
    outcomes = decode(list[Outcome], receipt.outcome.leaf, size_max=SIZE_MAX)
    turned = [
        Outcome(1, "unknown_certificate", "there is no such certificate") if each.applied else Outcome(0, "", "")
        for each in outcomes
    ]
    return replace(receipt, outcome=replace(receipt.outcome, leaf=encode(turned)))


RECEIPT_LIES: dict[str, tuple[Lie, str]] = {
    "event body": (_receipt(_other_event), "event"),
    "outcome": (_receipt(_other_outcome), "outcome"),
    "index": (_proof(lambda proof: TlogProof(proof.extra, proof.index + 1, proof.path, proof.note)), "event"),
    "leaf of the header": (
        _receipt(lambda receipt: replace(receipt, header=replace(receipt.header, time_ms=receipt.header.time_ms + 1))),
        "header",
    ),
    "path": (
        _proof(
            lambda proof: TlogProof(
                proof.extra, proof.index, (Hash(flipped(proof.path[0])), *proof.path[1:]), proof.note
            )
        ),
        "event",
    ),
    "checkpoint root": (
        _proof(lambda proof: TlogProof(proof.extra, proof.index, proof.path, other_root(proof.note))),
        "log signature",
    ),
    "cosignature": (
        _proof(lambda proof: TlogProof(proof.extra, proof.index, proof.path, other_signature(proof.note))),
        "cosignatures",
    ),
    "source signature": (
        _receipt(lambda receipt: replace(receipt, batch_signature=flipped(receipt.batch_signature, 33))),
        "source signature",
    ),
    "member of the batch": (
        _receipt(lambda receipt: replace(receipt, batch_header=replace(receipt.batch_header, member="bank-d"))),
        "batch",
    ),
}

STATUS_LIES: dict[str, tuple[Lie, str]] = {
    "status value": (
        _extra(
            StatusProof,
            lambda proof: replace(
                proof,
                value=proof.value.replace(b"valid", b"other")
                if b"valid" in proof.value
                else flipped(proof.value, len(proof.value) - 3),
            ),
        ),
        "state",
    ),
    "absence": (_extra(StatusProof, lambda proof: replace(proof, value=None)), "state"),
    "header": (
        _extra(StatusProof, lambda proof: replace(proof, header=replace(proof.header, state_root=Hash(bytes(32))))),
        "header",
    ),
}

HISTORY_LIES: dict[str, tuple[Lie, str]] = {
    "last event left out": (
        _extra(CertificateHistory, lambda proof: replace(proof, events=proof.events[:-1])),
        "history",
    ),
    "an event twice": (
        _extra(CertificateHistory, lambda proof: replace(proof, events=(*proof.events, proof.events[-1]))),
        "history",
    ),
    "events turned round": (
        _extra(CertificateHistory, lambda proof: replace(proof, events=proof.events[::-1])),
        "history",
    ),
    "another count": (_extra(CertificateHistory, lambda proof: replace(proof, first=proof.first + 1)), "history"),
    "record": (
        _extra(CertificateHistory, lambda proof: replace(proof, status=replace(proof.status, value=None))),
        "state",
    ),
}


def _last_batch(proof: Completeness, **changed: object) -> Completeness:
    """Return a proof in which the last batch within the heights is another."""
    place = max(i for i, batch in enumerate(proof.batches) if batch.height <= proof.to_height)
    batches = [*proof.batches]
    batches[place] = replace(batches[place], **changed)
    return replace(proof, batches=tuple(batches))


def _other_rejections(proof: Completeness) -> Completeness:
    """Say of each block that its first event was rejected."""
    refused = ((0, Outcome(1, "unknown_certificate", "")),)
    return replace(proof, blocks=tuple(replace(block, rejected=refused) for block in proof.blocks))


COMPLETENESS_LIES: dict[str, tuple[Lie, str]] = {
    "last batch left out": (
        _extra(Completeness, lambda proof: replace(proof, batches=proof.batches[:-1])),
        "range",
    ),
    "batches turned round": (_extra(Completeness, lambda proof: replace(proof, batches=proof.batches[::-1])), "range"),
    "an event left out": (_extra(Completeness, lambda proof: _last_batch(proof, events=())), "batches"),
    "signature of a batch": (_extra(Completeness, lambda proof: _last_batch(proof, signature=bytes(64))), "batches"),
    "place of a batch": (_extra(Completeness, lambda proof: _last_batch(proof, log_index=0)), "batches"),
    "outcomes": (_extra(Completeness, _other_rejections), "batches"),
    "member": (_extra(Completeness, lambda proof: replace(proof, member="bank-b")), "range"),
    "fewer blocks": (_extra(Completeness, lambda proof: replace(proof, blocks=proof.blocks[:-1])), "range"),
    "header": (
        _extra(
            Completeness, lambda proof: replace(proof, header=replace(proof.header, batch_logs_root=Hash(bytes(32))))
        ),
        "header",
    ),
}
