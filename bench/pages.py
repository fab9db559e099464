"""`python -m bench.pages`: what the explorer's pages cost in a large ledger: time at the client and weight on the wire.

Here: founding a network whose stores are filled, asking one node for each page, and figures of the answers. Not here:
filling (`bench.filling`). The time is that of the whole request on loopback, and so is an upper bound for the server's.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench.filling import Filler, copy_rows, forget_pages, founded_before_ms, number_of
from bench.growth_reads import Drawn, draw, spread
from bench.network import BenchNet, free_base
from bench.report import table
from chainnode.home import Home
from chainnode.localnet import LocalNode, wait_until_ready
from sim.arguments import Parser, whole

NODES = 4
EVENTS = 1_000_000
CERTIFICATES = 10_000
DRAWN = 50
RUNS = 30
GOAL_PAGE_MS = 200
GOAL_SEARCH_MS = 20
GOAL_BYTES = 150_000

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a goal is missed."""
    parser = Parser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=whole(1, 1_000_000_000), default=EVENTS, help=f"({EVENTS:,})")
    parser.add_argument("--certificates", type=whole(1, 100_000), default=CERTIFICATES, help=f"({CERTIFICATES:,})")
    parser.add_argument("--runs", type=whole(1, 10_000), default=RUNS, help=f"requests of each page ({RUNS})")
    options = parser.parse_args(arguments)
    with filled(options) as (node, drawn):
        figures = {name: measured(node, paths, options.runs) for name, paths in pages(drawn).items()}
        figures["page_weight"] = weight(node, f"/event/{drawn.events[0]}")
    figures["goals"] = missed(figures)
    print(json.dumps(figures) if options.json else table(figures))
    return 1 if figures["goals"]["missed"] else 0


@contextmanager
def filled(options: argparse.Namespace) -> Iterator[tuple[LocalNode, Drawn]]:
    """Give a node of a running network that holds so many events, and what to ask for; removed afterwards."""
    net = BenchNet(Path(tempfile.mkdtemp(prefix="chainnode-pages-")))
    try:
        born_ms = time.time_ns() // 1_000_000 - founded_before_ms(options.events, options.certificates)
        net.found(NODES, base_port=free_base(NODES), now_ms=born_ms, step=lambda _: None)
        filler = Filler(net, lambda text: print(text, file=sys.stderr, flush=True))
        filler.fill(net.sources(), options.events, options.certificates)
        drawn = draw(filler.reader(), DRAWN, options.certificates)
        filler.close()
        nodes = net.load().nodes
        for node in nodes[1:]:
            copy_rows(Home(Path(nodes[0].home)), Home(Path(node.home)))
        for node in nodes:
            forget_pages(Path(node.home) / "data")
        net.start()
        wait_until_ready(net, [node.name for node in nodes])
        yield net.load().nodes[-1], drawn
    finally:
        if net.exists:
            net.stop()
        shutil.rmtree(net.directory, ignore_errors=True)


def pages(drawn: Drawn) -> dict[str, list[str]]:
    """Return the paths of each kind of page, those that are asked for in turn."""
    return {
        "overview": ["/"],
        "overview live": ["/?fragment=live"],
        "blocks": ["/blocks", "/blocks?start=100"],
        "block": ["/block/latest", "/block/100"],
        "event": [f"/event/{event_id}" for event_id in drawn.events],
        "certificates": ["/certificates", "/certificates?holder=bank-a", f"/certificates?category={6}"],
        "certificates by status": ["/certificates?status=revoked", "/certificates?status=valid"],
        "certificate": [f"/certificate/{number}" for number in drawn.certificates],
        "payments": ["/payments", "/payments?member=bank-b", "/payments?order=asc"],
        "payment": [f"/payment/{uetr}" for uetr in drawn.payments],
        "members": ["/members"],
        "member": ["/member/bank-a", "/member/cb"],
        "checkpoints": ["/checkpoints"],
        "consistency": ["/consistency?old=1&new=1000"],
        "proposals": ["/proposals"],
        "rules": ["/rules"],
        "inspections": ["/inspections"],
        "misuse": ["/misuse", "/misuse?state=undecided"],
        "expiry": ["/expiry", "/expiry?days=30"],
        "evidence": ["/evidence"],
        "archive": ["/archive"],
        "verify": ["/verify"],
        "search event": _searches(drawn.events),
        "search beginning": _searches([event_id[:8] for event_id in drawn.events]),
        "search payment": _searches(drawn.payments),
        "search certificate": _searches(drawn.certificates),
        "search certificates": _searches([number_of(index)[:-2] for index in range(0, 500, 100)]),
        "search member": _searches(["bank-a", "Bank", "BKAACNBJ"]),
        "search number": _searches(["17", "100"]),
        "search nothing": _searches(["ab" * 32, "no such thing"]),
    }


def _searches(words: Sequence[str]) -> list[str]:
    return [f"/search?q={quote(word)}" for word in words]


def measured(node: LocalNode, paths: Sequence[str], runs: int) -> Figures:
    """Return what requests for these paths took, the first of all by itself, and the largest answer."""
    connection = http.client.HTTPConnection(urlsplit(node.rpc).netloc, timeout=30)
    seconds, largest = list[float](), 0
    for run in range(runs + 1):
        began = time.perf_counter()
        connection.request("GET", paths[run % len(paths)], headers={"Accept-Encoding": "gzip", "Accept": "text/html"})
        answer = connection.getresponse()
        body = answer.read()
        seconds.append(time.perf_counter() - began)
        assert answer.status in (200, 302, 404), f"{paths[run % len(paths)]}: {answer.status}"
        largest = max(largest, len(body))
    connection.close()
    return {"first_ms": round(seconds[0] * 1e3, 1), **spread(seconds[1:]), "bytes": largest}


def weight(node: LocalNode, path: str) -> Figures:
    """Return the bytes of a page with everything that it loads, packed as they come."""
    sizes, seen, waiting = dict[str, int](), set[str](), [path]
    while waiting:
        asked = waiting.pop()
        seen.add(asked)
        size, text = _loaded(node, asked)
        kind = asked.rpartition(".")[2] if "/static/" in asked else "html"
        sizes[kind] = sizes.get(kind, 0) + size
        waiting += [found for found in _named_in(asked, text) if found not in seen]
    return {**sizes, "all": sum(sizes.values())}


def _loaded(node: LocalNode, path: str) -> tuple[int, str]:
    import gzip

    connection = http.client.HTTPConnection(urlsplit(node.rpc).netloc, timeout=30)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip", "Accept": "*/*"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        return 0, ""
    packed = answer.headers.get("Content-Encoding") == "gzip"
    return len(body), (gzip.decompress(body) if packed else body).decode()


def _named_in(path: str, text: str) -> list[str]:
    """Return what a page links as style sheet or script, or a module imports, as paths."""
    import re
    from urllib.parse import urljoin

    if "/static/" not in path:
        return re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
    names = re.findall(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""", text) if path.endswith("js") else []
    return sorted({urljoin(path, name) for name in names})


def missed(figures: Figures) -> Figures:
    """Return the goals, and what misses them by its median."""
    late = [
        name
        for name, found in figures.items()
        if "p50_ms" in found and found["p50_ms"] > (GOAL_SEARCH_MS if name.startswith("search") else GOAL_PAGE_MS)
    ]
    heavy = ["page_weight"] if figures["page_weight"]["all"] > GOAL_BYTES else []
    return {
        "page_ms": GOAL_PAGE_MS,
        "search_ms": GOAL_SEARCH_MS,
        "bytes": GOAL_BYTES,
        "missed": ", ".join(late + heavy),
    }


if __name__ == "__main__":
    sys.exit(main())
