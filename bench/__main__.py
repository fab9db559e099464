"""`python -m bench`: throughput, latency and cost of a real network, with the floor on the same bytes beside it.

Here: the command line and the order of a run. Not here: what is sent and what is made of it (`bench.workloads`), nodes
(`bench.network`), sending (`bench.driver`), the floor (`bench.floor`), what is printed and drawn (`bench.report`,
`bench.plot`), restart and start-up of the command line (`bench.restart`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measure import machine
from bench.network import network
from bench.report import report
from bench.workload import BATCH_EVENTS, write_frames
from bench.workloads import Bench, Figures, Say, figures_of
from sim.arguments import Parser, whole

CLOSED = ("batches", "lone", "certificates", "rpc-single", "rpc-batch")
OPEN = ("lone", "rpc-single")
WORKLOADS = (*CLOSED, "open", "idle", "restart", "help")
ON_THE_NETWORK = (*CLOSED, "open", "idle")
FLOORS = ("batches", "lone")
NODES_MAX = 100
RUNS_MAX = 1_000
REQUESTS_MAX = 1_000_000
EVENTS_MAX = 100_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads and print their figures."""
    options = parse(arguments)
    say: Say = (lambda _: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    with tempfile.TemporaryDirectory(prefix="chainnode-bench-") as scratch:
        figures = measure(options, Path(scratch), say)
    if options.plot is not None:
        from bench.plot import write_plots

        for path in write_plots(figures, options.plot):
            say(f"drew {path}")
    print(json.dumps(figures) if options.json else report(figures))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr")
    parser.add_argument("--nodes", type=whole(1, NODES_MAX), default=4, help="validators (4)")
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=WORKLOADS, help="these workloads alone")
    parser.add_argument(
        "--runs", type=whole(1, RUNS_MAX), default=3, help="runs of each workload, of which medians are reported (3)"
    )
    parser.add_argument("--seconds", type=whole(1, 3_600), default=6, help="about how long each run lasts (6)")
    parser.add_argument("--ws", action="store_true", help="send over WebSocket connections instead of by POST")
    parser.add_argument(
        "--batches", type=whole(1, REQUESTS_MAX), help="batches of 1,000 in each run, instead of as many as last"
    )
    parser.add_argument(
        "--lone", type=whole(1, REQUESTS_MAX), help="lone events in each run, instead of as many as last"
    )
    parser.add_argument(
        "--restart-events", type=whole(1, EVENTS_MAX), default=1_000_000, help="events of the restarted node (1000000)"
    )
    parser.add_argument("--plot", type=Path, metavar="DIRECTORY", help="draw the figures as SVG into this directory")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, scratch: Path, say: Say) -> Figures:
    """Return the figures of the workloads that were asked for; those of batches also stand at the top."""
    figures: Figures = {"nodes": options.nodes, "runs": options.runs, "websocket": options.ws, "machine": machine()}
    if set(options.only) & set(ON_THE_NETWORK):
        figures |= on_a_network(options, scratch, say)
    if "batches" in figures:
        figures |= {name: value for name, value in figures["batches"].items() if not name.endswith("_all")}
    if "restart" in options.only:
        from bench.restart import restart_figures

        say(f"a node with {options.restart_events} events")
        figures["restart"] = restart_figures(options.restart_events, say)
    if "help" in options.only:
        from bench.restart import help_figures

        figures["help"] = help_figures()
    return figures


def on_a_network(options: argparse.Namespace, scratch: Path, say: Say) -> Figures:
    """Return the figures of what needs nodes, all of it on one network; the floors follow when its nodes are gone."""
    figures: Figures = {}
    only = set(options.only)
    with network(options.nodes) as net:
        net.over_websocket = options.ws
        bench = Bench(net, options.runs, options.seconds, say)
        bench.requests = {name: count for name in FLOORS if (count := getattr(options, name)) is not None}
        if "idle" in only:
            say("a lone event on an idle network")
            figures["idle"] = bench.idle()
        if "open" in only:
            figures["open"] = {name: bench.open(name) for name in OPEN}
        for name in CLOSED:
            if name in only:
                figures[name] = figures_of(bench.saturate(bench.closed(name))) | kept(bench, name, scratch)
        if "rpc-batch" in only:
            figures["rpc-batch"] |= bench.gateways_own()
    for name in FLOORS:
        if name in figures:
            say(f"{name}: the floor on the same bytes")
            figures[name] |= floor(scratch / name, figures[name])
    return figures


def kept(bench: Bench, name: str, scratch: Path) -> Figures:
    """Write what the floor takes to a file: all that was signed for these runs and their warm-up."""
    if name not in FLOORS:
        return {}
    written = bench.written.pop(name)
    write_frames(scratch / name, written)
    return {"payload_bytes_per_event": round(len(written[0]) / (BATCH_EVENTS if name == "batches" else 1))}


def floor(path: Path, node: Figures) -> Figures:
    """Return the floor's cost on these bytes and how many times as much the node takes."""
    command = [sys.executable, "-m", "bench.floor", "--json", "--input", str(path)]
    if path.name == "lone":
        command += ["--block", str(max(1, round(node["events_per_block"])))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    floor_us = found["floor_cpu_us_per_event"]
    return {
        "floor_cpu_us_per_event": floor_us,
        "floor_verification_us_per_event": found["verification_us_per_event"],
        "floor_events_per_block": round(found["events"] / found["blocks"], 1),
        "node_floor_ratio": round(node["cpu_us_per_event_per_validator"] / floor_us, 2),
        "floor_steps_us": found["steps_us"],
    }


if __name__ == "__main__":
    sys.exit(main())
