"""Playing a scenario: each line is a statement, a value or an expectation; the transcript says what it did.

An expectation that is not met, and a rule of the protocol that breaks, end the play with the line at which it happened.
"""

from __future__ import annotations

from typing import Final

from consensus.invariants import InvariantBroken
from primitives.errors import ChainError
from sim.scenario import actions, batches, craft, disks, expectations, governance, ledger_level, motions
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import EXPECTATIONS, STATEMENTS, find
from sim.scenario.words import Line, Match, Pattern, ScenarioError, Unreadable, read_lines

SLICE_MS: Final = 25
WITHIN: Final = "within"

VOCABULARY: Final = (actions, batches, craft, disks, expectations, governance, ledger_level, motions)
"""The modules that fill the registers."""


def play(text: str) -> list[str]:
    """Play a scenario and return its transcript; `ScenarioError` where it does not hold, or is `Unreadable`."""
    stage = Stage()
    for line in read_lines(text):
        stage.line = line.number
        stage.story.write(f"> {line.text}")
        try:
            _perform(stage, line)
        except InvariantBroken as broken:
            raise ScenarioError(line.number, f"a rule of the protocol is broken: {broken}") from broken
        except ChainError as error:
            raise ScenarioError(line.number, f"cannot be done: {error}") from error
        except ScenarioError as error:
            stage.story.write("")
            error.add_note("\n".join(stage.story.lines[-30:]))
            raise
    stage.story.write(f"> end, after {stage.elapsed_ms / 1_000:.3f} s")
    return stage.story.lines


def _perform(stage: Stage, line: Line) -> None:
    match line.words[0]:
        case "expect":
            _expect(stage, line)
        case "let":
            actions.let(stage, Match(line))
        case _:
            entry, found = find(STATEMENTS, "statement", line, line.words)
            entry.action(stage, found)


def _expect(stage: Stage, line: Line) -> None:
    words = line.words[1:]
    negated = words[:1] == ("not",)
    words = words[1:] if negated else words
    limit_ms: int | None = None
    if WITHIN in words:
        at = words.index(WITHIN)
        words, limit_ms = words[:at], _limit_ms(stage, line, words[at + 1 :])
    entry, found = find(EXPECTATIONS, "expectation", line, words)
    began_ms = stage.world.now_ms
    holds, seen = entry.action(stage, found)
    while limit_ms is not None and holds is negated and stage.world.now_ms < began_ms + limit_ms:
        stage.world.run_until(min(stage.world.now_ms + SLICE_MS, began_ms + limit_ms))
        holds, seen = entry.action(stage, found)
    if holds is negated:
        waited = "" if limit_ms is None else f" after {limit_ms} ms"
        raise ScenarioError(line.number, "not met", " ".join(line.words[1:]), f"{seen}{waited}")
    after = "" if limit_ms is None else f", after {(stage.world.now_ms - began_ms) / 1_000:.3f} s"
    stage.story.write(f"    yes{after}: {seen}")


def _limit_ms(stage: Stage, line: Line, words: tuple[str, ...]) -> int:
    found = Pattern("within TIME").match(line, (WITHIN, *words))
    if found is None:
        raise Unreadable(line.number, "a limit", "within TIME", " ".join(words))
    return stage.lasting(found, WITHIN)
