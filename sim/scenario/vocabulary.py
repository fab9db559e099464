"""The registers of statements, values and expectations: each is a pattern, one sentence, and a function.

The functions stand in the modules that import this one; `docs/scenarios.md` shows every pattern and is held against
these registers by a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sim.scenario.words import Line, Match, Pattern, Unreadable

# The stage is typed Any because the modules that define it import this one; each function names the type it takes.
Action = Callable[[Any, Match], Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One form of the language: how it is written, what it means, what it does."""

    pattern: Pattern
    meaning: str
    action: Action


Register = list[Entry]
STATEMENTS: Final[Register] = []
VALUES: Final[Register] = []
EXPECTATIONS: Final[Register] = []


def _into(register: Register, usage: str, meaning: str) -> Callable[[Action], Action]:
    def keep(action: Action) -> Action:
        register.append(Entry(Pattern(usage), meaning, action))
        return action

    return keep


def statement(usage: str, meaning: str) -> Callable[[Action], Action]:
    """Register a function as what a statement does."""
    return _into(STATEMENTS, usage, meaning)


def value(usage: str, meaning: str) -> Callable[[Action], Action]:
    """Register a function as what makes the value of `let NAME = …`."""
    return _into(VALUES, usage, meaning)


def expectation(usage: str, meaning: str) -> Callable[[Action], Action]:
    """Register a function that returns (whether it holds, what is seen)."""
    return _into(EXPECTATIONS, usage, meaning)


def find(register: Register, what: str, line: Line, words: tuple[str, ...]) -> tuple[Entry, Match]:
    """Return the entry whose pattern fits the words; `Unreadable` names the patterns that come nearest."""
    for entry in register:
        found = entry.pattern.match(line, words)
        if found is not None:
            return entry, found
    reached = [
        (reach if entry.pattern.head or reach > 1 else 0, entry.pattern.usage)
        for entry in register
        for reach in [entry.pattern.reach(words)]
    ]
    most = max(reach for reach, _ in reached)
    if most == 0:
        raise Unreadable(line.number, f"not {_a(what)}", f"one of docs/scenarios.md's {what}s", " ".join(words))
    nearest = " or ".join(f"`{usage}`" for reach, usage in reached if reach == most)
    got = words[most] if most < len(words) else "the end of the line"
    raise Unreadable(line.number, f"not {_a(what)} of this form", nearest, f"{got!r} at word {most + 1}")


def _a(what: str) -> str:
    """Return a word with its article."""
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
