"""Inputs at an edge or that once raised what they may not, and each target's valid inputs: all of them pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seed_inputs

CRASHES = Path(__file__).parent / "crashes"


KEPT = sorted(path for path in CRASHES.iterdir() if path.name != "README.md")


def target_of(path: Path) -> str:
    return path.name.partition("-")[0]


def test_every_target_has_inputs_that_are_kept() -> None:
    assert {target_of(path) for path in KEPT} == set(TARGETS)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_input_is_refused_or_taken(path: Path) -> None:
    TARGETS[target_of(path)](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_pass(name: str) -> None:
    inputs = list(seed_inputs(name))
    assert inputs
    for data in inputs:
        TARGETS[name](data)


def test_a_target_that_raises_anything_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.targets.decode_record", lambda data: {}[data])
    with pytest.raises(KeyError):
        TARGETS["record"](b"x")
