"""The command line of scenarios: `python -m sim scenario FILE... [--bless]` plays files, each held to its transcript.

Status 1 where a scenario does not hold, or its transcript is not the golden one beside it (`NAME.golden`).
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Final

from sim.scenario.play import play
from sim.scenario.words import ScenarioError

GOLDEN: Final = ".golden"
DIFFERENCES_SHOWN_MAX: Final = 40


def golden_of(path: Path) -> Path:
    """Return where a scenario's golden transcript stands."""
    return path.with_suffix(GOLDEN)


def transcript(path: Path) -> str:
    """Play a file and return its transcript as the golden file holds it."""
    return "\n".join(play(path.read_text("utf-8"))) + "\n"


def differences(path: Path, text: str) -> list[str]:
    """Return how a transcript differs from the golden one, nothing where it does not."""
    golden = golden_of(path)
    if not golden.exists():
        return [f"{golden.name} is missing: write it with --bless"]
    held = golden.read_text("utf-8")
    lines = difflib.unified_diff(held.splitlines(), text.splitlines(), golden.name, "this run", lineterm="", n=2)
    return list(lines)


def main(arguments: list[str]) -> int:
    """Play the files that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m sim scenario", description="Play scenarios of faults.")
    parser.add_argument("files", nargs="+", type=Path, help="scenario files (docs/scenarios.md has the language)")
    parser.add_argument("--bless", action="store_true", help="make what happens now the golden transcript")
    parser.add_argument("--show", action="store_true", help="print the transcript")
    parser.add_argument("--no-golden", action="store_true", help="hold the expectations only, not the transcript")
    options = parser.parse_args(arguments)
    failed = [path for path in options.files if not _one(path, options)]
    print(f"{len(options.files) - len(failed)} of {len(options.files)} scenarios hold")
    return 1 if failed else 0


def _one(path: Path, options: argparse.Namespace) -> bool:
    try:
        text = transcript(path)
    except (ScenarioError, OSError, UnicodeDecodeError) as error:
        print(
            f"scenario {path.stem} breaks a rule: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr
        )
        return False
    if options.show:
        print(text, end="")
    if options.bless:
        golden_of(path).write_text(text, "utf-8")
        return True
    lines = [] if options.no_golden else differences(path, text)
    if lines:
        print(f"{path}: another transcript than the golden one", file=sys.stderr)
        print(*lines[:DIFFERENCES_SHOWN_MAX], sep="\n", file=sys.stderr)
        print(f"if this is right: python -m sim scenario {path} --bless, and read the difference", file=sys.stderr)
    return not lines
