"""The form of the language: lines, words, and the patterns that a line is matched against.

A pattern is written as it is shown in the documentation: lower-case words stand for themselves, upper-case ones for a
word of a kind (`SLOTS`), `[…]` may be left out, `a|b` is one of several words. What a line means is in `vocabulary`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

UNITS_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
TIMEOUTS: Final = ("time-out", "time-outs")
_WORD: Final = re.compile(r'"[^"]*"|[^\s"#]+|#.*')
_AMOUNT: Final = re.compile(r"[+-]?\d{1,18}")
_TIME: Final = re.compile(rf"([+-]?\d{{1,18}})({'|'.join(UNITS_MS)})")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*'*")
_NODE: Final = re.compile(r"(?:bank-)?\d{1,9}|all|\*")

SLOTS: Final = {
    "NODE": "a node: `2` or `bank-2`",
    "NODES": "some nodes: `0 2`, or `all` (also `*`)",
    "COUNT": "a whole number",
    "TIME": "a time: `250 ms`, `3 s`, `2 min`, `24 h`, or `2 time-outs`",
    "NAME": "a name that `let` gave",
    "NAMES": "some of these names",
    "WORD": "a word",
    "TEXT": 'some text in quotes: `"like this"`',
    "OP": "`=`, `>=` or `<=`",
    "VALUE": "one of the forms of values",
    "EXPECTATION": "one of the forms of expectations",
    "KIND": "a kind of message: `pre-prepare`, `prepare`, `commit`, `view-change`, `new-view`, `batch` …, `anything`",
}


class ScenarioError(Exception):
    """A scenario file that cannot be understood, or whose expectation was not met: line, what, expected, got."""

    def __init__(self, line: int, what: str, expected: str = "", got: str = "") -> None:
        parts = [f"line {line}: {what}"]
        parts += [f"expected {expected}"] if expected else []
        parts += [f"got {got}"] if got else []
        super().__init__(", ".join(parts))
        self.line, self.what, self.expected, self.got = line, what, expected, got


class Unreadable(ScenarioError):
    """A line that nobody can mean, whatever the nodes do: it says nothing about the protocol."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statement: where it stands, its words, and itself as it was written."""

    number: int
    words: tuple[str, ...]
    text: str


def read_lines(text: str) -> Iterator[Line]:
    """Yield the statements of a file; empty lines and what follows a `#` are left out."""
    empty = True
    for number, raw in enumerate(text.splitlines(), 1):
        words = tuple(word for word in _WORD.findall(raw) if not word.startswith("#"))
        if raw.count('"') % 2:
            raise Unreadable(number, "a text without its end", 'a closing "', raw.strip())
        if words:
            empty = False
            yield Line(number, words, " ".join(words))
    if empty:
        raise Unreadable(1, "nothing to play", "a statement", "an empty file")


Found = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What the slots of a pattern hold, each under the word before it (the first one under its own kind)."""

    line: Line
    held: dict[str, Found] = field(default_factory=dict)

    def has(self, key: str) -> bool:
        """Say whether a part that may be left out is there."""
        return key in self.held

    def words(self, key: str) -> Found:
        """Return the words of a slot, none where it was left out."""
        return self.held.get(key, ())

    def word(self, key: str) -> str:
        """Return the one word of a slot."""
        return self.held[key][0]

    def count(self, key: str, default: int = 0) -> int:
        """Return the number of a slot."""
        return int(self.held[key][0]) if key in self.held else default

    def text(self, key: str) -> str:
        """Return the text of a slot without its quotes, empty where it was left out."""
        return self.held[key][0][1:-1] if key in self.held else ""

    def time(self, key: str, timeout_ms: int) -> int:
        """Return the milliseconds of a slot, 0 where it was left out."""
        words = self.held.get(key)
        if words is None:
            return 0
        unit = words[1] if len(words) == 2 else "ms"
        return int(words[0]) * (timeout_ms if unit in TIMEOUTS else UNITS_MS[unit])


@dataclass(frozen=True, slots=True)
class _Slot:
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class _Choice:
    words: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True)
class _Optional:
    parts: tuple[_Part, ...]


_Part = str | _Slot | _Choice | _Optional


class Pattern:
    """One form that a statement, value or expectation may have."""

    def __init__(self, usage: str) -> None:
        self.usage = usage
        pieces = usage.replace("[", " [ ").replace("]", " ] ").split()
        self._parts, rest = _parse(pieces, "")
        assert not rest, f"a pattern with a bracket too many: {usage}"

    @property
    def head(self) -> str:
        """The word by which the pattern is found, empty where it begins with a slot."""
        first = self._parts[0]
        return first if isinstance(first, str) else ""

    def match(self, line: Line, words: tuple[str, ...]) -> Match | None:
        """Return what the slots hold if all words fit."""
        for end, held in _match(self._parts, words, 0, {}):
            if end == len(words):
                return Match(line, held)
        return None

    def reach(self, words: tuple[str, ...]) -> int:
        """Return how many words fit from the start: for saying what is wrong with a line that does not."""
        deepest = [0]
        for _ in _match(self._parts, words, 0, {}, deepest):
            pass
        return deepest[0]


def _parse(pieces: list[str], before: str) -> tuple[tuple[_Part, ...], list[str]]:
    parts: list[_Part] = []
    while pieces:
        piece, pieces = pieces[0], pieces[1:]
        if piece == "]":
            return tuple(parts), ["]", *pieces]
        if piece == "[":
            inner, pieces = _parse(pieces, before)
            assert pieces[:1] == ["]"], "a bracket is closed"
            pieces = pieces[1:]
            parts.append(_Optional(inner))
            continue
        if piece.isupper() and piece.isalpha():
            assert piece in SLOTS, f"an unknown slot: {piece}"
            parts.append(_Slot(piece, before or piece.lower()))
        elif "|" in piece[1:]:
            parts.append(_Choice(tuple(piece.split("|")), before))
        else:
            parts.append(piece)
        before = "" if (piece.isupper() and piece.isalpha()) or "|" in piece[1:] else piece
    return tuple(parts), []


def _match(
    parts: tuple[_Part, ...], words: tuple[str, ...], at: int, held: dict[str, Found], deepest: list[int] | None = None
) -> Iterator[tuple[int, dict[str, Found]]]:
    """Yield each way in which the parts fit the words from `at` on."""
    if deepest is not None:
        deepest[0] = max(deepest[0], at)
    if not parts:
        yield at, held
        return
    first, rest = parts[0], parts[1:]
    match first:
        case str():
            if words[at : at + 1] == (first,):
                key = {} if first in held else {first: ()}
                yield from _match(rest, words, at + 1, {**key, **held}, deepest)
        case _Choice(choices, key):
            if at < len(words) and words[at] in choices:
                yield from _match(rest, words, at + 1, {**held, key: (words[at],)}, deepest)
        case _Optional(inner):
            yield from _match((*inner, *rest), words, at, held, deepest)
            yield from _match(rest, words, at, held, deepest)
        case _Slot(kind, key):
            for end in _ends(kind, words, at):
                found = words[at:end] if kind != "TIME" else _time_words(words[at:end])
                yield from _match(rest, words, end, {**held, key: found}, deepest)


def _ends(kind: str, words: tuple[str, ...], at: int) -> Iterator[int]:
    """Yield where a slot of a kind may end, the shortest first: a word of the pattern is no name."""
    if kind == "TIME":
        if at + 1 < len(words) and _AMOUNT.fullmatch(words[at]) and words[at + 1] in (*UNITS_MS, *TIMEOUTS):
            yield at + 2
        elif at < len(words) and _TIME.fullmatch(words[at]):
            yield at + 1
        return
    many = kind in ("NODES", "NAMES")
    end = at
    while end < len(words) and _fits(kind.removesuffix("S") if many else kind, words[end]):
        end += 1
        if not many:
            break
    yield from range(at + 1, end + 1)


def _fits(kind: str, word: str) -> bool:
    match kind:
        case "NODE":
            return _NODE.fullmatch(word) is not None
        case "COUNT":
            return _AMOUNT.fullmatch(word) is not None
        case "NAME":
            return NAME.fullmatch(word) is not None
        case "TEXT":
            return word.startswith('"')
        case "OP":
            return word in ("=", ">=", "<=")
        case _:
            return not word.startswith('"')


def _time_words(words: tuple[str, ...]) -> Found:
    short = _TIME.fullmatch(words[0])
    return words if short is None else (short[1], short[2])
