"""`python -m bench.floor`: what an event must cost at least, in one process, on the same bytes as the node's.

It decodes each batch, validates its events, hashes them, builds the trees, verifies one signature, and writes the same
rows to LevelDB: those of the ledger synced, those of the index not. Nothing else: no network, no votes, no proposals,
no state, no second reading. It shares no code with the node: a slow part of the node would make the floor slow too and
flatter the ratio. Events that are signed one by one are batches of one: what a block shares (two synced writes, the
growth of the log) as many of them share as `--block` says, and their verification is told apart. The processor time of
each step is counted apart; `background` is LevelDB's compaction, which runs in a thread of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import plyvel
from msgspec import Meta
from nacl.bindings import crypto_sign_open

BATCHES_MAX = 1_000_000
BLOCK_BATCHES = 4
BLOCK_LONE = 32
STAND_ALONE_BATCHES = 400
STAND_ALONE_LONE = 20_000
TILE = 256
TAG = b"chainnode/v1/batch\0"
RUN_ENTRIES = 16_384
RUN_BLOCKS = 64
ROW_ENTRIES = 170
NUMBERED_BYTES_MIN = 4096

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


_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_body = msgspec.msgpack.Decoder(Statement).decode
_encode = msgspec.msgpack.Encoder().encode

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


class Stores:
    """The two LevelDB stores, opened as a node opens its own."""

    def __init__(self, directory: str, sync: bool) -> None:
        self.sync = sync
        self.ledger: Any = plyvel.DB(  # Any: plyvel has no type information
            directory,
            create_if_missing=True,
            write_buffer_size=32 << 20,
            lru_cache_size=32 << 20,
            bloom_filter_bits=10,
            compression=None,
        )
        self.bodies: Any = plyvel.DB(  # Any: as above
            f"{directory}.bodies", create_if_missing=True, write_buffer_size=32 << 20, compression=None
        )
        self.index: Any = plyvel.DB(  # Any: as above
            f"{directory}.index", create_if_missing=True, write_buffer_size=4 << 20, compression=None
        )
        self.maps = (Packed(b"e"), Packed(b"u"))

    def settle(self) -> None:
        """Wait until compaction rests."""
        settle(self.ledger)
        settle(self.bodies)
        settle(self.index)

    def close(self) -> None:
        """Close both."""
        self.ledger.close()
        self.bodies.close()
        self.index.close()


class Packed:
    """A map from 16 bytes to places, kept as the node keeps it, but for the merging of its runs."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._fresh: list[bytes] = []
        self._entries: list[bytes] = []
        self._runs = 0

    def rows(self, entries: list[bytes], place: bytes) -> list[tuple[bytes, bytes | None]]:
        """Return a block's row; and where there is enough for a run, its rows and the end of those of the blocks."""
        if not entries:
            return []
        entries.sort()
        self._entries += entries
        self._fresh.append(b"f" + self._name + place)
        rows: list[tuple[bytes, bytes | None]] = [(self._fresh[-1], b"".join(entries))]
        if len(self._entries) >= RUN_ENTRIES or len(self._fresh) >= RUN_BLOCKS:
            self._entries.sort()
            prefix = b"r" + self._name + self._runs.to_bytes(4, "big")
            for start in range(0, len(self._entries), ROW_ENTRIES):
                part = self._entries[start : start + ROW_ENTRIES]
                rows.append((prefix + part[0], b"".join(part)))
            rows += [(key, None) for key in self._fresh]
            self._entries, self._fresh, self._runs = [], [], self._runs + 1
        return rows


class Block:
    """The batches of one block. Each step is taken for all of them at once: so little of it is work for one batch."""

    def __init__(self, raws: list[bytes], steps: Steps) -> None:
        """Decode, and refuse what does not fit; `SystemExit` or a bad signature's error where something does not."""
        self.raws = raws
        self.batches = list(map(_decode_batch, raws))
        self.items = [item for batch in self.batches for item in batch.events]
        self.events = list(map(_decode_event, self.items))
        self.bodies = [_decode_body(event.body) for event in self.events]
        steps.done("decode")
        canonical = (
            list(map(_encode, self.batches)) == raws
            and list(map(_encode, self.events)) == self.items
            and list(map(_encode, self.bodies)) == [event.body for event in self.events]
        )
        steps.done("canonical")
        fits = self._fits()
        steps.done("rules")
        pairs = zip(self.events, self.items, strict=True)
        self.ids = [sha256(b"\0%c" % event.kind + item).digest() for event, item in pairs]
        steps.done("hash")
        if not (canonical and fits and self._roots_fit()):
            raise SystemExit("a batch does not fit")
        steps.done("batch_tree")
        headers = [_encode(batch.header) for batch in self.batches]
        for batch, header in zip(self.batches, headers, strict=True):
            crypto_sign_open(batch.signature + TAG + b"\x91" + header, batch.header.source)  # an array of one
        steps.done("signature")
        self.keys = [sha256(TAG + header).digest() for header in headers]
        steps.done("batch_hash")

    def _fits(self) -> bool:
        members = [batch.header.member for batch in self.batches for _ in batch.events]
        fits = all(len(batch.events) == batch.header.count for batch in self.batches) and all(
            event.member == member
            and len(body.amount_commitment) in (0, 32)
            and len(body.uetr) in (0, 16)
            and (body.amount is None or not body.amount_commitment)
            for event, body, member in zip(self.events, self.bodies, members, strict=True)
        )
        return fits and all(map(fits_patterns, set(map(texts, self.bodies))))

    def _roots_fit(self) -> bool:
        first = 0
        for batch in self.batches:
            last = first + batch.header.count
            if root_of(self.ids[first:last]) != batch.header.root:
                return False
            first = last
        return True

    def write(self, stores: Stores, log: Log, height: int, steps: Steps) -> None:
        """Grow the log and write all rows: bodies, then tiles and the block, both synced; then the index."""
        numbers = [(height << 16 | index).to_bytes(8, "big") for index in range(len(self.raws))]
        large = [len(raw) >= NUMBERED_BYTES_MIN for raw in self.raws]
        if any(large):  # in order of arrival, and apart, so that LevelDB need not merge them
            with stores.bodies.write_batch(sync=stores.sync) as write:
                for number, raw, is_large in zip(numbers, self.raws, large, strict=True):
                    if is_large:
                        write.put(b"d" + number, raw)
        with stores.ledger.write_batch(sync=stores.sync) as write:
            for key, number, raw, is_large in zip(self.keys, numbers, self.raws, large, strict=True):
                write.put(b"B" + key, number if is_large else raw)
        steps.done("write")
        tiles = log.extend(self.ids)
        root = log.root()
        steps.done("log_tree")
        place = height.to_bytes(6, "big")
        with stores.ledger.write_batch(sync=stores.sync) as write:
            for key, value in tiles:
                write.put(key, value)
            write.put(b"b" + height.to_bytes(8, "big"), root + b"".join(self.keys))
        steps.done("write")
        self._write_index(stores, place, steps)

    def _write_index(self, stores: Stores, place: bytes, steps: Steps) -> None:
        """Write the rows by which events and payments are found again; as they can be made anew, nothing waits."""
        places = [place + number.to_bytes(2, "big") for number in range(len(self.ids))]
        ids, uetrs = stores.maps
        rows = ids.rows([event_id[:16] + at for event_id, at in zip(self.ids, places, strict=True)], place)
        pairs = zip(self.bodies, places, strict=True)
        rows += uetrs.rows([body.uetr + at for body, at in pairs if body.uetr], place)
        steps.done("index_rows")
        with stores.index.write_batch() as write:
            for key, value in rows:
                if value is None:
                    write.delete(key)
                else:
                    write.put(key, value)
        steps.done("index_write")


def run(
    frames: Iterator[bytes],
    directory: str,
    block_batches: int = BLOCK_BATCHES,
    *,
    sync: bool = True,
    each: Callable[[], None] = lambda: None,
) -> dict[str, Any]:  # Any: JSON
    """Take all batches, in blocks of so many, and return the cost.

    Without `sync` nothing waits for the disk or for compaction, of which a short run has none. `each` is called after
    each block.
    """
    stores, log = Stores(directory, sync), Log()
    total = height = count_bytes = batches = 0
    cpu_started, wall_started = time.process_time(), time.perf_counter()
    steps = Steps()
    while raws := list(islice(frames, block_batches)):
        steps.done("read")
        height += 1
        block = Block(raws, steps)
        block.write(stores, log, height, steps)
        total += len(block.ids)
        batches += len(raws)
        count_bytes += sum(map(len, raws))
        each()
    if not total:
        raise SystemExit("no batches")
    wall = time.perf_counter() - wall_started
    if sync:
        stores.settle()
    cpu = time.process_time() - cpu_started
    stores.close()
    steps.seconds["background"] = max(0.0, cpu - sum(steps.seconds.values()))
    del steps.seconds["read"]
    spent = sum(steps.seconds.values())
    return {
        "events": total,
        "batches": batches,
        "blocks": height,
        "floor_cpu_us_per_event": round(spent / total * 1e6, 2),
        "verification_us_per_event": round(steps.seconds["signature"] / total * 1e6, 2),
        "beside_verification_us_per_event": round((spent - steps.seconds["signature"]) / total * 1e6, 2),
        "steps_us": {step: round(seconds / total * 1e6, 3) for step, seconds in steps.seconds.items()},
        "events_per_second": round(total / wall),
        "bytes_per_event": round(count_bytes / total, 1),
    }


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
    """Measure the floor on a file of batches, or on batches and lone events that another process makes first."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--input", type=Path, help="batches, as `python -m bench.workload` writes them")
    parser.add_argument("--block", type=int, help=f"batches a block ({BLOCK_BATCHES}; {BLOCK_LONE} of lone events)")
    parser.add_argument("--batches", type=int, default=STAND_ALONE_BATCHES, help="how many to make without --input")
    parser.add_argument("--lone", type=int, default=STAND_ALONE_LONE, help="how many lone events to make beside them")
    options = parser.parse_args(arguments)
    for name in ("batches", "lone", "block"):  # nothing of the node's packages is used here
        given = getattr(options, name)
        if given is not None and not 1 <= given <= BATCHES_MAX:
            parser.exit(2, f"{parser.prog}: --{name}: expected a whole number from 1 to {BATCHES_MAX:,}\n")
    with tempfile.TemporaryDirectory(prefix="chainnode-floor-") as scratch:
        if options.input is not None:
            figures = run(read_frames(options.input), f"{scratch}/store", options.block or BLOCK_BATCHES)
        else:
            figures = run(made(Path(scratch) / "batches", options.batches, 1_000), f"{scratch}/store")
            lone = made(Path(scratch) / "events", options.lone, 1)
            figures["lone"] = run(lone, f"{scratch}/lone", options.block or BLOCK_LONE)
    print(json.dumps(figures) if options.json else shown(figures))
    return 0


def made(path: Path, count: int, events: int) -> Iterator[bytes]:
    """Let another process make batches, and yield them."""
    command = [sys.executable, "-m", "bench.workload", str(path), str(count), str(events)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
    return read_frames(path)


def shown(figures: dict[str, Any]) -> str:  # Any: JSON
    """Return the figures for people."""
    lines = [f"{figures['floor_cpu_us_per_event']} µs of processor time per event ({figures['events']:,} events)"]
    lines += [f"  {step:<12} {cost:6.3f} µs" for step, cost in figures["steps_us"].items()]
    if "lone" in figures:
        per_block = figures["lone"]["batches"] // figures["lone"]["blocks"]
        lines += [f"events signed one by one, {per_block} a block:", shown(figures["lone"])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
