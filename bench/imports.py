"""How long a register takes to come to a network of four, by the command that its certification body would give.

The file has a certificate a row; the command checks all, opens the register and imports each row. Told: the seconds of
a dry run, of the import, and of the same command again, which finds all rows there. Run `python -m bench.imports`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bench.measure import cpu_seconds
from bench.network import BenchNet, network
from chainnode.ingest.register_rows import COLUMNS

ROWS: Final = 10_000
SECONDS_MAX: Final = 30.0
NODES: Final = 4
LEI: Final = "HWUPKR0MPOU8FGXBT394"
USCC: Final = "91110000600037341L"
CATEGORIES: Final = 11
SUSPENDED_EACH: Final = 50

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a row did not come, or the import took too long."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"certificates in the register ({ROWS})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with network(NODES) as net:
        figures = measure(net, options.rows)
    print(json.dumps(figures) if options.json else table(figures))
    late = options.rows <= ROWS and figures["import"]["seconds"] > SECONDS_MAX
    wrong = figures["import"]["rows"] != {"imported": options.rows} or figures["again"]["rows"] != {
        "present": options.rows
    }
    return 1 if late or wrong else 0


def measure(net: BenchNet, rows: int) -> Figures:
    """Return the figures of a dry run, the import, and the import again."""
    path = net.directory / "register.csv"
    write_register(path, rows)
    officers = [word for i in (1, 2) for word in ("--officer", str(net.keys / f"cb-officer-{i}.key"))]
    figures: Figures = {"rows": rows, "file_bytes": path.stat().st_size, "load": round(os.getloadavg()[0], 1)}
    figures["dry_run"] = timed(net, path, "--dry-run")
    figures["import"] = timed(net, path, *officers)
    figures["import"]["rows_per_second"] = round(rows / figures["import"]["seconds"])
    figures["again"] = timed(net, path)
    return figures


def timed(net: BenchNet, path: Path, *words: str) -> Figures:
    """Run the command; return its seconds, its processor time, and how many rows became what."""
    key, endpoint = net.keys / "cb-decider.key", net.load().nodes[0].rpc
    command = [sys.executable, "-m", "cli", "--as", str(key), "--endpoint", endpoint, "-o", "jsonl"]
    before, nodes_before, began = _cpu_s(), _nodes_cpu_s(net), time.perf_counter()
    ended = subprocess.run([*command, "cert", "import", str(path), *words], capture_output=True, text=True, check=False)
    seconds, cpu_s = time.perf_counter() - began, _cpu_s() - before
    nodes_cpu_s = _nodes_cpu_s(net) - nodes_before
    found = Counter(json.loads(line)["status"] for line in ended.stdout.splitlines())
    if not found:
        raise RuntimeError(ended.stderr)
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "nodes_cpu_s": round(nodes_cpu_s, 2),
        "rows": dict(found),
    }


def write_register(path: Path, rows: int) -> None:
    """Write a register's file; one in fifty certificates is suspended."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_rows(rows))


def _rows(count: int) -> Iterator[list[str]]:
    year = time.gmtime().tm_year - 1
    for serial in range(count):
        category = 1 + serial % CATEGORIES
        suspended = serial % SUSPENDED_EACH == 0
        digest = sha256(b"%d" % serial).hexdigest()
        row = {
            "number": f"FTP-{year}-{category:02d}-{serial:06d}",
            "holder": f"bank-{'abcd'[serial % NODES]}",
            "holder_name": f"Holder {serial % 500}",
            "holder_id": LEI if serial % 2 else USCC,
            "product": f"Product {serial}",
            "model": "M-1",
            "version": f"{serial}.0",
            "category": str(category),
            "scope": "contact|contactless",
            "granted": f"{year}-03-10",
            "valid_until": f"{year + 3}-03-09",
            "state": "suspended" if suspended else "active",
            "suspension_reason": "inspection_failed" if suspended else "",
            "suspended_until": time.strftime("%Y-%m-%d", time.gmtime(time.time() + 60 * 86_400)) if suspended else "",
            "evidence": f"type_examination:{digest}:{1000 + serial}",
        }
        yield [row.get(column, "") for column in COLUMNS]


def table(figures: Figures) -> str:
    """Return the figures for a person."""
    lines = [f"{figures['rows']:,} certificates, {figures['file_bytes']:,} bytes, load {figures['load']}"]
    for name in ("dry_run", "import", "again"):
        each = figures[name]
        became = ", ".join(f"{count:,} {word}" for word, count in each["rows"].items())
        cost = f"{each['cpu_s']:>6.2f} s of CPU, nodes {each['nodes_cpu_s']:>6.2f} s"
        lines.append(f"{name.replace('_', ' '):<8} {each['seconds']:>7.2f} s  {cost}  {became}")
    return "\n".join(lines)


def _nodes_cpu_s(net: BenchNet) -> float:
    stats = (
        Path(f"/proc/{node.process.pid}/stat").read_text() for node in net.load().nodes if node.process is not None
    )
    return sum(map(cpu_seconds, stats))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
