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
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = "tests/mutations"
DOCUMENT: Final = "docs/mutations.md"
CPU_SECONDS_MAX: Final = 60
"""What catching one mutation may cost; the clock may show more, since the machine may be busy."""
CLOCK_SECONDS_MAX: Final = 180
FIELDS: Final = {"name", "rule", "file", "old", "new", "tests", "runs", "liveness", "reason"}
MALFORMED: Final = re.compile(
    r"(?:NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError|AttributeError|TypeError)\b"
)
HUNG: Final = re.compile(r"Failed: Timeout")
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


@dataclass(frozen=True)
class Finished:
    """A process that ended: its status (negative: the signal), what it printed, its CPU time and the time it took."""

    status: int
    output: str
    cpu_s: float
    clock_s: float

    @property
    def hung(self) -> bool:
        """Whether it was ended at a limit."""
        return self.status in (-signal.SIGKILL, -signal.SIGXCPU)


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


def tree_names() -> list[str]:
    """Return the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603  # fixed command
    return sorted({name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


def run(arguments: Sequence[str], tree: Path, *, limited: bool = True) -> Finished:
    """Run Python in a copy of the tree, ended at the limits of CPU time and clock."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "PYTHONHASHSEED": "0"}
    limit = CPU_SECONDS_MAX if limited else CPU_SECONDS_MAX * 20
    command = ["/bin/sh", "-c", f'ulimit -t {limit}; exec "$@"', "sh", sys.executable, *arguments]
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603  # our own Python
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        seconds = CLOCK_SECONDS_MAX if limited else CLOCK_SECONDS_MAX * 10
        timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Finished(process.returncode, text, usage.ru_utime + usage.ru_stime, time.monotonic() - began)


def run_tests(tests: Sequence[str], tree: Path, *, jobs: int = 0, stop: bool = True) -> tuple[Finished, list[str]]:
    """Run tests; return the run and, one line each, the failures as (file::test: what)."""
    report = tree / "mutation-report.xml"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", "--tb=short", f"--junitxml={report}"]
    arguments += ["-x"] if stop else []
    arguments += ["-n", str(jobs), "--dist", "loadfile"] if jobs else ["-p", "no:xdist"]
    finished = run([*arguments, *tests], tree, limited=stop)
    failures: list[str] = []
    if report.is_file() and not finished.hung:
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # written by our own pytest
            for bad in [*case.findall("failure"), *case.findall("error")]:
                kind = "" if bad.tag == "failure" else "ERROR "
                file = case.get("classname", "").replace(".", "/") + ".py"
                message = bad.get("message", "").strip().splitlines() or [""]
                failures.append(f"{kind}{file}::{case.get('name')}: {message[0]}")
    return finished, failures


def judge_tests(mutation: Mutation, tree: Path) -> tuple[Finished, str | None, str]:
    """Return the run of a mutation's tests, the one that caught it, and otherwise why none did."""
    finished, failures = run_tests(mutation.tests, tree)
    if finished.hung:
        return finished, "the limit of time" if mutation.liveness else None, "hung until the limit"
    if finished.status == 0:
        return finished, None, "all tests pass"
    if finished.status != 1 or not failures or failures[0].startswith("ERROR "):
        tail = "\n".join(finished.output.splitlines()[-12:])
        return finished, None, f"the tests did not run: status {finished.status}\n{tail}"
    place, _, message = failures[0].partition(": ")
    if MALFORMED.search(message) and "DID NOT RAISE" not in message:
        return finished, None, f"crashed instead of failing a test: {failures[0]}"
    if HUNG.search(message) and not mutation.liveness:
        return finished, None, f"hung: {failures[0]}"
    return finished, place, ""


def judge_run(mutation: Mutation, arguments: str, tree: Path) -> tuple[Finished, str | None, str]:
    """The same for one run of `python -m`, which names the rule that broke."""
    finished = run(["-m", *arguments.split()], tree)
    if finished.hung:
        return finished, f"python -m {arguments}" if mutation.liveness else None, "hung until the limit"
    if finished.status == 1 and BROKEN_RULE.search(finished.output):
        return finished, f"python -m {arguments}", ""
    return finished, None, "no rule broke" if finished.status == 0 else f"crashed: {finished.output[-400:]}"


def try_one(mutation: Mutation, pristine: Path, work: Path) -> Result:
    """Break a rule in a fresh copy, and see who notices."""
    tree = Path(tempfile.mkdtemp(prefix=f"{mutation.name}-", dir=work))
    try:
        shutil.copytree(pristine, tree, dirs_exist_ok=True)
        place = tree / mutation.file
        changed = mutation.apply(place.read_text("utf-8"))
        place.unlink()
        place.write_text(changed, "utf-8")
        module = mutation.file.removesuffix(".py").replace("/", ".")
        check = f"import {module} as found; assert found.__file__ == {str(place)!r}, found.__file__"
        first = run(["-c", check], tree)
        cpu_s, clock_s = first.cpu_s, first.clock_s
        if first.status != 0:
            return Result(mutation, None, f"does not import: {first.output[-400:]}", cpu_s, clock_s)
        why_not = ""
        judges = [lambda: judge_tests(mutation, tree)] if mutation.tests else []
        judges += [lambda item=item: judge_run(mutation, item, tree) for item in mutation.runs]  # type: ignore[misc]  # a bound item
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


def passes_unchanged(chosen: Sequence[Mutation], pristine: Path, jobs: int) -> bool:
    """Say whether all that is named passes on the tree as it is; without that, being caught means nothing."""
    files = {test for entry in chosen for test in entry.tests if "::" not in test}
    tests = sorted(files | {test for entry in chosen for test in entry.tests if test.partition("::")[0] not in files})
    finished, failures = Finished(0, "", 0.0, 0.0), []
    if tests:
        finished, failures = run_tests(tests, pristine, jobs=jobs, stop=False)
    good = finished.status == 0
    if not good:
        print("fails without a mutation:", *(failures or [finished.output[-2_000:]]), sep="\n  ")
    for arguments in sorted({arguments for entry in chosen for arguments in entry.runs}):
        alone = run(["-m", *arguments.split()], pristine)
        if alone.status != 0:
            print(f"fails without a mutation: python -m {arguments}\n{alone.output[-2_000:]}")
            good = False
    print(f"unchanged tree: {len(tests)} test files and tests in {finished.clock_s:.0f} s", flush=True)
    return good


def survey(chosen: Sequence[Mutation], jobs: int) -> list[Result] | None:
    """Try mutations, `jobs` at a time, printing each as it ends; None where the unchanged tree fails."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        work, pristine = Path(folder), Path(folder) / "pristine"
        copy_tree(ROOT, pristine, tree_names())
        if not passes_unchanged(chosen, pristine, jobs):
            return None
        results: list[Result] = []
        with ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(lambda entry: try_one(entry, pristine, work), chosen):
                results.append(result)
                print(line_of(result), flush=True)
        return results


# --- telling ----------------------------------------------------------------------------------------------------------


def line_of(result: Result) -> str:
    """Return a result in one line, a survivor with its reason."""
    name, seconds = result.mutation.name, f"{result.cpu_s:5.1f} s CPU {result.clock_s:5.1f} s"
    if result.caught_by is not None:
        return f"caught    {name:<44} {seconds}  {result.caught_by}"
    return f"SURVIVED  {name:<44} {seconds}  {result.mutation.rule}: {result.why_not}"


def markdown(results: Sequence[Result]) -> str:
    """Return the document that lists all rules with the test that caught each."""
    head = (ROOT / DOCUMENT).read_text("utf-8").partition("| rule |")[0]
    rows = [
        f"| {one.mutation.rule} | `{one.mutation.name}` | `{one.mutation.file}` | `{shown(one.caught_by)}` |"
        for one in results
    ]
    return "\n".join([f"{head}| rule | mutation | code | caught by |", "| --- | --- | --- | --- |", *rows]) + "\n"


def shown(caught_by: str | None) -> str:
    """Return a test without its parameters, or a run as it was called."""
    return (caught_by or "nothing").partition("[")[0]


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


def main(arguments: list[str] | None = None) -> int:
    """Try the mutations that were asked for; return the status of the process."""
    parser = argparse.ArgumentParser(prog="scripts/mutate.py", description="Break safety rules; tests must notice.")
    parser.add_argument("--folder", default=FOLDER, help="where the entries stand")
    parser.add_argument("--only", default="", help="only mutations whose file or name holds this")
    parser.add_argument("--count", type=int, default=0, help="draw so many (default: all)")
    parser.add_argument("--seed", default="", help="what to draw by (default: the commit's hash)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--markdown", action="store_true", help=f"write {DOCUMENT} (after a run of all)")
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
    chosen = [] if stale else choose(entries, options.only, options.count, seed)
    if not chosen:
        print("no mutation was tried")
        return 1
    print(f"{len(chosen)} of {len(entries)} mutations" + (f", drawn by seed {seed}" if options.count else ""))
    results = survey(chosen, options.jobs)
    if results is None:
        return 1
    survivors = [result for result in results if result.caught_by is None]
    if options.markdown and options.folder == FOLDER and len(results) == len(entries) and not survivors:
        (ROOT / DOCUMENT).write_text(markdown(results), "utf-8")
    cpu_s, slowest = sum(result.cpu_s for result in results), max(result.cpu_s for result in results)
    caught = f"{len(results) - len(survivors)} of {len(results)} mutations caught"
    print(f"{caught}, each within {CPU_SECONDS_MAX} s of CPU time")
    print(f"slowest {slowest:.1f} s; {cpu_s:.0f} s of CPU time, {time.monotonic() - began:.0f} s in all")
    print(*(f"survivor: {result.mutation.name}" for result in survivors), sep="\n", end="\n" if survivors else "")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
