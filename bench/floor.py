"""`python -m bench.floor`: what an event must cost at least, in one process, on the same bytes as the node's.

It decodes each batch, validates its events, hashes them, builds the trees, verifies one signature, and writes the same
rows to LevelDB: those of the ledger synced, those of the index not. Nothing else: no network, no votes, no proposals,
no state, no second reading. It shares no code with the node: a slow part of the node would make the floor slow too and
flatter the ratio. The processor time of each step is counted apart; `background` is LevelDB's compaction, which runs in
a thread of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import plyvel
from msgspec import Meta
from nacl.bindings import crypto_sign_open

BATCHES_MAX = 1_000_000
BLOCK_BATCHES = 4
STAND_ALONE_BATCHES = 400
TILE = 256
TAG = b"chainnode/v1/batch\0"

Text = Annotated[str, Meta(min_length=1, max_length=64)]
TextOrNone = Annotated[str, Meta(max_length=64)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
UpTo16 = Annotated[bytes, Meta(max_length=16)]
UpTo32 = Annotated[bytes, Meta(max_length=32)]
Count = Annotated[int, Meta(ge=0)]


class Shape(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An array of fields."""


class Header(Shape, frozen=True):
    """A batch's header."""

    suite: int
    chain_id: Bytes32
    member: Text
    source: Bytes32
    number: Count
    previous: Bytes32
    count: Annotated[int, Meta(ge=1, le=1_024)]
    root: Bytes32
    time_ms: Count


class Batch(Shape, frozen=True):
    """A batch."""

    header: Header
    signature: Bytes64
    events: Annotated[tuple[bytes, ...], Meta(max_length=1_024)]


class Event(Shape, frozen=True):
    """An event."""

    member: Text
    reference: Bytes16
    expires_ms: Count
    kind: Annotated[int, Meta(ge=1, le=255)]
    schema: Annotated[int, Meta(ge=1, le=65_535)]
    body: bytes


class Agent(Shape, frozen=True):
    """An institution."""

    role: Annotated[int, Meta(ge=1, le=9)]
    scheme: Annotated[int, Meta(ge=1, le=3)]
    code: Text


class TokenPair(Shape, frozen=True):
    """A keyed token."""

    field: Annotated[int, Meta(ge=1, le=5)]
    token: Bytes16


class Statement(Shape, frozen=True):
    """A payment statement."""

    salt: Bytes16
    side: Annotated[int, Meta(ge=1, le=6)]
    message_type: Text
    status: Annotated[int, Meta(ge=1, le=6)]
    reason: TextOrNone
    amount: Count | None
    currency: TextOrNone
    amount_commitment: UpTo32
    settlement_date: Annotated[int, Meta(ge=0, le=9999_12_31)]
    agents: Annotated[list[Agent], Meta(max_length=9)]
    channel: Annotated[int, Meta(ge=0, le=8)]
    uetr: UpTo16
    reference_commitment: Bytes32
    pair_key: UpTo32
    tokens: Annotated[list[TokenPair], Meta(max_length=16)]
    fields_root: Bytes32
    terminal_certificate: TextOrNone
    source_digest: Bytes32
    time_ms: Count


texts = attrgetter("message_type", "reason", "currency", "terminal_certificate")
_TEXTS = re.compile(r"[a-z]{4}[.a-z0-9]*,([A-Z0-9]{4})?,([A-Z]{3})?,[A-Z0-9-]*")


@cache
def fits_patterns(found: tuple[str, ...]) -> bool:
    """Say whether texts are well formed; few differ, so that a cache answers for nearly all."""
    return _TEXTS.fullmatch(",".join(found)) is not None


class Steps:
    """Processor time of this thread by step, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.thread_time()

    def done(self, step: str) -> None:
        """Book the time since the last call on this step."""
        now = time.thread_time()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


class Log:
    """An RFC 6962 log: the unpaired subtree of each level, and the hashes of each tile level's last tile."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes | None] = []
        self._tails: list[list[bytes]] = []

    def extend(self, leaves: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Append leaf hashes and return the rows of the tiles: full ones, and the growth of those that are not."""
        rows: list[tuple[bytes, bytes]] = []
        nodes, level, size = leaves, 0, self.size
        while nodes:
            if level % 8 == 0:
                rows += self._tiles(level // 8, nodes, size >> level)
            if level == len(self._edge):
                self._edge.append(None)
            left = self._edge[level]
            if left is not None:
                nodes = [left, *nodes]
            self._edge[level] = nodes[-1] if len(nodes) & 1 else None
            nodes = pair(nodes)
            level += 1
        self.size += len(leaves)
        return rows

    def _tiles(self, level: int, nodes: list[bytes], start: int) -> list[tuple[bytes, bytes]]:
        if level == len(self._tails):
            self._tails.append([])
        hashes = self._tails[level] + nodes
        first = start // TILE
        rows = []
        for index, offset in enumerate(range(0, len(hashes), TILE), first):
            part = hashes[offset : offset + TILE]
            rows.append((b"t%c" % level + index.to_bytes(8, "big") + b"%c" % (len(part) % TILE), b"".join(part)))
        self._tails[level] = hashes[len(hashes) - len(hashes) % TILE :]
        return rows

    def root(self) -> bytes:
        """Return the root."""
        carry: bytes | None = None
        for left in self._edge:
            if left is not None:
                carry = left if carry is None else sha256(b"\1" + left + carry).digest()
        return carry or sha256(b"").digest()


def pair(nodes: list[bytes]) -> list[bytes]:
    """Return the parents of nodes, an odd one at the end left out."""
    halves = iter(nodes)
    return [sha256(b"\1" + left + right).digest() for left, right in zip(halves, halves, strict=False)]


def root_of(leaves: list[bytes]) -> bytes:
    """Return the root of a tree of at least one leaf."""
    level = leaves
    while len(level) > 1:
        odd = level[-1:] if len(level) & 1 else []
        level = pair(level) + odd
    return level[0]


def run(frames: Iterator[bytes], directory: str) -> dict[str, Any]:
    """Take all batches, in blocks of four, and return the cost."""
    decode_batch = msgspec.msgpack.Decoder(Batch).decode
    decode_event = msgspec.msgpack.Decoder(Event).decode
    decode_body = msgspec.msgpack.Decoder(Statement).decode
    encode = msgspec.msgpack.Encoder().encode
    database = plyvel.DB(
        directory,
        create_if_missing=True,
        write_buffer_size=32 << 20,
        lru_cache_size=32 << 20,
        bloom_filter_bits=10,
        compression=None,
    )
    index = plyvel.DB(f"{directory}.index", create_if_missing=True, write_buffer_size=8 << 20, compression=None)
    log = Log()
    total = blocks = count_bytes = 0
    block: list[tuple[bytes, list[bytes]]] = []
    body_rows: list[tuple[bytes, bytes]] = []
    index_rows: list[tuple[bytes, bytes]] = []
    cpu_started, wall_started = time.process_time(), time.perf_counter()
    steps = Steps()
    for raw in frames:
        steps.done("read")
        batch = decode_batch(raw)
        events = [decode_event(item) for item in batch.events]
        bodies = [decode_body(event.body) for event in events]
        steps.done("decode")
        canonical = (
            encode(batch) == raw
            and [encode(event) for event in events] == list(batch.events)
            and [encode(body) for body in bodies] == [event.body for event in events]
        )
        steps.done("canonical")
        header = batch.header
        member = header.member
        fits = len(events) == header.count and all(
            event.member == member
            and len(body.amount_commitment) in (0, 32)
            and len(body.uetr) in (0, 16)
            and (body.amount is None or not body.amount_commitment)
            for event, body in zip(events, bodies, strict=True)
        )
        fits = fits and all(map(fits_patterns, {texts(body) for body in bodies}))
        steps.done("rules")
        ids = [sha256(b"\0%c" % event.kind + item).digest() for event, item in zip(events, batch.events, strict=True)]
        steps.done("hash")
        fits = fits and root_of(ids) == header.root
        steps.done("batch_tree")
        signed = encode(header)
        crypto_sign_open(batch.signature + TAG + encode([header]), header.source)
        steps.done("signature")
        if not (canonical and fits):
            raise SystemExit("a batch does not fit")
        place = (blocks + 1).to_bytes(6, "big")
        for number, body in enumerate(bodies, len(index_rows)):
            if body.uetr:
                index_rows.append((b"u" + body.uetr + place + number.to_bytes(2, "big"), b""))
        steps.done("index_rows")
        key = sha256(TAG + signed).digest()
        body_rows.append((b"B" + key, raw))
        block.append((key, ids))
        total += len(ids)
        count_bytes += len(raw)
        if len(block) == BLOCK_BATCHES:
            blocks += 1
            write_block(database, log, blocks, block, body_rows, steps)
            write_index(index, index_rows, steps)
            block, body_rows, index_rows = [], [], []
    if block:
        write_block(database, log, blocks + 1, block, body_rows, steps)
    wall = time.perf_counter() - wall_started
    settle(database)
    settle(index)
    cpu = time.process_time() - cpu_started
    database.close()
    index.close()
    steps.seconds["background"] = max(0.0, cpu - sum(steps.seconds.values()))
    del steps.seconds["read"]
    spent = sum(steps.seconds.values())
    return {
        "events": total,
        "floor_cpu_us_per_event": round(spent / total * 1e6, 2),
        "steps_us": {step: round(seconds / total * 1e6, 3) for step, seconds in steps.seconds.items()},
        "events_per_second": round(total / wall),
        "bytes_per_event": round(count_bytes / total, 1),
    }


def write_block(
    database: Any,  # Any: plyvel has no type information
    log: Log,
    height: int,
    block: list[tuple[bytes, list[bytes]]],
    body_rows: list[tuple[bytes, bytes]],
    steps: Steps,
) -> None:
    """Grow the log by a block and write its rows: bodies, then, synced, positions, tiles and the block."""
    with database.write_batch(sync=True) as write:
        for key, value in body_rows:
            write.put(key, value)
    steps.done("write")
    ids = [event_id for _, of_batch in block for event_id in of_batch]
    tiles = log.extend(ids)
    root = log.root()
    steps.done("log_tree")
    place = height.to_bytes(6, "big")
    rows = [(b"p" + event_id[:16] + place + index.to_bytes(2, "big"), b"") for index, event_id in enumerate(ids)]
    steps.done("rows")
    with database.write_batch(sync=True) as write:
        put = write.put
        for key, value in rows:
            put(key, value)
        for key, value in tiles:
            put(key, value)
        put(b"b" + height.to_bytes(8, "big"), root + b"".join(key for key, _ in block))
    steps.done("write")


def write_index(index: Any, rows: list[tuple[bytes, bytes]], steps: Steps) -> None:  # Any: as above
    """Write the rows by which a payment is found again; they can be made anew, so that nothing waits for the disk."""
    with index.write_batch() as write:
        for key, value in rows:
            write.put(key, value)
    steps.done("index_write")


def settle(database: Any) -> None:  # Any: plyvel has no type information
    """Wait until LevelDB's compaction rests."""
    last = ""
    while True:
        state = (database.get_property(b"leveldb.stats") or b"").decode()
        used = time.process_time()
        time.sleep(0.2)
        if state == last and time.process_time() - used < 0.005:
            return
        last = state


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield the batches of a file: each after its length in four bytes."""
    with path.open("rb") as file:
        while size := file.read(4):
            yield file.read(int.from_bytes(size, "big"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the floor on a file of batches, or on batches that another process makes first."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--input", type=Path, help="batches, as `python -m bench.workload` writes them")
    parser.add_argument("--batches", type=int, default=STAND_ALONE_BATCHES, help="how many to make without --input")
    options = parser.parse_args(arguments)
    if not 1 <= options.batches <= BATCHES_MAX:  # nothing of the node's packages is used here
        parser.exit(2, f"{parser.prog}: --batches: expected a whole number from 1 to {BATCHES_MAX:,}\n")
    with tempfile.TemporaryDirectory(prefix="chainnode-floor-") as scratch:
        path = options.input
        if path is None:
            path = Path(scratch) / "batches"
            command = [sys.executable, "-m", "bench.workload", str(path), str(options.batches)]
            subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        figures = run(read_frames(path), f"{scratch}/store")
    if options.json:
        print(json.dumps(figures))
        return 0
    print(f"{figures['floor_cpu_us_per_event']} µs of processor time per event ({figures['events']:,} events)")
    for step, cost in figures["steps_us"].items():
        print(f"  {step:<12} {cost:6.3f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
