"""A guide whose console blocks are commands and what they printed: reading them, and running them on a real network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "certifying.md"
SAMPLES = ROOT / "samples" / "certification"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPTS = {"The mark": "mark.sh", "A recall": "recall.sh", "A random inspection": "inspection.sh"}
PATIENCE_S = 400
# What is another on every network: hashes and keys, moments, heights and sizes that follow from them.
OTHERWISE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b(?:[0-9a-f]{16}|[0-9a-f]{32})\b"), "PART"),
    (re.compile(r"\bFTP-2026-07-00020[123]\b"), "DRAWN"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z"), "TIME"),
    (re.compile(r"(?<=by block )\d+|(?<=in the )\d+s(?= since)|(?<=got \()\d+, \d+(?=\))"), "N"),
    (re.compile(r"(?m)^(height|bytes|age_s|as_of)( +)\d+$"), r"\1\2N"),
    (re.compile(r"(?m)^(TIME +\S+ +\S+ +(?:yes|no)) +\d+"), r"\1 N"),
    (re.compile(r"(?m)^(fits_qr +)(?:yes|no)$"), r"\1EITHER"),  # paths are longer or shorter by chance
    (re.compile(r"(?m)^(cosigners +)\[.*\]$"), r"\1BANKS"),
    (re.compile(r"(?m)(  +|-{3,})"), "  "),
)


@dataclass(frozen=True)
class Shown:
    """A command of the guide, and what it printed there."""

    command: str
    printed: str


def shown(page: str) -> Iterator[Shown]:
    """Yield the commands of a page with what stands below each."""
    for block in BLOCK.findall(page):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, printed = part.partition("\n")
            yield Shown(command, printed)


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of a reader whose localnet is in a directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAINNODE_")}
    return kept | {
        "CHAINNODE_LOCALNET": str(directory),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "K": str(directory / "keys"),
        "D": str(SAMPLES),
        "NO_COLOR": "1",
    }


def run(command: Sequence[str], directory: Path, work: Path) -> str:
    """Return what a program prints, on both outputs; it must end well."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        env=environment(directory),
        cwd=work,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def played(name: str, directory: Path, work: Path) -> list[Shown]:
    """Return the commands of a sample script with what each printed."""
    commands = (SAMPLES / name).read_text("utf-8").partition("\nset -v\n")[2].strip().splitlines()
    printed = run(["bash", str(SAMPLES / name)], directory, work)
    found = []
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        before, said, printed = printed.partition(f"{command}\n")
        assert said, (command, before[-1_000:])
        place = len(printed) if following is None else printed.index(f"{following}\n")
        found.append(Shown(command, printed[:place]))
        printed = printed[place:]
    return found


def alike(printed: str) -> str:
    """Return what was printed with what is another on every network left out."""
    for pattern, word in OTHERWISE:
        printed = pattern.sub(word, printed)
    return "\n".join(line.rstrip() for line in printed.strip().splitlines())


def parts(page: str) -> dict[str, str]:
    """Return what of a page each sample script plays, by the script's name."""
    first, *others = re.split(r"(?m)^## (The mark|A recall|A random inspection)$", page)
    return {"life.sh": first} | {
        SCRIPTS[heading]: text for heading, text in zip(others[::2], others[1::2], strict=True)
    }


def scripts(page: str) -> dict[str, str]:
    """Return the sample scripts that a page makes, by name: head.sh, and the commands of the script's part."""
    head = (SAMPLES / "head.sh").read_text("utf-8")
    return {
        name: "\n".join([head.rstrip(), *(each.command for each in shown(part)), ""])
        for name, part in parts(page).items()
    }
