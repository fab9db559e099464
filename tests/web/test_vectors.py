"""Every published RFC 6962 proof is judged by the JavaScript verifier as its publisher says."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.test_rfc6962_vectors import files_of
from tests.web.node_fixtures import Node, RefusedByNode, running_node

pytestmark = pytest.mark.vectors


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def hex_of(text: str | None) -> str:
    return base64.b64decode(text or "", validate=True).hex()


def accepts(node: Node, op: str, vector: dict[str, Any], fields: dict[str, str]) -> bool:
    """Say whether the verifier accepts a vector, whose hashes are under these names there."""
    try:
        hashes = {ours: hex_of(vector[theirs]) for ours, theirs in fields.items()}
        path = [hex_of(item) for item in vector["proof"] or []]
    except binascii.Error:
        return False
    names = {"size": "treeSize", "index": "leafIdx", "size1": "size1", "size2": "size2"}
    sizes = {ours: str(vector[theirs]) for ours, theirs in names.items() if theirs in vector}
    try:
        node.ask(op, **hashes, **sizes, path=path)
    except RefusedByNode:
        return False
    return True


def is_good(path: Path, vector: dict[str, Any]) -> bool:
    return not (vector.get("wantErr") or path.name.startswith("invalid_"))


@pytest.mark.parametrize("path", files_of("inclusion"))
def test_published_inclusion_proof_is_judged_as_published(node: Node, path: Path) -> None:
    vector = json.loads(path.read_text())
    fields = {"root": "root", "leaf": "leafHash"}
    assert accepts(node, "merkleInclusion", vector, fields) == is_good(path, vector)


@pytest.mark.parametrize("path", files_of("consistency"))
def test_published_consistency_proof_is_judged_as_published(node: Node, path: Path) -> None:
    vector = json.loads(path.read_text())
    fields = {"root1": "root1", "root2": "root2"}
    assert accepts(node, "merkleConsistency", vector, fields) == is_good(path, vector)
