"""The published vectors of proofs: the product proves what they prove and refuses all that they refuse, and says where.

The files are what an earlier release made, and are verified as they stand. That the generator still makes files of the
same structure is held beside it, so that nothing can be added to one without the other.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ledger.certificate_history import HISTORY_VERSION
from ledger.completeness import COMPLETENESS_VERSION
from ledger.forks import VERSION as FORK_VERSION
from ledger.receipts import RECEIPT_VERSION
from ledger.status_proofs import STATUS_PROOF_VERSION
from primitives.errors import InputError
from tests.vectors.proof_files import FORMAT, KINDS, bad_inputs, good_inputs, judge, load, policies, spliced, splices_of
from tests.vectors.proof_making import made_files

BAD_MIN = 200
REFUSED_WITHIN_S = 0.5
"""CPU time: nothing that a prover sends may cost a verifier more than what an honest proof of that size costs."""
FLIPPED = re.compile(r"a bit flipped in part")


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, Any]]:
    return {kind: load(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    return policies()


@pytest.mark.parametrize("kind", KINDS)
def test_every_good_vector_proves_what_is_published(kind: str, files: dict[str, Any], known: dict[str, str]) -> None:
    for vector in files[kind]["good"]:
        assert judge(kind, good_inputs(vector, known)) == vector["verdict"], vector["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_bad_vector_is_refused_and_the_step_is_told(
    kind: str, files: dict[str, Any], known: dict[str, str]
) -> None:
    good = {vector["name"]: vector for vector in files[kind]["good"]}
    wrong = []
    for vector in files[kind]["bad"]:
        inputs = bad_inputs(vector, good[vector["base"]], known)
        started = time.thread_time()
        try:
            said = judge(kind, inputs)
        except InputError as error:
            named = bool(error.where) or kind in ("inclusion", "consistency")
            if not (error.where or "").startswith(vector.get("step", "")) or not named:
                wrong.append((vector["name"], vector.get("step"), str(error)))
        else:
            wrong.append((vector["name"], vector.get("step"), f"verified: {said}"))
        if time.thread_time() - started > REFUSED_WITHIN_S:
            wrong.append((vector["name"], "", "took too long"))
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_vectors_each_of_which_changes_something(
    kind: str, files: dict[str, Any], known: dict[str, str]
) -> None:
    file = files[kind]
    assert (file["format"], file["kind"]) == (FORMAT, kind)
    assert file["counts"] == {"good": len(file["good"]), "bad": len(file["bad"])}
    assert len(file["bad"]) >= BAD_MIN
    good = {vector["name"]: vector for vector in file["good"]}
    assert len(good) == len(file["good"])
    assert len({vector["name"] for vector in file["bad"]}) == len(file["bad"])
    seen: dict[str, str] = {}
    for vector in file["bad"]:
        inputs = bad_inputs(vector, good[vector["base"]], known)
        assert inputs != good_inputs(good[vector["base"]], known), vector["name"]
        assert seen.setdefault(repr(inputs), vector["name"]) == vector["name"]


def test_the_vectors_are_of_the_versions_that_this_release_makes(files: dict[str, Any]) -> None:
    """Who raises a version keeps the old files beside the new ones, see `vectors/README.md`."""
    assert {kind: file["proof_version"] for kind, file in files.items() if "proof_version" in file} == {
        "receipt": RECEIPT_VERSION,
        "handovers": RECEIPT_VERSION,
        "status": STATUS_PROOF_VERSION,
        "completeness": COMPLETENESS_VERSION,
        "history": HISTORY_VERSION,
        "fork": FORK_VERSION,
    }


def structure(file: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return what a file's vectors are, without their bytes; flipped bits may hit what nobody reads."""
    bad = [(each["name"], each["base"], each.get("step", ""), *sorted(each.get("edit", ()))) for each in file["bad"]]
    return [(each["name"], *sorted(each["inputs"])) for each in file["good"]] + [
        each for each in bad if not FLIPPED.search(each[0])
    ]


@pytest.mark.timeout(600)  # it makes and judges every vector: 12 s of CPU time
def test_the_generator_makes_files_of_the_same_structure(files: dict[str, Any], known: dict[str, str]) -> None:
    made = made_files()
    assert list(made) == ["policies", *KINDS]
    assert made["policies"]["policies"].keys() == known.keys()
    for kind in KINDS:
        assert structure(made[kind]) == structure(files[kind]), kind


def test_splices_lead_from_one_text_to_another() -> None:
    for old, new in (
        (b"abcdef", b"abXdef"),
        (b"aaaa", b"aa"),
        (b"", b"x"),
        (b"0123456789", b"x12345678y"),
        (b"ab", b"ba"),
    ):
        assert spliced(old, splices_of(old, new)) == new
