"""`make profile`: where a node's processor time goes under a workload, as folded stacks, flame graphs and tables.

Drives a network as `python -m bench` does and samples its first node: with py-spy, or, where another process may not
be sampled (or with --inside), by a thread in the node itself. What each thread used comes from the operating system and
is shared among its stacks as samples were, so every figure is processor time of that node per committed event.
Not here: sampling (`bench.sampling`), reading stacks (`bench.stacks`), drawing (`bench.flame`).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.flame import flame
from bench.measure import thread_cpu_us
from bench.network import BenchNet, drive, network
from bench.sampling import RATE_HZ, outside, why_not
from bench.stacks import Folded, Stack, by_thread, charged, fold, table, unfold, working
from bench.workloads import Bench
from chainnode.client import NodeClient
from chainnode.localnet import LocalNode
from sim.arguments import REFUSED, Parser, whole

WORKLOADS: Final = ("batches", "lone", "rpc-batch", "rpc-single", "certificates")
USUAL: Final = ("batches", "lone", "rpc-batch")
UNIT: Final = "µs an event"
UNITS_OF_A_FILE: Final = "as sampled"
SECONDS_MAX: Final = 600
ROWS_MAX: Final = 1_000


@dataclass(frozen=True)
class Profile:
    """One workload at one node: its stacks as sampled, and in microseconds per event by thread."""

    name: str
    title: str
    sampled: Folded
    threads: Mapping[str, dict[Stack, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile the workloads, write what was found, and print the tables."""
    options = parse(arguments)
    if options.folded is not None:
        return tell_again(options)
    why_inside = "as was asked for" if options.inside else why_not()
    if why_inside is not None:
        print(
            f"the node samples itself, and sees too much of what releases the interpreter's lock: {why_inside}",
            file=sys.stderr,
        )
    for name in options.workloads:
        found = profile(options, name, from_inside=why_inside is not None)
        print(f"{found.title}\n{table(found.threads, options.rows, UNIT)}\n", flush=True)
        for path in write(found, options.out):
            print(f"wrote {path}", file=sys.stderr)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} ({' '.join(USUAL)})"
    )
    parser.add_argument("--out", type=Path, default=Path("var/profiles"), help="where to write (var/profiles)")
    parser.add_argument("--seconds", type=whole(1, SECONDS_MAX), default=8, help="about how long to sample (8)")
    parser.add_argument("--rate", type=whole(1, 1_000), default=RATE_HZ, help=f"samples a second ({RATE_HZ})")
    parser.add_argument("--nodes", type=whole(1, 100), default=4, help="validators (4)")
    parser.add_argument("--rows", type=whole(1, ROWS_MAX), default=12, help="functions of each thread to print (12)")
    parser.add_argument("--inside", action="store_true", help="let the node sample itself")
    parser.add_argument("--folded", type=Path, metavar="FILE", help="only draw and tell folded stacks of this file")
    options = parser.parse_args(arguments)
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"no workload '{name}': choose from {', '.join(WORKLOADS)}")
    options.workloads = options.workloads or list(USUAL)
    return options


def profile(options: argparse.Namespace, name: str, *, from_inside: bool) -> Profile:
    """Return what the first node of a network of its own spends under a workload, once it is warm."""
    options.out.mkdir(parents=True, exist_ok=True)
    sampled = (options.out / f"{name}.sampled").absolute()
    run = ["-m", "bench.sampling", str(sampled)] if from_inside else []
    try:
        with network(options.nodes, run=run) as net:
            used, title = spend(net, options, name, None if from_inside else sampled)
        stacks = unfold(sampled.read_text("utf-8"))  # a node that samples itself writes them when it ends
    finally:
        sampled.unlink(missing_ok=True)
    return Profile(name, title, stacks, charged(stacks, used))


def spend(net: BenchNet, options: argparse.Namespace, name: str, sampled: Path | None) -> tuple[dict[int, float], str]:
    """Run the workload twice; return the first node's microseconds per event by thread, and what the profile is of.

    Time is counted in a run without py-spy, which stops every thread for each sample and so costs all of them some.
    """
    node = net.load().nodes[0]
    pid = node.pid or 0
    closed = Bench(net, 1, options.seconds, lambda _: None).closed(name)
    warm_up = drive(net, closed.build(closed.warm_up), in_step=closed.in_step)
    requests = max(closed.warm_up, round(warm_up.events_per_second * options.seconds / closed.events_a_request))
    lanes, again = closed.build(requests), closed.build(requests)
    before = thread_cpu_us(pid)
    run = drive(net, lanes, in_step=closed.in_step)
    used = {number: (us - before.get(number, 0.0)) / run.events for number, us in thread_cpu_us(pid).items()}
    with contextlib.nullcontext() if sampled is None else outside(pid, sampled, options.rate):
        drive(net, again, in_step=closed.in_step)
    return used, f"{name}: {node.name}, {part_in(node)}, at {run.events_per_second:,.0f} events/s"


def part_in(node: LocalNode) -> str:
    """Return whether a node leads."""
    client = NodeClient(node.rpc)
    try:
        return "the leader" if client.call("net_status")["leader"] == node.name else "a follower"
    finally:
        client.close()


def write(found: Profile, directory: Path) -> list[Path]:
    """Write the folded stacks as they were sampled, and the picture; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    folded, picture = directory / f"{found.name}.folded", directory / f"{found.name}.svg"
    folded.write_text(fold(found.sampled), "utf-8")
    picture.write_text(flame(found.threads, found.title, UNIT), "utf-8")
    return [folded, picture]


def tell_again(options: argparse.Namespace) -> int:
    """Print and draw folded stacks that were written before, in whatever unit they have."""
    path: Path = options.folded
    try:
        stacks = unfold(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        print(f"python -m bench.profile: cannot read {path}: {error}", file=sys.stderr)
        return REFUSED
    threads = by_thread(working(stacks))
    print(table(threads, options.rows, UNITS_OF_A_FILE))
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / f"{path.stem}.svg"
    picture.write_text(flame(threads, path.name, UNITS_OF_A_FILE), "utf-8")
    print(f"wrote {picture}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
