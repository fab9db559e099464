"""`python -m torment`: run manifests of seeds or files one after the other, and say how each ended.

Exit status: 0 all passed, 1 something was wrong, 2 what was asked for cannot be read, 3 nothing was wrong but some
could not be done on this machine.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from primitives.errors import InputError
from sim.arguments import REFUSED, SEED_MAX, Parser, whole
from torment.generate import SEEDS, generate
from torment.manifest import Manifest, read_manifest, to_json
from torment.namespaces import enter_private_mounts
from torment.report import Result, summary, table
from torment.run import run

NOT_DONE = 3
MANIFESTS_MAX = 1_000
"""Manifests of one call: they are all drawn before the first runs."""
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = Parser(prog="python -m torment", description="Torment a network of real processes.")
    parser.add_argument(
        "--seed",
        type=whole(0, SEED_MAX),
        action="append",
        help="run the manifest of this seed; may be repeated",
    )
    parser.add_argument(
        "--manifests",
        type=whole(1, MANIFESTS_MAX),
        default=SEEDS,
        help="run those of seeds 1 to this (default %(default)s)",
    )
    parser.add_argument("--manifest", type=Path, action="append", help="run a manifest file; may be repeated")
    parser.add_argument("--print", action="store_true", help="print the manifests and run nothing")
    parser.add_argument("--json", type=Path, help="append a JSON line for each run to this file")
    parser.add_argument("--table", action="store_true", help="print a table in Markdown of all runs at the end")
    parser.add_argument("--keep", action="store_true", help="keep the directory of runs that passed, too")
    options = parser.parse_args(arguments)
    try:
        manifests = _manifests(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return REFUSED
    if options.print:
        sys.stdout.writelines(to_json(manifest) for manifest in manifests)
        return 0
    enter_private_mounts(arguments)
    # Whoever ends this program ends its nodes: a shell that starts it in the background turns interrupts off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = []
    for manifest in manifests:
        result = run(manifest, keep=options.keep)
        results.append(result)
        print(summary(manifest, result), flush=True)
        if options.json:
            with options.json.open("ab") as file:
                file.write(msgspec.json.encode(result.as_row()) + b"\n")
    if options.table:
        print(table(zip(manifests, results, strict=True)))
    return _conclude(results)


def _manifests(options: argparse.Namespace) -> list[Manifest]:
    if options.manifest:
        return [read_manifest(path) for path in options.manifest]
    return [generate(seed) for seed in options.seed or range(1, options.manifests + 1)]


def _conclude(results: Sequence[Result]) -> int:
    by_verdict: dict[str, list[int]] = {}
    for result in results:
        by_verdict.setdefault(result.verdict, []).append(result.seed)
    print("; ".join(f"{len(seeds)} {verdict}: {seeds}" for verdict, seeds in sorted(by_verdict.items())))
    if "failed" in by_verdict:
        return 1
    return NOT_DONE if "not done" in by_verdict else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
