"""Every published RFC 6962 proof of the vectors' folder is accepted or refused as its publisher says.

The data is transparency-dev/merkle's; it is read in place and no part of this project.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primitives.errors import ProofError
from primitives.merkle import verify_consistency, verify_inclusion
from tests.verifier.verifier_fixtures import load

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CHAINNODE_VECTORS", REPOSITORY / ".." / "shared" / "vectors")) / "rfc6962"
pytestmark = pytest.mark.vectors


def files_of(name: str) -> list[Any]:
    """Return the folder's files as parameters, or one that skips and says why."""
    found = sorted(path for path in (FOLDER / name).glob("*") if path.is_file())
    if found:
        return [pytest.param(path, id=path.name) for path in found]
    reason = f"no published proofs in {FOLDER / name}: set CHAINNODE_VECTORS to the folder that holds rfc6962/"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def hash_of(text: str | None) -> bytes:
    return base64.b64decode(text or "", validate=True)


def judge(path: Path, verify: Callable[[dict[str, Any]], None]) -> None:
    """Assert that `verify` refuses the file exactly if its publisher or its name says so."""
    vector = json.loads(path.read_text())
    if vector.get("wantErr") or path.name.startswith("invalid_"):
        with pytest.raises((ProofError, binascii.Error)):  # the second where a hash is no base64
            verify(vector)
    else:
        verify(vector)


@pytest.mark.parametrize("path", files_of("inclusion"))
def test_published_inclusion_proof_is_judged_as_published(path: Path) -> None:
    judge(
        path,
        lambda vector: verify_inclusion(
            hash_of(vector["root"]),
            vector["treeSize"],
            vector["leafIdx"],
            hash_of(vector["leafHash"]),
            [hash_of(item) for item in vector["proof"] or []],
        ),
    )


@pytest.mark.parametrize("path", files_of("inclusion"))
def test_published_inclusion_proof_is_judged_as_published_by_the_verifier_of_one_file(path: Path) -> None:
    verifier = load()
    vector = json.loads(path.read_text())
    good = not (vector.get("wantErr") or path.name.startswith("invalid_"))
    try:
        hashes = hash_of(vector["root"]), hash_of(vector["leafHash"]), [hash_of(item) for item in vector["proof"] or []]
        verifier.check_leaf(hashes[0], vector["treeSize"], vector["leafIdx"], *hashes[1:])
    except (verifier.Refused, binascii.Error):
        assert not good
    else:
        assert good


@pytest.mark.parametrize("path", files_of("consistency"))
def test_published_consistency_proof_is_judged_as_published(path: Path) -> None:
    judge(
        path,
        lambda vector: verify_consistency(
            vector["size1"],
            hash_of(vector["root1"]),
            vector["size2"],
            hash_of(vector["root2"]),
            [hash_of(item) for item in vector["proof"] or []],
        ),
    )
