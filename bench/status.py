"""`python -m bench.status`: what a certificate's status with its proof takes where very many changed a lot.

Here: a network whose stores hold `--certificates` certificates, each led through its life by events, and `--changes`
changes of them since (suspended and restored in turn), all of it executed as any block is; then statuses with proofs,
drawn from all certificates, now and at heights and times of the past: by calls of the method in one process, and over
JSON-RPC as one client gets them. Not here: filling (`bench.filling`). The status is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from bench.filling import Filler, copy_rows, founded_before_ms, ledger_of, number_of
from bench.growth_reads import spread
from bench.measure import cpu_seconds, disk_bytes, machine
from bench.network import BenchNet, free_base
from bench.report import table
from chainnode.client import NodeClient
from chainnode.home import Home
from chainnode.localnet import wait_until_ready
from ledger.genesis_json import genesis_from_json
from ledger.reader import LedgerReader
from ledger.store_leveldb import LevelDBStore
from ledger.times import format_time
from rpc.explorer.asking import ask
from rpc.methods.certificate_status import get_certificate_status
from rpc.ports import Gateway, NodeView, Services
from sim.arguments import Parser, whole

NODES = 4
CERTIFICATES = 100_000
CHANGES = 1_000_000
CALLS = 5_000
WARMING = 200
GOAL_P99_MS = 5.0
REST_WITHIN_S = 300
REST_CPU = 0.05
FILLED = "filled.json"

Figures = dict[str, Any]  # Any: JSON
Answer = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]
Moment = int | str


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill, measure and print; the status is 1 where a goal is missed."""
    options = parse(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with filled(options, say) as net:
        figures: Figures = {
            "machine": machine(),
            "nodes": NODES,
            "certificates": options.certificates,
            "changes": options.changes,
        }
        figures |= measure(net, options, say)
    figures["goal_p99_ms"] = GOAL_P99_MS
    figures["missed"] = ", ".join(missed(figures["over_rpc"]))
    print(json.dumps(figures) if options.json else table(figures))
    return 1 if figures["missed"] else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="python -m bench.status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--certificates", type=whole(1, 1_000_000), default=CERTIFICATES, help=f"({CERTIFICATES:,})")
    parser.add_argument("--changes", type=whole(0, 100_000_000), default=CHANGES, help=f"since granted ({CHANGES:,})")
    parser.add_argument("--calls", type=whole(1, 1_000_000), default=CALLS, help=f"of each kind ({CALLS:,})")
    parser.add_argument(
        "--directory", type=Path, help="keep the filled network here, and use one that was filled before"
    )
    return parser.parse_args(arguments)


def missed(figures: Figures) -> list[str]:
    """Return the kinds of calls whose 99th percentile misses the goal."""
    return [name for name, found in figures.items() if found["p99_ms"] >= GOAL_P99_MS]


@contextmanager
def filled(options: argparse.Namespace, say: Say) -> Iterator[BenchNet]:
    """Give a network, not running, whose stores are filled; removed afterwards unless it has a directory of its own."""
    directory = options.directory or Path(tempfile.mkdtemp(prefix="chainnode-status-"))
    net = BenchNet(directory)
    what = json.dumps({"certificates": options.certificates, "changes": options.changes})
    try:
        mark = directory / FILLED
        if not mark.exists():
            fill(net, options, say)
            mark.write_text(what)
        elif mark.read_text() != what:
            raise SystemExit(f"{directory} is filled otherwise: {mark.read_text()}")
        yield net
    finally:
        if options.directory is None:
            shutil.rmtree(directory, ignore_errors=True)


def fill(net: BenchNet, options: argparse.Namespace, say: Say) -> None:
    """Found the network and fill every home's stores alike."""
    born_ms = time.time_ns() // 1_000_000 - founded_before_ms(0, options.certificates, options.changes)
    net.found(NODES, base_port=free_base(NODES), now_ms=born_ms, step=lambda _: None)
    filler = Filler(net, say)
    filler.fill(net.sources(), 0, options.certificates, options.changes)
    filler.close()
    nodes = net.load().nodes
    for node in nodes[1:]:
        copy_rows(Home(Path(nodes[0].home)), Home(Path(node.home)))


def measure(net: BenchNet, options: argparse.Namespace, say: Say) -> Figures:
    """Return the figures in one process, then over RPC of the last of the running nodes."""
    home = Home(Path(net.load().nodes[-1].home))
    figures: Figures = {"store_mib": round(disk_bytes(ledger_of(home)) / (1 << 20))}
    say(f"store of {figures['store_mib']:,} MiB: calls in one process")
    store = LevelDBStore(ledger_of(home))
    try:
        reader = LedgerReader(store, genesis_from_json(home.genesis.read_bytes()))
        drawn = draw(reader, options)
        figures["blocks"] = int(drawn.newest) + 1
        figures["in_process"] = measured(in_process(reader), drawn)
    finally:
        store.close()
    say("calls over RPC")
    try:
        net.start()
        wait_until_ready(net, [node.name for node in net.load().nodes])
        figures["seconds_to_rest"] = round(wait_until_at_rest(net), 1)
        client = NodeClient(net.load().nodes[-1].rpc)
        figures["over_rpc"] = measured(lambda params: cast("Answer", client.call("cert_getStatus", **params)), drawn)
        client.close()
    finally:
        net.stop()
    return figures


def wait_until_at_rest(net: BenchNet) -> float:
    """Return after how many seconds all nodes together took less than a twentieth of a core for a second.

    Nodes that have just opened their stores compact them and bring their indexes up; raises RuntimeError where that
    takes longer than `REST_WITHIN_S`.
    """
    pids = [int(node.pid or 0) for node in net.load().nodes]
    began, before = time.monotonic(), None
    while time.monotonic() - began < REST_WITHIN_S:
        spent = sum(cpu_seconds(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)
        if before is not None and spent - before < REST_CPU:
            return time.monotonic() - began
        before = spent
        time.sleep(1)
    raise RuntimeError(f"the nodes do not come to rest within {REST_WITHIN_S} s")


class Drawn(NamedTuple):
    """What is asked for: certificates, those that never were, and heights and times at which some certificate was."""

    numbers: list[str]
    absent: list[str]
    heights: list[int]
    times: list[str]
    newest: int

    def kinds(self) -> dict[str, list[dict[str, Moment]]]:
        """Return the parameters of each kind of call."""
        return {
            "now": [{"number": number} for number in self.numbers],
            "at_heights": [{"number": n, "at": at} for n, at in zip(self.numbers, self.heights, strict=True)],
            "at_times": [{"number": n, "at": at} for n, at in zip(self.numbers, self.times, strict=True)],
            "no_such_certificate": [{"number": number} for number in self.absent],
        }


def draw(reader: LedgerReader, options: argparse.Namespace) -> Drawn:
    """Return what to ask for: heights and times from the first grant on to the newest block."""
    chance, tip = random.Random(1), reader.tip()
    assert tip is not None, "the store was filled"
    first, last = (reader.header(height) for height in (1, tip.height))
    assert first is not None, "blocks were filled in"
    assert last is not None, "the newest block is there"
    count = options.calls
    times = [chance.randrange(first.time_ms, last.time_ms + 1) for _ in range(count)]
    return Drawn(
        [number_of(chance.randrange(options.certificates)) for _ in range(count)],
        [number_of(options.certificates + chance.randrange(options.certificates)) for _ in range(count)],
        [chance.randrange(1, tip.height + 1) for _ in range(count)],
        [format_time(each) for each in times],
        tip.height,
    )


def in_process(reader: LedgerReader) -> Callable[[dict[str, Moment]], Answer]:
    """Return what calls the method over a store, without a node: it reads nothing but the ledger."""
    nobody = cast("Any", None)  # Any: neither port is asked
    services = Services(
        reads=reader,
        gateway=cast("Gateway", nobody),
        node=cast("NodeView", nobody),
        now_ms=lambda: time.time_ns() // 1_000_000,  # type: ignore[arg-type,return-value]  # a plain number
    )

    def call(params: dict[str, Moment]) -> Answer:
        found = ask(get_certificate_status, services, **params)
        return {"proof": found.proof, "exists": found.exists, "status": found.status}

    return call


def measured(call: Callable[[dict[str, Moment]], Answer], drawn: Drawn) -> Figures:
    """Return what each kind of call took; every answer must hold a proof, and say what is known of the certificate."""
    figures: Figures = {}
    for name, calls in drawn.kinds().items():
        for params in calls[:WARMING]:
            call(params)
        seconds = list[float]()
        for params in calls:
            began = time.perf_counter()
            answer = call(params)
            seconds.append(time.perf_counter() - began)
            if not answer["proof"] or answer["exists"] is not (answer["status"] is not None):
                raise RuntimeError(f"no proved status of {params}")
            if name in ("now", "no_such_certificate") and answer["exists"] is not (name == "now"):
                raise RuntimeError(f"not what was filled in: {params}")
        figures[name] = spread(seconds)
    return figures


if __name__ == "__main__":
    sys.exit(main())
