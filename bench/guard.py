"""`python -m bench.guard`: fails when the node takes 15 % more processor time over the floor than it did when recorded.

Four validators in one process (`bench.quorum`) and the floor take the same bytes by turns, each time into new stores.
No wall clock decides: of each piece of the work (some batches until they are committed, a block of the floor) the least
processor time of all turns counts. Other work on the machine can only add to a piece, and a piece is short, so that one
of several turns mostly finds it undisturbed; where a ratio is too high, more turns are taken before it is believed.
Synced writes are counted, and held to the same bound. `--record` writes what was measured to `bench/guard.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import floor
from bench.measure import machine
from bench.quorum import VALIDATORS, Quorum, Verify, sources
from bench.workload import BATCH_EVENTS
from ledger.batches import verify_batch
from sim.arguments import Parser, whole

RECORD = Path(__file__).with_name("guard.json")
WORSE_MAX = 0.15
TURNS = 4
TURNS_MAX = 16
TURNS_RECORD = 12

Figures = dict[str, Any]  # Any: JSON


class Least:
    """The least processor time of each piece of the same work, over all times that it was done."""

    def __init__(self) -> None:
        self._pieces: list[float] = []
        self._done = 0
        self._last = 0.0

    def start(self) -> None:
        """Begin with the first piece."""
        gc.collect()
        self._done, self._last = 0, time.process_time()

    def piece(self) -> None:
        """A piece is done."""
        now = time.process_time()
        if self._done == len(self._pieces):
            self._pieces.append(now - self._last)
        else:
            self._pieces[self._done] = min(self._pieces[self._done], now - self._last)
        self._done, self._last = self._done + 1, now

    @property
    def seconds(self) -> float:
        """The sum over the pieces."""
        return sum(self._pieces)


@dataclass
class Workload:
    """Batches of so many events, `together` at a time, and the least that each side took."""

    name: str
    events: int
    batches: int
    together: int
    verify: Verify = verify_batch
    least_node: Least = field(default_factory=Least)
    least_floor: Least = field(default_factory=Least)
    synced_writes: int = 0
    turns: int = 0
    frames: list[bytes] = field(default_factory=list)

    def turn(self, directory: Path) -> None:
        """Let the validators and the floor take all batches once."""
        self.frames = self.frames or self._made()
        quorum = Quorum(directory / f"{self.name}-{self.turns}", self.verify)
        self.least_node.start()
        for first in range(0, len(self.frames), self.together):
            quorum.order(self.frames[first : first + self.together])
            self.least_node.piece()
        assert quorum.events == self.events * self.batches
        self.synced_writes = quorum.synced_writes
        quorum.close()
        block = max(1, len(self.frames) // quorum.blocks)
        self.least_floor.start()
        store = str(directory / f"{self.name}-{self.turns}.floor")
        floor.run(iter(self.frames), store, block, sync=False, each=self.least_floor.piece)
        self.turns += 1

    def _made(self) -> list[bytes]:
        made = sources()
        return [made[number % len(made)].batch(self.events) for number in range(self.batches)]

    @property
    def ratio(self) -> float:
        """Processor time of a validator over that of the floor."""
        return self.least_node.seconds / VALIDATORS / self.least_floor.seconds

    def figures(self) -> Figures:
        """Return what is printed and recorded."""
        events = self.events * self.batches
        return {
            "ratio": round(self.ratio, 3),
            "node_us_per_event": round(self.least_node.seconds / VALIDATORS / events * 1e6, 2),
            "floor_us_per_event": round(self.least_floor.seconds / events * 1e6, 2),
            "synced_writes_per_1000_events": round(self.synced_writes / VALIDATORS / events * 1_000, 3),
            "events": events,
            "turns": self.turns,
        }


def workloads() -> list[Workload]:
    """Return what is guarded: batches of 1,000, and lone events."""
    return [
        Workload("batches", BATCH_EVENTS, batches=16, together=4),
        Workload("lone", 1, batches=768, together=64),
    ]


def allowed(recorded: Figures, name: str = "ratio") -> float:
    """Return the highest figure that passes."""
    return float(recorded[name]) * (1 + WORSE_MAX)


def settle(workload: Workload, recorded: Figures, directory: Path, turns: int = TURNS, most: int = TURNS_MAX) -> bool:
    """Take a few turns, more where the ratio is too high; return whether it, and the synced writes, are allowed."""
    while workload.turns < turns or (workload.turns < most and workload.ratio > allowed(recorded)):
        workload.turn(directory)
    writes = "synced_writes_per_1000_events"
    return workload.ratio <= allowed(recorded) and workload.figures()[writes] <= allowed(recorded, writes)


def version() -> str:
    """Return the Python version that a record holds for: another runs the same code at another speed."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare with the record, or make it; status 1 where the node has become slower."""
    parser = Parser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--record", action="store_true", help="measure and write the record of this Python's version")
    parser.add_argument("--file", type=Path, default=RECORD, help="the record (bench/guard.json)")
    parser.add_argument(
        "--turns", type=whole(1, 1_000), default=None, help=f"turns ({TURNS}; {TURNS_RECORD} to record)"
    )
    options = parser.parse_args(arguments)
    records: Figures = json.loads(options.file.read_text()) if options.file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="chainnode-guard-") as scratch:
        if options.record:
            return record(options, records, Path(scratch))
        return compare(options, records.get(version()), Path(scratch))


def record(options: argparse.Namespace, records: Figures, directory: Path) -> int:
    """Measure and write the record."""
    found: Figures = {}
    for workload in workloads():
        for _ in range(options.turns or TURNS_RECORD):
            workload.turn(directory)
        found[workload.name] = workload.figures()
        print(line(workload, None))
    records[version()] = {"machine": machine()["cpu"], **found}
    options.file.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")
    return 0


def compare(options: argparse.Namespace, recorded: Figures | None, directory: Path) -> int:
    """Measure and hold against the record."""
    if recorded is None:
        print(f"guard: no record for Python {version()}; make one with --record", file=sys.stderr)
        return 0
    worse = False
    for workload in workloads():
        fine = settle(workload, recorded[workload.name], directory, options.turns or TURNS)
        print(line(workload, recorded[workload.name]))
        worse |= not fine
    if worse:
        print(
            f"guard: more than {WORSE_MAX:.0%} worse than recorded; find what slowed the node, or, where that is "
            "wanted, renew the record with `make guard RECORD=1`",
            file=sys.stderr,
        )
    return int(worse)


def line(workload: Workload, recorded: Figures | None) -> str:
    """Return one workload's figures in a line."""
    found = workload.figures()
    text = (
        f"guard: {workload.name:<8} node / floor {found['ratio']:.3f} "
        f"({found['node_us_per_event']:.2f} / {found['floor_us_per_event']:.2f} µs, {workload.turns} turns), "
        f"{found['synced_writes_per_1000_events']:.1f} synced writes per 1,000 events"
    )
    return text if recorded is None else f"{text}; recorded {recorded['ratio']:.3f}, at most {allowed(recorded):.3f}"


if __name__ == "__main__":
    sys.exit(main())
