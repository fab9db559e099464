"""The command line of scenarios: `python -m sim scenario FILE... [--bless]` plays files, each held to its transcript.

Status 1 where a scenario does not hold, or its transcript is not the golden one beside it (`NAME.golden`); 2 where a
file cannot be read. A file outside of tests/scenarios that has no golden one holds by its expectations alone.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Final

from sim.arguments import REFUSED, Parser
from sim.scenario.play import play
from sim.scenario.words import ScenarioError, Unreadable

GOLDEN: Final = ".golden"
HELD: Final = Path(__file__).resolve().parents[2] / "tests" / "scenarios"
"""Each scenario in here has a golden transcript."""
FILE_BYTES_MAX: Final = 1 << 20
DIFFERENCES_SHOWN_MAX: Final = 40


def golden_of(path: Path) -> Path:
    """Return where a scenario's golden transcript stands."""
    return path.with_suffix(GOLDEN)


def transcript(path: Path) -> str:
    """Play a file and return its transcript as the golden file holds it."""
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise Unreadable(1, "too large for a scenario", f"at most {FILE_BYTES_MAX} bytes")
    return "\n".join(play(data.decode("utf-8"))) + "\n"


def differences(path: Path, text: str) -> list[str]:
    """Return how a transcript differs from the golden one, nothing where it does not.

    A scenario of somebody else that has none holds by its expectations alone.
    """
    golden = golden_of(path)
    if not golden.exists() and golden.resolve().parent != HELD:
        return []
    if not golden.exists():
        return [f"{golden.name} is missing: write it with --bless"]
    held = golden.read_text("utf-8")
    lines = difflib.unified_diff(held.splitlines(), text.splitlines(), golden.name, "this run", lineterm="", n=2)
    return list(lines)


def main(arguments: list[str]) -> int:
    """Play the files that were asked for."""
    parser = Parser(prog="python -m sim scenario", description="Play scenarios of faults.")
    parser.add_argument("files", nargs="+", type=Path, help="scenario files (docs/scenarios.md has the language)")
    parser.add_argument("--bless", action="store_true", help="make what happens now the golden transcript")
    parser.add_argument("--show", action="store_true", help="print the transcript")
    parser.add_argument("--no-golden", action="store_true", help="hold the expectations only, not the transcript")
    options = parser.parse_args(arguments)
    statuses = [_one(path, options) for path in options.files]
    if set(statuses) != {REFUSED}:
        print(f"{statuses.count(0)} of {len(statuses)} scenarios hold")
    return max(statuses)


def _one(path: Path, options: argparse.Namespace) -> int:
    """Play one file and return its status: 0 it holds, 1 it does not, 2 it cannot be read."""
    try:
        text = transcript(path)
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        return _refused(path, error)
    except ScenarioError as error:
        print(
            f"scenario {path.stem} breaks a rule: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr
        )
        return 1
    if options.show:
        print(text, end="")
    try:
        if options.bless:
            golden_of(path).write_text(text, "utf-8")
            return 0
        lines = [] if options.no_golden else differences(path, text)
    except (OSError, UnicodeDecodeError) as error:
        return _refused(golden_of(path), error, "used")
    if lines:
        print(f"{path}: another transcript than the golden one", file=sys.stderr)
        print(*lines[:DIFFERENCES_SHOWN_MAX], sep="\n", file=sys.stderr)
        print(f"if this is right: python -m sim scenario {path} --bless, and read the difference", file=sys.stderr)
    return int(bool(lines))


def _refused(path: Path, error: Exception, done: str = "read") -> int:
    """Say in one line that a file cannot be used; returns the status for it."""
    why = error.strerror if isinstance(error, OSError) else error
    print(f"{path}: cannot be {done}: {why}", file=sys.stderr)
    return REFUSED
