"""The published vectors of proofs: JavaScript proves what the good ones prove, and refuses all bad ones, soon."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.vectors.proof_files import KINDS, bad_inputs, good_inputs, load, policies
from tests.web.node_fixtures import Node, RefusedByNode, has_noble, running_node

JUDGED = tuple(kind for kind in KINDS if kind != "fork")
CRYPTOS = ["node", *(["noble"] if has_noble() else [])]
REFUSED_WITHIN_S = 5.0
"""By the clock, on a machine that may do other things as well."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def sent(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in inputs.items()}


def said_of(ours: Any, theirs: Any) -> Any:
    """Return of a published verdict what the JavaScript one has fields for."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {name: said_of(value, theirs.get(name)) for name, value in ours.items()}
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [said_of(one, other) for one, other in zip(ours, theirs, strict=True)]
    return theirs


@pytest.mark.parametrize("crypto", CRYPTOS)
@pytest.mark.parametrize("kind", JUDGED)
def test_every_good_vector_proves_what_is_published(node: Node, kind: str, crypto: str) -> None:
    known = policies()
    for vector in load(kind)["good"]:
        ours = node.ask("vector", kind=kind, inputs=sent(good_inputs(vector, known)), crypto=crypto)
        assert ours == said_of(ours, vector["verdict"]), vector["name"]
        assert len(ours) >= (1 if "verified" in vector["verdict"] else 7), vector["name"]


@pytest.mark.parametrize("kind", JUDGED)
def test_every_bad_vector_is_refused(node: Node, kind: str) -> None:
    file, known = load(kind), policies()
    good = {vector["name"]: vector for vector in file["good"]}
    accepted, slow = [], []
    for vector in file["bad"]:
        inputs = sent(bad_inputs(vector, good[vector["base"]], known))
        begin = time.perf_counter()
        try:
            node.ask("vector", kind=kind, inputs=inputs)
            accepted.append(vector["name"])
        except RefusedByNode:
            if time.perf_counter() - begin > REFUSED_WITHIN_S:
                slow.append(vector["name"])
    assert (accepted, slow) == ([], [])
