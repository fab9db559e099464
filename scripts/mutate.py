"""The mutation gate: breaks one safety rule at a time in a copy of the tree, and expects a test to fail.

Run by `make mutate`. Each entry of `tests/mutations/*.toml` names a rule, one change of the code that breaks it, and
the tests that must notice. A change counts as caught only if a test fails on what the code did: not if the module does
not import any more, a name or type error shows that the change was malformed, or a run hangs (unless the rule is one of
liveness). The same tests must pass on the unchanged tree. Every run works on copies in a temporary directory; the
working tree is only read. Status 1 on a survivor, on an entry that no longer applies, and on tests that fail without a
mutation.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NoReturn
from xml.etree import ElementTree

from mutation_forks import CLOCK_SECONDS_MAX, CPU_SECONDS_MAX, NOT_IMPORTED, Finished, Forks, run

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = "tests/mutations"
REFUSED: Final = 2
JOBS_MAX: Final = 64
COUNT_MAX: Final = 100_000
DOCUMENT: Final = "docs/mutations.md"
PYTEST: Final = ("-q", "-p", "no:cacheprovider", "--timeout=0", "--tb=short")
FIELDS: Final = {"name", "rule", "file", "old", "new", "tests", "runs", "liveness", "reason"}
MALFORMED: Final = re.compile(
    r"(?:NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError|AttributeError|TypeError)\b"
)
HUNG: Final = re.compile(r"Failed: Timeout")
ROW: Final = re.compile(r"^\| .+ \| `([^`]+)` \| `[^`]+` \| `([^`]+)` \|$", re.MULTILINE)
BROKEN_RULE: Final = re.compile(r"^(?:seed|scenario|state) .* breaks a rule: .*$", re.MULTILINE)


class Stale(Exception):
    """An entry that cannot be applied; the message says which and why."""


@dataclass(frozen=True)
class Mutation:
    """One rule, the change that breaks it, and who must notice: test files or ids, and arguments of `python -m`.

    `reason` says why a change breaks nothing, for one that was found to be equivalent; such a one is not run.
    """

    name: str
    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    runs: tuple[str, ...]
    liveness: bool
    reason: str

    def apply(self, text: str) -> str:
        """Return the changed text of the file; `Stale` unless the old lines stand in it exactly once."""
        old = f"\n{self.old}\n"
        if f"\n{text}".count(old) != 1:
            raise Stale(f"{self.name}: expected its old lines once in {self.file}, got {text.count(self.old)}")
        new = f"\n{self.new}\n" if self.new else "\n"
        return f"\n{text}".replace(old, new)[1:]


Judgement = tuple[Finished, str | None, str]
"""A run, who caught the mutation in it, and otherwise why nobody did."""


@dataclass(frozen=True)
class Result:
    """What became of a mutation: by which test it was caught, or why it was not."""

    mutation: Mutation
    caught_by: str | None
    why_not: str
    cpu_s: float
    clock_s: float


def load(folder: Path = ROOT / FOLDER) -> list[Mutation]:
    """Return all entries in the order of files and places; `Stale` where one is malformed or a name stands twice."""
    entries: list[Mutation] = []
    for path in sorted(folder.glob("*.toml")):
        book = tomllib.loads(path.read_text("utf-8"))
        for raw in [*book.get("mutation", ()), *book.get("equivalent", ())]:
            if unknown := raw.keys() - FIELDS:
                raise Stale(f"{path.name}: unknown fields {sorted(unknown)}")
            mutation = Mutation(
                name=raw["name"],
                rule=raw["rule"],
                file=raw["file"],
                old=raw["old"].strip("\n"),
                new=raw["new"].strip("\n"),
                tests=tuple(raw.get("tests", ())),
                runs=tuple(raw.get("runs", ())),
                liveness=raw.get("liveness", False),
                reason=raw.get("reason", ""),
            )
            entries.append(mutation)
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Stale(f"names that stand twice: {', '.join(twice)}")
    return entries


def problems(entries: Iterable[Mutation], root: Path = ROOT) -> list[str]:
    """Return what is wrong with entries: lines that do not stand exactly once, tests that are not there."""
    found: list[str] = []
    for entry in entries:
        try:
            entry.apply((root / entry.file).read_text("utf-8"))
        except (Stale, OSError) as error:
            found.append(str(error))
        if bool(entry.tests or entry.runs) is bool(entry.reason):
            found.append(f"{entry.name}: expected tests or runs that catch it, or a reason why nothing can")
        for test in entry.tests:
            file, _, function = test.partition("::")
            text = path.read_text("utf-8") if (path := root / file).is_file() else ""
            bare = function.partition("[")[0]
            if not text or (bare and f"def {bare}(" not in text):
                found.append(f"{entry.name}: no test {test}")
    return found


# --- running ----------------------------------------------------------------------------------------------------------


def copy_tree(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy these files; times are kept, so that bytecode compiled beside them stays good."""
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, place)


def copy_links(source: Path, target: Path) -> None:
    """Copy a tree as hard links, which cost next to nothing: nobody writes to a file that is there."""
    left_out = shutil.ignore_patterns(".hypothesis", "mutation-report.xml")
    shutil.copytree(source, target, copy_function=os.link, ignore=left_out, dirs_exist_ok=True)


def module_of(file: str) -> str:
    """Return the name under which a file is imported; nothing for one that is not Python's."""
    return file.removesuffix(".py").replace("/", ".") if file.endswith(".py") else ""


def tree_names() -> list[str]:
    """Return the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603  # fixed command
    return sorted({name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


def run_tests(
    tests: Sequence[str], tree: Path, forks: Forks, module: str, seconds: float = CLOCK_SECONDS_MAX
) -> tuple[Finished, list[str]]:
    """Run tests up to the first that fails; return the run and the failures. `module` has to be the tree's."""
    report = tree / "mutation-report.xml"
    finished = forks.pytest([*PYTEST, "-x", "-p", "no:xdist", f"--junitxml={report}", *tests], tree, module, seconds)
    return finished, [] if finished.hung else failures_of(report)


def run_all_tests(tests: Sequence[str], tree: Path, jobs: int) -> tuple[Finished, list[str]]:
    """Run tests in so many processes at once, all of them; return the run and the failures."""
    report = tree / "mutation-report.xml"
    spread = ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else ["-p", "no:xdist"]
    finished = run(["-m", "pytest", *PYTEST, *spread, f"--junitxml={report}", *tests], tree, limited=False)
    return finished, [] if finished.hung else failures_of(report)


def failures_of(report: Path) -> list[str]:
    """Return the failures that a run of pytest reported, a line each: (file::test: what); its file is removed."""
    if not report.is_file():
        return []
    failures: list[str] = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # written by our own pytest
        for bad in [*case.findall("failure"), *case.findall("error")]:
            kind = "" if bad.tag == "failure" else "ERROR "
            file = case.get("classname", "").replace(".", "/") + ".py"
            message = bad.get("message", "").strip().splitlines() or [""]
            failures.append(f"{kind}{file}::{case.get('name')}: {message[0]}")
    report.unlink()
    return failures


def judge_tests(mutation: Mutation, tests: Sequence[str], tree: Path, forks: Forks) -> Judgement:
    """Return the run of a mutation's tests, the one that caught it, and otherwise why none did."""
    finished, failures = run_tests(tests, tree, forks, module_of(mutation.file))
    if finished.hung:
        return finished, "the limit of time" if mutation.liveness else None, "hung until the limit"
    if finished.status == 0:
        return finished, None, "all tests pass"
    tail = "\n".join(finished.output.splitlines()[-12:])
    if finished.status == NOT_IMPORTED:
        return finished, None, f"does not import: {tail}"
    if finished.status != 1 or not failures or failures[0].startswith("ERROR "):
        return finished, None, f"the tests did not run: status {finished.status}\n{tail}"
    place, _, message = failures[0].partition(": ")
    if MALFORMED.search(message) and "DID NOT RAISE" not in message:
        return finished, None, f"crashed instead of failing a test: {failures[0]}"
    if HUNG.search(message) and not mutation.liveness:
        return finished, None, f"hung: {failures[0]}"
    return finished, place, ""


def judge_run(mutation: Mutation, arguments: str, tree: Path) -> Judgement:
    """The same for one run of `python -m`, which names the rule that broke."""
    finished = run(["-m", *arguments.split()], tree)
    if finished.hung:
        return finished, f"python -m {arguments}" if mutation.liveness else None, "hung until the limit"
    if finished.status == 1 and BROKEN_RULE.search(finished.output):
        return finished, f"python -m {arguments}", ""
    return finished, None, "no rule broke" if finished.status == 0 else f"crashed: {finished.output[-400:]}"


def try_one(mutation: Mutation, pristine: Path, work: Path, forks: Forks, first: str = "") -> Result:
    """Break a rule in a fresh copy, and see who notices: `first` is asked before all that are named, where it is given.

    The copy is of links, so the changed file is replaced, never written to.
    """
    tree = Path(tempfile.mkdtemp(prefix=f"{mutation.name}-", dir=work))
    try:
        copy_links(pristine, tree)
        place = tree / mutation.file
        changed = mutation.apply(place.read_text("utf-8"))
        place.unlink()
        place.write_text(changed, "utf-8")
        judges: list[Callable[[], Judgement]] = [
            partial(judge_tests, mutation, tests, tree, forks) for tests in ((first,), mutation.tests) if any(tests)
        ]
        judges += [partial(judge_run, mutation, item, tree) for item in mutation.runs]
        cpu_s, clock_s, why_not = 0.0, 0.0, ""
        for judge in judges:
            finished, caught_by, why_not = judge()
            cpu_s, clock_s = cpu_s + finished.cpu_s, clock_s + finished.clock_s
            if caught_by is not None and cpu_s > CPU_SECONDS_MAX:
                return Result(mutation, None, f"caught by {caught_by}, but too late", cpu_s, clock_s)
            if caught_by is not None:
                return Result(mutation, caught_by, "", cpu_s, clock_s)
        return Result(mutation, None, why_not, cpu_s, clock_s)
    finally:
        shutil.rmtree(tree)


def passes_unchanged(chosen: Sequence[Mutation], pristine: Path, jobs: int, tested: bool) -> bool:
    """Say whether all that is named passes on the tree as it is; without that, being caught means nothing.

    `tested` says that whoever calls runs all tests on this tree anyway, and fails with them.
    """
    files = {test for entry in chosen for test in entry.tests if "::" not in test}
    tests = sorted(files | {test for entry in chosen for test in entry.tests if test.partition("::")[0] not in files})
    runs_tests = bool(tests) and not tested
    finished, failures = run_all_tests(tests, pristine, jobs) if runs_tests else (Finished(0, "", 0.0, 0.0), [])
    good = finished.status == 0
    if not good:
        print("fails without a mutation:", *(failures or [finished.output[-2_000:]]), sep="\n  ")
    for arguments in sorted({arguments for entry in chosen for arguments in entry.runs}):
        alone = run(["-m", *arguments.split()], pristine)
        if alone.status != 0:
            print(f"fails without a mutation: python -m {arguments}\n{alone.output[-2_000:]}")
            good = False
    took = f"in {finished.clock_s:.0f} s" if runs_tests else "not run here"
    print(f"unchanged tree: {len(tests)} test files and tests {took}", flush=True)
    return good


def survey(
    chosen: Sequence[Mutation], jobs: int, known: Mapping[str, str], tested: bool = False
) -> list[Result] | None:
    """Try mutations, `jobs` at a time, printing each as it ends; None where the unchanged tree fails.

    `known` has the test that caught a mutation before, by its name; that one is asked first. With `tested` the
    unchanged tree's tests are somebody else's.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mutate-") as folder,
        Forks(jobs) as forks,
        ThreadPoolExecutor(jobs) as pool,
    ):
        work, pristine = Path(folder), Path(folder) / "pristine"
        copy_tree(ROOT, pristine, tree_names())
        if not passes_unchanged(chosen, pristine, jobs, tested):
            return None
        results: list[Result] = []
        for result in pool.map(lambda entry: try_one(entry, pristine, work, forks, first_of(entry, known)), chosen):
            results.append(result)
            print(line_of(result), flush=True)
        return results


def first_of(entry: Mutation, known: Mapping[str, str]) -> str:
    """Return the test that caught an entry before, if it is one of those that the entry names; else nothing."""
    test = known.get(entry.name, "")
    file, _, function = test.partition("::")
    named = test in entry.tests or file in entry.tests
    return test if named and function and f"def {function}(" in (ROOT / file).read_text("utf-8") else ""


# --- telling ----------------------------------------------------------------------------------------------------------


def line_of(result: Result) -> str:
    """Return a result in one line, a survivor with its reason."""
    name, seconds = result.mutation.name, f"{result.cpu_s:5.1f} s CPU {result.clock_s:5.1f} s"
    if result.caught_by is not None:
        return f"caught    {name:<44} {seconds}  {result.caught_by}"
    return f"SURVIVED  {name:<44} {seconds}  {result.mutation.rule}: {result.why_not}"


def known_catchers(text: str) -> dict[str, str]:
    """Return who caught each mutation, by its name, as the document says."""
    return dict(ROW.findall(text))


def markdown(text: str, entries: Sequence[Mutation], results: Sequence[Result]) -> str:
    """Return the document with a row for every entry: who caught it now or, if it was not tried, before."""
    head, caught = text.partition("| rule |")[0], known_catchers(text)
    caught |= {one.mutation.name: shown(one.caught_by) for one in results if one.caught_by is not None}
    rows = [
        f"| {one.rule} | `{one.name}` | `{one.file}` | `{caught[one.name]}` |" for one in entries if one.name in caught
    ]
    return "\n".join([f"{head}| rule | mutation | code | caught by |", "| --- | --- | --- | --- |", *rows]) + "\n"


def shown(caught_by: str) -> str:
    """Return a test without its parameters, or a run as it was called."""
    return caught_by.partition("[")[0]


def choose(entries: list[Mutation], only: str, count: int, seed: str) -> list[Mutation]:
    """Return the entries that were asked for: by a part of the file or name, or so many drawn from a seed."""
    chosen = [entry for entry in entries if only in f"{entry.file} {entry.name}"]
    if count and count < len(chosen):
        drawn = random.Random(seed).sample(range(len(chosen)), count)  # noqa: S311  # a choice that repeats
        chosen = [chosen[index] for index in sorted(drawn)]
    return chosen


def head_commit() -> str:
    """Return the hash of the commit, by which `make check` draws: another draw each time, and the same for a commit."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()[:12]  # noqa: S603  # fixed


def whole(text: str) -> int:
    """Return an option's whole number from 1 to COUNT_MAX, with the words that argparse shows where it is none."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= COUNT_MAX:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {COUNT_MAX:,}, got {text[:80]!r}")
    return int(text)


class Parser(argparse.ArgumentParser):
    """Reads a command line; what it cannot take is one line on stderr, and status 2."""

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(REFUSED, f"{self.prog}: {message} (--help shows all options)\n")


def jobs(text: str) -> int:
    """Return how many run at a time."""
    if (count := whole(text)) > JOBS_MAX:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {JOBS_MAX}, got {count}")
    return count


def main(arguments: list[str] | None = None) -> int:
    """Try the mutations that were asked for; return the status of the process."""
    parser = Parser(prog="scripts/mutate.py", description="Break safety rules; tests must notice.")
    parser.add_argument("--folder", default=FOLDER, help="where the entries stand")
    parser.add_argument("--only", default="", help="only mutations whose file or name holds this")
    parser.add_argument("--new", action="store_true", help=f"only mutations that {DOCUMENT} does not list yet")
    parser.add_argument("--count", type=whole, default=0, help="draw so many (default: all)")
    parser.add_argument("--seed", default="", help="what to draw by (default: the commit's hash)")
    parser.add_argument("--jobs", type=jobs, default=2, help="how many at a time")
    parser.add_argument("--markdown", action="store_true", help=f"write what was found into {DOCUMENT}")
    parser.add_argument(
        "--tested", action="store_true", help="leave out the unchanged tree's tests: the caller runs all"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        entries = load(ROOT / options.folder)
    except Stale as error:
        print(error)
        return 1
    stale = problems(entries)
    entries = [entry for entry in entries if not entry.reason]
    print(*stale, sep="\n", end="\n" if stale else "")
    seed = options.seed or head_commit()
    known = known_catchers((ROOT / DOCUMENT).read_text("utf-8"))
    asked = [entry for entry in entries if not (options.new and entry.name in known)]
    chosen = [] if stale else choose(asked, options.only, options.count, seed)
    if not chosen:
        print("no mutation was tried")
        return 1
    print(f"{len(chosen)} of {len(entries)} mutations" + (f", drawn by seed {seed}" if options.count else ""))
    results = survey(chosen, options.jobs, known, options.tested)
    if results is None:
        return 1
    survivors = [result for result in results if result.caught_by is None]
    if options.markdown and options.folder == FOLDER:
        text = (ROOT / DOCUMENT).read_text("utf-8")  # somebody may have changed it in the meantime
        (ROOT / DOCUMENT).write_text(markdown(text, entries, results), "utf-8")
    cpu_s, slowest = sum(result.cpu_s for result in results), max(result.cpu_s for result in results)
    caught = f"{len(results) - len(survivors)} of {len(results)} mutations caught"
    print(f"{caught}, each within {CPU_SECONDS_MAX} s of CPU time")
    print(f"slowest {slowest:.1f} s; {cpu_s:.0f} s of CPU time, {time.monotonic() - began:.0f} s in all")
    print(*(f"survivor: {result.mutation.name}" for result in survivors), sep="\n", end="\n" if survivors else "")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
