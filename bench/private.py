"""What it costs a bank to keep what is private of its statements, by the statement and in batches.

Told: processor and wall time a statement for keeping it (1,000 bytes of message each), finding its key again, reading
and erasing it, looking into it without its message, and the bytes on the disk. Run `python -m bench.private`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from chainnode.private_store import Kept, PrivateStore

STATEMENTS: Final = 100_000
BATCH: Final = 1_000
TURNS: Final = 3
PAYLOAD_BYTES: Final = 420
"""Of a pacs.008 of the samples with all its fields."""
BODY_BYTES: Final = 416
"""Of its event."""

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.private", description=__doc__)
    parser.add_argument("--statements", type=int, default=STATEMENTS)
    parser.add_argument("--batch", type=int, default=BATCH)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        print(json.dumps(measured(Path(folder), options.statements, options.batch), indent=1))
    return 0


def measured(folder: Path, count: int, batch: int) -> Figures:
    """Return the figures of keeping and erasing `count` statements, each batch with a message of its own."""
    kept = [_kept(number) for number in range(count)]
    with PrivateStore(folder / "private") as store:
        parts = [kept[start : start + batch] for start in range(0, count, batch)]
        keeping = _timed(lambda part: store.keep(part, [os.urandom(batch * 1_000)]), parts)
        finding = _timed(lambda part: [store.event_key(each.reference) for each in part], parts[:TURNS])
        reading = _timed(lambda part: [store.content(each.event_id) for each in part[:100]], parts[:TURNS])
        looking = _timed(lambda part: [store.payload(each.event_id) for each in part], parts[:TURNS])
        erasing = _timed(lambda part: store.erase([each.event_id for each in part], 1), parts[:TURNS])
    size = sum(path.stat().st_size for path in (folder / "private").iterdir())
    return {
        "statements": count,
        "batch": batch,
        "keep_cpu_us": keeping[0] / batch,
        "keep_wall_us": keeping[1] / batch,
        "find_key_cpu_us": finding[0] / batch,
        "read_cpu_us": reading[0] / 100,
        "look_cpu_us": looking[0] / batch,
        "erase_cpu_us": erasing[0] / batch,
        "erase_wall_us": erasing[1] / batch,
        "bytes_a_statement": size / count,
    }


def _timed(work: Callable[[list[Kept]], object], parts: Sequence[list[Kept]]) -> tuple[float, float]:
    """Return the medians of processor and wall time of a part, in microseconds."""
    cpu, wall = [], []
    for part in parts:
        began = time.process_time_ns(), time.perf_counter_ns()
        work(part)
        cpu.append((time.process_time_ns() - began[0]) / 1_000)
        wall.append((time.perf_counter_ns() - began[1]) / 1_000)
    return statistics.median(cpu), statistics.median(wall)


def _kept(number: int) -> Kept:
    name = number.to_bytes(8, "big")
    digest = sha256(name).digest()
    payload, body = digest * (PAYLOAD_BYTES // 32), digest * (BODY_BYTES // 32)
    return Kept(digest[:16], sha256(digest).digest(), sha256(name + b"k").digest(), payload, 0, 1, body)


if __name__ == "__main__":
    sys.exit(main())
