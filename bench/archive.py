"""`python -m bench.archive`: what moving old bodies to the archive frees, and what an archived event's proof costs.

One validator's store is filled through the ledger alone, a batch of 1,000 payment statements a block, as LevelDB keeps
it on the disk; then all bodies that the floor allows are moved. Sizes are from the file system. Receipts are made of
events in random order, so that nearly each unpacks a frame of its own, from the store before and the archive after.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import machine
from bench.network import BenchNet
from bench.restart import certificate
from bench.workload import BATCH_EVENTS, BenchSource
from chainnode.archive import Mover, size_on_disk
from chainnode.archive_files import ArchiveDirectory, Archives
from chainnode.home import Home
from chainnode.identity import NodeKeys, load_node_keys
from ledger.archive_store import ArchivedStore, movable_height
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis, validator_set
from ledger.genesis_json import genesis_from_json
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import assemble_checkpoint
from primitives.ids import Epoch
from primitives.notes import Checkpoint, cosign_statement
from sim.arguments import Parser, whole

RECEIPTS = 400
EVENTS_MAX = 100_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill, move, measure, and print the figures."""
    parser = Parser(prog="python -m bench.archive", description=__doc__)
    parser.add_argument("--events", type=whole(300_000, EVENTS_MAX), default=1_000_000, help="events (1000000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options: argparse.Namespace = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="chainnode-bench-"))
    try:
        figures = measure(directory, options.events, lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value}")
    return 0


def measure(directory: Path, events: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures."""
    net = BenchNet(directory, sources_a_bank=1)
    net.found(1, base_port=7_400, now_ms=time.time_ns() // 1_000_000 - 1_000, step=lambda _: None)
    home = Home(Path(net.load().nodes[0].home))
    genesis = genesis_from_json(home.genesis.read_bytes())
    store = LevelDBStore(home.resolve("data/ledger.ldb"))
    fill(store, genesis, load_node_keys(home), net.sources()[0], events)
    store.close()
    store = LevelDBStore(home.resolve("data/ledger.ldb"))
    store.compact(b"\0", b"\xff")  # both figures are of tables that LevelDB has merged
    index = LevelDBStore(home.index)
    places = Index(index)
    archive = ArchiveDirectory.at(directory / "archive", genesis.chain_id)
    reader = LedgerReader(ArchivedStore(store, Archives([archive])), genesis, places)
    follower = IndexFollower(places, reader)
    while follower.follow():
        pass
    tip = reader.tip()
    assert tip is not None
    upto = movable_height(reader, tip.height)
    say(f"filled {tip.log_size:,} leaves in {tip.height:,} blocks; moving up to block {upto:,}")
    picked = [_pick(reader, random.Random(number), upto) for number in range(RECEIPTS)]
    before, receipts = _prove(reader, picked)
    mover = Mover(
        store,
        reader,
        archive,
        now_ms=lambda: 0,
        compact=store.compact,
        measure=lambda: size_on_disk(store.path),
    )
    started, longest = time.perf_counter(), 0.0
    steps = mover.run(upto, "bench")
    while True:
        began = time.perf_counter()
        if next(steps, None) is None:
            break
        longest = max(longest, time.perf_counter() - began)
    took = time.perf_counter() - started
    reader = LedgerReader(ArchivedStore(store, Archives([archive])), genesis, places)
    after, again = _prove(reader, picked)
    assert receipts == again, "a receipt of an archived event is what it was"
    index.close()
    store.close()
    return {
        **mover.report.as_row(),
        "moving_s": round(took, 1),
        "longest_step_ms": round(longest * 1_000, 1),
        "receipt_ms_from_store": before,
        "receipt_ms_from_archive": after,
        "machine": machine(),
    }


def fill(store: LevelDBStore, genesis: Genesis, keys: NodeKeys, source: BenchSource, events: int) -> None:
    """Commit events, a batch a block, and cosign a checkpoint of the tip."""
    assert keys.vote is not None
    assert keys.cosign is not None
    chain = Chain(store, genesis)
    while chain.log_size < events:
        batch = parse_batch(source.batch(BATCH_EVENTS))
        store.write(chain.add_batch(batch), sync=False)
        block = chain.build(
            chain.tip_hash, time_ms=chain.header.time_ms + 1, epoch=Epoch(0), proposer=0, batches=[batch]
        )
        result = chain.commit(block.header.hash(), certificate(block, chain.chain_id, keys.vote.sign))
        store.write(result.puts, sync=False)
        chain.written(chain.ticket)
    text = Checkpoint(genesis.origin, chain.log_size, chain.log_root).text()
    time_s = chain.header.time_ms // 1_000
    signed = [(0, time_s, keys.cosign.sign(cosign_statement(text, time_s)))]
    name = genesis.validators[0].name
    note = assemble_checkpoint(genesis, validator_set(genesis), name, keys.log, chain.log_size, chain.log_root, signed)
    store.write(checkpoint_rows(store, note), sync=True)


def _pick(reader: LedgerReader, draw: random.Random, upto: int) -> bytes:
    view = reader.event_at(draw.randint(1, upto), draw.randrange(BATCH_EVENTS))
    assert view is not None
    return view.id


def _prove(reader: LedgerReader, ids: Sequence[bytes]) -> tuple[float, list[str | None]]:
    """Return the median of the milliseconds that a receipt takes, and the receipts."""
    seconds, receipts = [], []
    for event_id in ids:
        started = time.perf_counter()
        receipts.append(make_receipt(reader, event_id))
        seconds.append(time.perf_counter() - started)
    return round(median(seconds) * 1_000, 2), receipts


if __name__ == "__main__":
    sys.exit(main())
