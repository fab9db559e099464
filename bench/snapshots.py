"""`python -m bench.snapshots`: what a snapshot weighs and costs, beside executing the chain from its genesis.

Here: a real store as `bench.proofs` fills one, the snapshot of its tip, its verification, a store made of it, and one
that is made by executing every block with all signatures verified, as catching up does but for the network. Seconds are
of the clock, one process and one thread. Not here: nodes that join (`tests/e2e/test_snapshots.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.measure import disk_bytes, machine
from bench.proofs import ALL_KINDS, Made, fill
from chainnode.snapshot_file import LastPart, SnapshotFile, write_snapshot
from ledger.batches import parse_batch, verify_batch
from ledger.chain import Chain
from ledger.snapshots_making import SnapshotMaking
from ledger.store import Put
from ledger.store_leveldb import LevelDBStore
from primitives.votes import verify_certificate
from sim.arguments import Parser, whole

ROWS_A_WRITE = 4_096
EVENTS_MAX = 100_000_000
CERTIFICATES_MAX = 10_000_000

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill a store, make a snapshot of it, make stores both ways, and print one JSON object."""
    parser = Parser(prog="python -m bench.snapshots", description=__doc__)
    parser.add_argument("--events", type=whole(1, EVENTS_MAX), default=1_000_000, help="payments (1000000)")
    parser.add_argument("--certificates", type=whole(1, CERTIFICATES_MAX), default=100_000, help="of them (100000)")
    parser.add_argument("--directory", type=Path, help="where the stores are put (default: the system's)")
    options: argparse.Namespace = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chainnode-bench-snapshots-", dir=options.directory) as scratch:
        figures = measure(Path(scratch), options.events, options.certificates)
    print(json.dumps({"machine": machine(), "events": options.events, "certificates": options.certificates, **figures}))
    return 0


def measure(folder: Path, events: int, certificates: int) -> Figures:
    """Return the figures of a chain of so many events."""
    whole_path, file = folder / "whole.ldb", folder / "a.chainsnap"
    store = LevelDBStore(whole_path)
    made = fill(store, events, certificates, lambda text: print(text, file=sys.stderr, flush=True))
    written, making_s = _timed(
        lambda: write_snapshot(file, SnapshotMaking(made.reader(store)), step=lambda _a, _b: None)
    )
    figures: Figures = {
        "height": int(written.manifest.height),
        "state_rows": written.manifest.state_rows,
        "snapshot_bytes": written.size_bytes,
        "whole_store_bytes": disk_bytes(whole_path),
        "making_s": making_s,
    }
    with SnapshotFile(file) as snapshot:
        _, figures["verifying_s"] = _timed(lambda: snapshot.verify(made.genesis))
    _, figures["restoring_s"] = _timed(lambda: restore(folder / "restored.ldb", file, made))
    figures["restored_store_bytes"] = disk_bytes(folder / "restored.ldb")
    _, figures["executing_s"] = _timed(lambda: execute(folder / "executed.ldb", store, made))
    store.close()
    return figures


def restore(path: Path, file: Path, made: Made) -> None:
    """Make a store of a snapshot, every row verified."""
    store = LevelDBStore(path)
    waiting: list[Put] = []
    with SnapshotFile(file) as snapshot:
        for part in snapshot.rows(made.genesis):
            if isinstance(part, LastPart):
                store.write([*waiting, *part.puts], sync=True)
                break
            waiting += part
            if len(waiting) >= ROWS_A_WRITE:
                store.write(waiting, sync=False)
                waiting = []
    assert Chain(store, made.genesis, ALL_KINDS).height > 0
    store.close()


def execute(path: Path, source: LevelDBStore, made: Made) -> None:
    """Make a store by executing every block of another, as a node does that catches up."""
    store, reader = LevelDBStore(path), made.reader(source)
    chain, tip = Chain(store, made.genesis, ALL_KINDS), reader.tip()
    assert tip is not None
    for height in range(1, tip.height + 1):
        committed = reader.committed_block(height)
        assert committed is not None
        assert committed.certificate is not None
        verify_certificate(committed.certificate, made.genesis.chain_id, chain.validators_after(chain.tip_hash))
        for batch_hash in committed.block.batch_hashes:
            batch = parse_batch(reader.batch_bytes(batch_hash) or b"", ALL_KINDS)
            verify_batch(batch)
            store.write(chain.add_batch(batch), sync=False)
        result = chain.commit(chain.check(committed.block), committed.certificate)
        store.write(result.puts, sync=True)
        chain.written(chain.ticket)
    assert chain.height == tip.height
    store.close()


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:  # Any: what the work returns
    began = time.perf_counter()
    found = work()
    return found, round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    sys.exit(main())
