"""Check digits of the ids that holders are named by: what was published passes, and no single wrong character does."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

from ledger.holder_ids import is_holder_id, is_lei, is_uscc

LEIS = ("HWUPKR0MPOU8FGXBT394",)
USCCS = ("91110000600037341L",)


@pytest.mark.parametrize("text", [*LEIS, *USCCS])
def test_a_published_id_passes_by_its_own_scheme_alone(text: str) -> None:
    assert is_holder_id(text)
    assert (is_lei(text), is_uscc(text)) == (text in LEIS, text in USCCS)


@pytest.mark.parametrize("text", [*LEIS, *USCCS])
def test_no_single_wrong_character_of_its_class_passes(text: str) -> None:
    """A letter for a digit may pass an LEI's check, of which such a letter makes two digits."""
    for place, right in enumerate(text):
        for wrong in string.digits + string.ascii_uppercase:
            if wrong != right and (text in USCCS or wrong.isdigit() == right.isdigit()):
                assert not is_holder_id(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize("text", [*LEIS, *USCCS])
def test_no_two_neighbours_changed_pass(text: str) -> None:
    for place in range(len(text) - 1):
        changed = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert changed == text or not is_holder_id(changed)


@pytest.mark.parametrize("text", ["", "1", "9111000060003734\uff11L", "hwupkr0mpou8fgxbt394", "HWUPKR0MPOU8FGXBT394\n"])
def test_other_forms_do_not_pass(text: str) -> None:
    assert not is_holder_id(text)


def test_what_another_library_says_of_hundreds_of_ids_is_said_here() -> None:
    """Its verdicts are kept. It wants digits in a USCC's first places, of known divisions: so all of these have such.

    The standard does not, and rural collectives have codes that begin with N.
    """
    kept = json.loads((Path(__file__).parent / "holder_ids.json").read_text("utf-8"))
    assert len(kept["ids"]) > 300
    assert sum(uscc for _, uscc, _ in kept["ids"]) > 50
    assert sum(lei for _, _, lei in kept["ids"]) > 50
    assert [[text, is_uscc(text), is_lei(text)] for text, _, _ in kept["ids"]] == kept["ids"]
