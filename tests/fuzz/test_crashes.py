"""Inputs that once raised what they may not, and each target's valid inputs: all of them pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seed_inputs

CRASHES = Path(__file__).parent / "crashes"


def test_inputs_that_once_crashed_are_refused_or_taken() -> None:
    for path in sorted(path for path in CRASHES.iterdir() if path.name != "README.md"):
        TARGETS[path.name.split("-")[0]](path.read_bytes())


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
