"""Hold the documentation against the tree: links, anchors, files it names, make targets, commands, data in code blocks.

Run by `make docs`. Prints one line for each thing that is wrong (file, line, what) and ends with status 1 if there is
any. Not here: links to other sites, which a check without network cannot follow.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from chainnode.cli.main import PROGRAM, root
from chainnode.config import known_keys
from rpc.methods.catalogue import METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("chainnode", "consensus", "ledger", "p2p", "primitives", "rpc", "sim")
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|srcset|href)=\"([^\"]+)\"")
TAKEN_WHOLE = re.compile(r"^from (tests\.[\w.]+) import \*", re.MULTILINE)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
FENCE = re.compile(r"^\s*(```+|~~~+)\s*(\S*)")
TREE_PATH = re.compile(r"^\.?[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+)*/?(?:::[A-Za-z0-9_]+)?$")
MODULE = re.compile(rf"^(?:{'|'.join(PACKAGES)})(?:\.[a-z_][a-z0-9_]*)+$")
MAKE = re.compile(r"^(?:\$ )?make((?:\s+[^\s#]+)*)")
COMMAND = re.compile(rf"^(?:\$ )?(?:\.venv/bin/)?{PROGRAM}\s+(.+)$")
WRITTEN = {"var", "build", "dist"}
"""Directories that are no part of the tree, but what its programs write: they need not hold what a document names."""

SHELL_ENDS = {"|", ">", ">>", "&&", ";", "&", "<"}


@dataclass(frozen=True)
class Problem:
    """Something that a document claims and the tree does not hold."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Block:
    """A fenced code block: its language, the line it starts at and its text."""

    language: str
    line: int
    text: str


def documents() -> list[Path]:
    """Return the Markdown files that git knows or would add, in a defined order."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603  # fixed command
    return sorted({path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()})


def split(text: str) -> tuple[list[tuple[int, str]], list[Block]]:
    """Return a document's lines of prose, numbered from 1, and its fenced blocks."""
    prose: list[tuple[int, str]] = []
    blocks: list[Block] = []
    opened: tuple[str, str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence is not None:
            opened, inside = (fence[1], fence[2], number), []
        elif opened is None:
            prose.append((number, line))
        elif line.strip() == opened[0]:
            blocks.append(Block(opened[1], opened[2], "\n".join(inside)))
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        blocks.append(Block("unclosed", opened[2], "\n".join(inside)))
    return prose, blocks


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """Return the anchors that a Markdown renderer gives to a document's headings."""
    found: set[str] = set()
    for _, line in split(path.read_text("utf-8"))[0]:
        if (heading := HEADING.match(line)) is None:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[2]).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        repeats = sum(1 for other in found if re.fullmatch(re.escape(slug) + r"(-\d+)?", other))
        found.add(f"{slug}-{repeats}" if repeats else slug)
    return frozenset(found)


@cache
def targets() -> frozenset[str]:
    """Return the targets of the Makefile."""
    return frozenset(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def check_link(document: Path, target: str) -> str | None:
    """Return what is wrong with a link, or None."""
    if re.match(r"^[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    if not path.exists():
        return f"link to {target}: no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors_of(path):
        return f"link to {target}: no such heading"
    return None


def check_named(code: str) -> str | None:
    """Return what is wrong with a file, test, module, setting or command named in code style, or None."""
    if MAKE.match(code) or COMMAND.match(code):
        return check_shell(code)
    if MODULE.match(code):
        if code in METHODS or code in known_keys():
            return None
        parts = code.split(".")
        return None if module_exists(parts[0], parts[1]) else f"{code}: no such module"
    if "/" not in code or not TREE_PATH.match(code):
        return None
    top = code.split("/")[0]
    if top in WRITTEN or not (ROOT / top).exists():
        return None
    name, _, test = code.partition("::")
    path = ROOT / name
    if not path.exists():
        return f"{name}: no such file"
    return f"{code}: no such test" if test and not holds_test(path, test) else None


def holds_test(path: Path, test: str) -> bool:
    """Say whether a file defines a test, or takes all of a module that does."""
    text = path.read_text("utf-8")
    if re.search(rf"^\s*(?:async )?def {test}\b", text, re.MULTILINE):
        return True
    return any(holds_test(ROOT / f"{name.replace('.', '/')}.py", test) for name in TAKEN_WHOLE.findall(text))


def module_exists(package: str, name: str) -> bool:
    """Return whether a package has that module or subpackage."""
    return (ROOT / package / f"{name}.py").exists() or (ROOT / package / name).is_dir()


def check_shell(line: str) -> str | None:
    """Return what is wrong with a line for the shell that calls make or the command line, or None."""
    if (make := MAKE.match(line)) is not None:
        return check_make(make[1].split())
    if (command := COMMAND.match(line)) is not None:
        try:
            return check_command(shlex.split(command[1], comments=True))
        except ValueError as error:
            return f"{line}: {error}"
    return None


def check_make(words: list[str]) -> str | None:
    """Return the first word of a make command that is no target, as a complaint, or None."""
    for word in words:
        if "=" not in word and not word.startswith("-") and word not in targets():
            return f"make {word}: no such target"
    return None


def check_command(words: list[str]) -> str | None:
    """Return the first word of a command line that is no command or option of chainnode, as a complaint, or None.

    Words in capitals stand for what a reader puts there.
    """
    command: click.Command = root
    known = options_of(root)
    skip = False
    for word in words:
        if word in SHELL_ENDS:
            return None
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            if name not in known:
                return f"{PROGRAM}: {command.name} has no option {name}"
            skip = known[name] and not equals
        elif isinstance(command, click.Group):
            if word.isupper():
                return None
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"{PROGRAM}: {command.name} has no command {word}"
            command = found
            known |= options_of(found)
    return None


def options_of(command: click.Command) -> dict[str, bool]:
    """Return a command's options, and whether each takes a value."""
    options = {"--help": False, "-h": False}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            takes = not (parameter.is_flag or parameter.count)
            options |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], takes)
    return options


def check_block(block: Block) -> str | None:
    """Return what is wrong with a fenced block, or None."""
    match block.language:
        case "":
            return "code block without a language"
        case "unclosed":
            return "code block is never closed"
        case "json":
            return parsed(json.loads, block)
        case "toml":
            return parsed(tomllib.loads, block)
        case "python":
            return parsed(ast.parse, block)
        case "sh" | "console":
            lines = block.text.replace("\\\n", " ").splitlines()
            return next((wrong for line in lines if (wrong := check_shell(line.strip())) is not None), None)
        case _:
            return None


def parsed(parse: object, block: Block) -> str | None:
    """Return how a block fails to parse in the language that it names, or None."""
    assert callable(parse)
    try:
        parse(block.text)
    except (ValueError, SyntaxError) as error:
        return f"{block.language} block: {error}"
    return None


def problems_of(path: Path) -> Iterator[Problem]:
    """Yield everything that is wrong with one document."""
    prose, blocks = split(path.read_text("utf-8"))
    for number, line in prose:
        for match in LINK.finditer(INLINE_CODE.sub("`code`", line)):
            if (wrong := check_link(path, match[1] or match[2])) is not None:
                yield Problem(path, number, wrong)
        for match in INLINE_CODE.finditer(line):
            if (wrong := check_named(match[1])) is not None:
                yield Problem(path, number, wrong)
    for block in blocks:
        if (wrong := check_block(block)) is not None:
            yield Problem(path, block.line, wrong)


def main() -> int:
    """Check every document and return the exit status."""
    checked = documents()
    problems = [problem for path in checked for problem in problems_of(path)]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"docs: {len(checked)} documents hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
