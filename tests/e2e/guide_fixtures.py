"""A guide whose console blocks are commands and what they printed: reading them, and running them on a real network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 400
# What is another on every network: hashes and keys, moments, heights and sizes that follow from them.
OTHERWISE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b(?:[0-9a-f]{16}|[0-9a-f]{32})\b"), "PART"),
    (re.compile(r"\bFTP-2026-07-00020[123]\b"), "DRAWN"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z"), "TIME"),
    (re.compile(r"(?<=by block )\d+|(?<=in the )\d+s(?= since)|(?<=got \()\d+, \d+(?=\))"), "N"),
    (re.compile(r"(?m)^(height|bytes|age_s|as_of|leaf|index|log_size)( +)\d+$"), r"\1\2N"),
    (re.compile(r"(?m)^(TIME +\S+ +\S+ +(?:yes|no)) +\d+"), r"\1 N"),
    (re.compile(r"(?m)^(fits_qr +)(?:yes|no)$"), r"\1EITHER"),  # paths are longer or shorter by chance
    (re.compile(r"(?m)^(cosigners +)\[.*\]$|^cosigned by \d of 4: .*$"), r"\1BANKS"),
    (re.compile(r"\b\d+(?= +HASH$)|(?<=as of block )\d+|(?<=in block )\d+(?= of )", re.MULTILINE), "N"),
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


def environment(directory: Path, samples: Path) -> dict[str, str]:
    """Return the environment of a reader whose localnet is in a directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAINNODE_")}
    return kept | {
        "CHAINNODE_LOCALNET": str(directory),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "K": str(directory / "keys"),
        "N": str(directory / "nodes"),
        "D": str(samples),
        "NO_COLOR": "1",
    }


def run(command: Sequence[str], directory: Path, work: Path, samples: Path) -> str:
    """Return what a program prints, on both outputs; it must end well."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        env=environment(directory, samples),
        cwd=work,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def alike(printed: str) -> str:
    """Return what was printed with what is another on every network left out."""
    for pattern, word in OTHERWISE:
        printed = pattern.sub(word, printed)
    return "\n".join(line.rstrip() for line in printed.strip().splitlines())


def played(script: Path, directory: Path, work: Path) -> list[Shown]:
    """Return the commands of a sample script with what each printed."""
    commands = script.read_text("utf-8").partition("\nset -v\n")[2].strip().splitlines()
    printed = run(["bash", str(script)], directory, work, script.parent)
    found = []
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        before, said, printed = printed.partition(f"{command}\n")
        assert said, (command, before[-1_000:])
        place = len(printed) if following is None else printed.index(f"{following}\n")
        found.append(Shown(command, printed[:place]))
        printed = printed[place:]
    return found


@dataclass(frozen=True)
class Guide:
    """A page, where its sample scripts lie, and which part of it each script plays.

    `first` plays what stands before the first of the headings; without it nothing does.
    """

    page: Path
    samples: Path
    headings: Mapping[str, str]
    first: str | None = None

    @property
    def text(self) -> str:
        """The page."""
        return self.page.read_text("utf-8")

    def parts(self) -> dict[str, str]:
        """Return what of the page each sample script plays, by the script's name."""
        first, *others = re.split(rf"(?m)^## ({'|'.join(self.headings)})$", self.text)
        named = {self.headings[heading]: text for heading, text in zip(others[::2], others[1::2], strict=True)}
        return named if self.first is None else {self.first: first} | named

    def scripts(self) -> dict[str, str]:
        """Return the sample scripts that the page makes, by name: head.sh, and the commands of the script's part."""
        head = (self.samples / "head.sh").read_text("utf-8")
        return {
            name: "\n".join([head.rstrip(), *(each.command for each in shown(part)), ""])
            for name, part in self.parts().items()
        }


CERTIFYING = Guide(
    ROOT / "docs" / "certifying.md",
    ROOT / "samples" / "certification",
    {"The mark": "mark.sh", "A recall": "recall.sh", "A random inspection": "inspection.sh"},
    first="life.sh",
)
FIRST_DAY = Guide(ROOT / "docs" / "payments.md", ROOT / "samples" / "first-day", {"A bank's first day": "first-day.sh"})
