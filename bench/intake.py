"""How fast a drop folder takes a large file in, and what a kill -9 costs: wall and processor time, on a local network.

One file of pacs.008 (100,000 transactions in messages of 1,000 unless said otherwise) is dropped into a folder of
bank-a on four nodes; the process that takes it is killed once a third of it is on the chain, and begun anew. Told are
transactions a second by wall time, microseconds of a processor a transaction of the process that takes them in (both
runs) and of all nodes, and that the chain holds each once. Run `python -m bench.intake`.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.formats_xml import pacs008
from bench.measure import machine
from tests.e2e.network_fixtures import NAMES, Network, network

COUNT: Final = 100_000
MESSAGE: Final = 1_000
SEED: Final = 81
NAME: Final = "day.xml"
POLL_S: Final = 0.2

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a transaction is not on the chain exactly once."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help=f"transactions ({COUNT})")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chainnode-intake-") as place, network(Path(place)) as net:
        figures = measure(net, Path(place) / "drop", options.count)
    print(json.dumps(figures | {"machine": machine()}, indent=2))
    return 0 if figures["ids"] == figures["in_log"] == figures["transactions"] else 1


def measure(net: Network, folder: Path, count: int) -> Figures:
    """Return times and counts."""
    folder.mkdir(mode=0o700)
    messages = [pacs008(min(MESSAGE, count - start), SEED, start // MESSAGE) for start in range(0, count, MESSAGE)]
    bodies = [message.partition(b"?>")[2] for message in messages]
    (folder / NAME).write_bytes(b"<Bulk>" + b"".join(bodies) + b"</Bulk>")
    size = (folder / NAME).stat().st_size
    before, nodes_before = logged(net), nodes_cpu_s(net)
    began, used = time.monotonic(), cpu_s()
    process = started(net, folder)
    while logged(net) - before < count // 3:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(POLL_S)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_s, killed_at = time.monotonic() - began, logged(net) - before
    again = started(net, folder)
    assert again.wait() == 0
    wall_s = time.monotonic() - began
    lines = [json.loads(line) for line in (folder / "done" / f"{NAME}.report.jsonl").read_text().splitlines()]
    return {
        "transactions": count,
        "file_mib": round(size / 2**20, 1),
        "wall_s": round(wall_s, 1),
        "per_s": round(count / wall_s),
        "killed_after_s": round(killed_s, 1),
        "on_the_chain_then": killed_at,
        "second_run_s": round(wall_s - killed_s, 1),
        "intake_cpu_us": round((cpu_s() - used) * 1e6 / count),
        "nodes_cpu_us": round((nodes_cpu_s(net) - nodes_before) * 1e6 / count),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "ids": len({line["id"] for line in lines if "id" in line}),
        "in_log": logged(net) - before,
    }


def started(net: Network, folder: Path) -> subprocess.Popen[bytes]:
    """Begin to take the folder in."""
    home = str(net.home(NAMES[0]).root)
    command = [sys.executable, "-m", "cli", "--home", home, "payment", "intake", str(folder), "--once"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def cpu_s() -> float:
    """Return the processor time of processes of ours that have ended: nodes run on their own."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def nodes_cpu_s(net: Network) -> float:
    """Return the processor time of all nodes until now."""
    ticks = 0
    for name in NAMES:
        process = net.node(name).process
        assert process is not None, "it runs"
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def logged(net: Network) -> int:
    """Return how many events the log of another bank's node has."""
    (block,) = net.call(NAMES[1], "ledger_getBlocks", order="desc", limit=1)["blocks"]
    header = block["header"]
    return int(header["first_index"]) + int(header["event_count"]) - int(header["height"])


if __name__ == "__main__":
    sys.exit(main())
