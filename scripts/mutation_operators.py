"""The operators report: makes classic small changes to named files, on demand, and tells which of them no test notices.

Run by `make mutate OPERATORS=1 FILES="consensus/ordering.py" COUNT=n SEED=text`. The entries of `tests/mutations/` say
which rules there are; this asks whether the tests would notice a change that nobody thought of. For each change only
the tests that run its line are run, the quickest first, up to a limit of time. A survivor is not yet a defect: it may
change nothing that matters, so somebody has to read it. Hence a report, and no gate: the status is 0.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mutate import PYTEST, ROOT, Parser, copy_links, copy_tree, jobs, module_of, run_tests, tree_names, whole
from mutation_changes import Change, all_changes
from mutation_forks import NOT_IMPORTED, Forks, run

PLUGIN: Final = "scripts.mutation_coverage"
TESTS_SECONDS_MAX: Final = 60.0
"""The tests that are asked about one change take no longer than this under the tracer, which slows them three times."""
SLOWER: Final = 4
"""A changed run that takes so many times as long (and ten seconds) hangs, which counts as noticed."""
Times = dict[str, tuple[float, dict[str, list[int]]]]


@dataclass(frozen=True)
class Tried:
    """A change, how it ended (killed, survived, untested), and by which test it was noticed."""

    change: Change
    ended: str
    killer: str
    clock_s: float


def tests_for(change: Change, times: Times) -> list[str]:
    """Return the tests that run a change's lines, the quickest first; of one that runs at import its file's, or all."""
    span = range(change.line, change.end_line + 1)
    of_file = {test: (seconds, lines[change.file]) for test, (seconds, lines) in times.items() if change.file in lines}
    covering = {test: s for test, (s, lines) in of_file.items() if any(line in span for line in lines)}
    covering = covering or {test: s for test, (s, _) in (of_file or times).items()}
    chosen, total_s = [], 0.0
    for test, seconds in sorted(covering.items(), key=lambda item: (item[1], item[0])):
        total_s += seconds
        if chosen and total_s > TESTS_SECONDS_MAX:
            break
        chosen.append(test)
    return chosen


def draw(changes: Sequence[Change], count: int, seed: str) -> list[Change]:
    """Return so many changes (0: all) in the order of their places, drawn by a seed."""
    if not count or count >= len(changes):
        return list(changes)
    return sorted(random.Random(seed).sample(changes, count))  # noqa: S311  # a choice that repeats


def default_tests(files: Sequence[str]) -> list[str]:
    """Return where the tests of files are: the folders that mirror their packages."""
    return sorted({f"tests/{Path(file).parts[0]}" for file in files})


def measure(files: Sequence[str], tests: Sequence[str], pristine: Path) -> Times:
    """Run tests as they are, and return which lines of the files each runs and how long it takes."""
    noted = pristine / "mutation-lines.json"
    os.environ["MUTATION_FILES"], os.environ["MUTATION_LINES"] = ":".join(files), str(noted)
    finished = run(["-m", "pytest", *PYTEST, "-p", PLUGIN, "-p", "no:xdist", *tests], pristine, limited=False)
    if finished.status != 0:
        raise SystemExit(f"fails without a change:\n{finished.output[-2_000:]}")
    times: Times = {test: (item[0], item[1]) for test, item in json.loads(noted.read_text("utf-8")).items()}
    noted.unlink()
    print(f"{len(times)} tests run lines of {len(files)} files; timed in {finished.clock_s:.0f} s", flush=True)
    return times


def try_change(change: Change, times: Times, pristine: Path, work: Path, forks: Forks) -> Tried:
    """Make one change in a copy of the tree, and say whether its tests notice."""
    tests = tests_for(change, times)
    if not tests:
        return Tried(change, "untested", "", 0.0)
    tree = Path(tempfile.mkdtemp(dir=work))
    try:
        copy_links(pristine, tree)
        place = tree / change.file
        changed = change.apply(place.read_text("utf-8"))
        place.unlink()
        place.write_text(changed, "utf-8")
        seconds = 10 + SLOWER * sum(times[test][0] for test in tests)
        finished, failures = run_tests(tests, tree, forks, module_of(change.file), seconds)
    finally:
        shutil.rmtree(tree)
    if finished.status == 0:
        return Tried(change, "survived", "", finished.clock_s)
    if finished.hung:
        return Tried(change, "killed", "hangs", finished.clock_s)
    if finished.status == NOT_IMPORTED:
        return Tried(change, "killed", "does not import", finished.clock_s)
    return Tried(change, "killed", failures[0].partition(": ")[0] if failures else "crash", finished.clock_s)


def difference(change: Change, text: str) -> str:
    """Return a change as a diff without its headings."""
    lines = difflib.unified_diff(text.splitlines(), change.apply(text).splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def report(tried: Sequence[Tried], sources: dict[str, str]) -> str:
    """Return the survivors with their diffs, then a table of how many changes of each file were noticed."""
    parts = []
    for one in tried:
        if one.ended != "killed":
            place = f"{one.ended} {one.change.file}:{one.change.line} {one.change.operator}"
            parts += [place, difference(one.change, sources[one.change.file]), ""]
    parts += ["| file | tried | killed | survived | untested |", "| --- | --- | --- | --- | --- |"]
    for file in [*sorted({one.change.file for one in tried}), "all"]:
        ends = Counter(one.ended for one in tried if file in (one.change.file, "all"))
        killed = f"{ends['killed']} ({100 * ends['killed'] // ends.total()} %)"
        parts.append(f"| {file} | {ends.total()} | {killed} | {ends['survived']} | {ends['untested']} |")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Try the changes that were asked for, and print the report."""
    parser = Parser(prog="scripts/mutation_operators.py", description="Change code; do tests notice?")
    parser.add_argument("files", nargs="+", help="the files to change, from the root of the tree")
    parser.add_argument("--tests", nargs="*", default=[], help="the tests to ask (default: the package's folder)")
    parser.add_argument("--count", type=whole, default=100, help="draw so many (100)")
    parser.add_argument("--seed", default="1", help="what to draw by")
    parser.add_argument("--jobs", type=jobs, default=2, help="how many at a time")
    options = parser.parse_args(arguments)
    foreign = [file for file in options.files if not (ROOT / file).is_file() or not file.endswith(".py")]
    if foreign:
        parser.error(f"{foreign[0]}: expected a Python file of this tree, got none")
    began = time.monotonic()
    sources = {file: (ROOT / file).read_text("utf-8") for file in options.files}
    changes = list(all_changes(sources))
    chosen = draw(changes, options.count, options.seed)
    print(f"{len(chosen)} of {len(changes)} changes, drawn by seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder, Forks(options.jobs) as forks:
        work, pristine = Path(folder), Path(folder) / "pristine"
        copy_tree(ROOT, pristine, tree_names())
        times = measure(options.files, options.tests or default_tests(options.files), pristine)
        tried: list[Tried] = []
        with ThreadPoolExecutor(options.jobs) as pool:
            for one in pool.map(lambda change: try_change(change, times, pristine, work, forks), chosen):
                tried.append(one)
                if one.ended != "killed":
                    print(f"{one.ended} {one.change.file}:{one.change.line} {one.change.operator}", flush=True)
    print(f"\n{report(tried, sources)}\n\n{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
