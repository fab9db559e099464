"""Every error is one printable, bounded line, whatever a peer put into it."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import (
    SENTENCE_CHARACTERS_MAX,
    SHOWN_CHARACTERS_MAX,
    ChainError,
    EncodingError,
    InputError,
    ProofError,
    SignatureError,
    StorageError,
    UsageError,
    describe,
)

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=600)  # surrogates and controls too
ANY_VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.binary(max_size=300), ANY_TEXT, st.lists(ANY_TEXT, max_size=3)
)


@given(ANY_TEXT, st.none() | ANY_TEXT, ANY_VALUE, ANY_VALUE, st.none() | ANY_TEXT)
def test_every_error_is_one_printable_line_that_can_be_encoded(
    what: str, where: str | None, expected: object, got: object, hint: str | None
) -> None:
    error = InputError(what, where=where, expected=expected, got=got, hint=hint)
    line = str(error)
    assert line.isprintable()
    assert "\n" not in line
    line.encode()
    assert line == describe(what, where=where, expected=expected, got=got, hint=hint)
    assert len(line) <= 2 * SENTENCE_CHARACTERS_MAX + 3 * SHOWN_CHARACTERS_MAX + 30
    for shown in (error.what, error.where, error.expected, error.got, error.hint):
        assert shown is None or (shown.isprintable() and len(shown) <= SENTENCE_CHARACTERS_MAX)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "a thing is wrong"),
        ({"where": "genesis.json"}, "genesis.json: a thing is wrong"),
        ({"expected": 1, "got": 2}, "a thing is wrong: expected 1, got 2"),
        ({"expected": 0, "got": False}, "a thing is wrong: expected 0, got False"),
        ({"got": b"\x00\xff"}, "a thing is wrong: got 00ff"),
        ({"got": bytearray(b"\x01")}, "a thing is wrong: got 01"),
        ({"got": memoryview(b"\x02\x03")}, "a thing is wrong: got 0203"),
        ({"where": "x", "expected": "a", "got": "b", "hint": "do c"}, "x: a thing is wrong: expected a, got b; do c"),
        ({"got": "two\r\nlines\x0b\u2028more"}, "a thing is wrong: got two lines more"),
        ({"got": "\x1b[31mred\x00"}, r"a thing is wrong: got \x1b[31mred\x00"),
        ({"where": "bank\n2026 INFO all is well"}, "bank 2026 INFO all is well: a thing is wrong"),
        ({"where": "\u202eknab"}, r"\u202eknab: a thing is wrong"),
        ({"got": "\ud800"}, r"a thing is wrong: got \ud800"),
        ({"got": "Überweisung — 5 €"}, "a thing is wrong: got Überweisung — 5 €"),
        ({"got": 10**5000}, "a thing is wrong: got int too long to show"),
        ({"hint": "line\nline"}, "a thing is wrong; line line"),
    ],
)
def test_error_says_where_what_was_expected_what_was_there_and_what_to_do(
    arguments: dict[str, object], line: str
) -> None:
    assert describe("a thing is wrong", **arguments) == line  # type: ignore[arg-type]  # a table


def test_value_of_the_longest_length_is_shown_whole_and_a_longer_one_is_cut() -> None:
    whole = "x" * SHOWN_CHARACTERS_MAX
    assert describe("w", got=whole) == f"w: got {whole}"
    assert describe("w", got=whole + "y") == f"w: got {'x' * (SHOWN_CHARACTERS_MAX - 1)}…"
    assert describe("w", got=bytes(60)) == f"w: got {'00' * 60}"
    assert describe("w", got=bytes(61)) == f"w: got {'0' * (SHOWN_CHARACTERS_MAX - 1)}…"
    assert len(describe("w" * 10_000)) == SENTENCE_CHARACTERS_MAX


def test_tree_of_errors_tells_whose_fault_it_is() -> None:
    for fault in (EncodingError, SignatureError, ProofError):
        assert issubclass(fault, InputError)
    for other in (UsageError, StorageError):
        assert issubclass(other, ChainError)
        assert not issubclass(other, InputError)
    reasons = [e.reason for e in (ChainError, InputError, EncodingError, SignatureError, ProofError, UsageError)]
    assert len({*reasons, StorageError.reason}) == 7


def test_error_survives_copying_and_pickling_between_threads_and_processes() -> None:
    error = ProofError("a root", where="tile 3", expected=b"\x01", got=b"\x02", hint="fetch it again")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is ProofError
        assert str(twin) == str(error)
        assert (twin.expected, twin.got) == ("01", "02")
