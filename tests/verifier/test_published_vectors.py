"""The published vectors of proofs: the independent verifier comes to good ones' verdicts and refuses every bad one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.verifier.test_completeness_agreement import hexed
from tests.verifier.test_mutated_proofs import names_no_key
from tests.verifier.verifier_fixtures import BACKENDS, FOLDER, load

VECTORS = FOLDER.parent / "vectors"
KINDS = ("receipt", "handovers", "policy", "status", "completeness", "history", "checkpoint")
Json = dict[str, Any]


@cache
def vectors(kind: str) -> Json:
    return dict(json.loads((VECTORS / f"{kind}.json").read_text("utf-8")))


@cache
def policies() -> Json:
    found = json.loads((VECTORS / "policies.json").read_text("utf-8"))
    return dict(found.get("policies", found))


def spliced(data: bytes, splices: list[Any]) -> bytes:
    """Return bytes with splices applied, as vectors/README.md says."""
    parts, at = [], 0
    for offset, taken, put, *times in splices:
        parts += [data[at:offset], base64.b64decode(put) * (times[0] if times else 1)]
        at = offset + taken
    return b"".join((*parts, data[at:]))


def inputs_of(kind: str, vector: Json) -> Json:
    """Return the inputs of a vector, edited, with the proof and the policy as bytes."""
    good = {each["name"]: each["inputs"] for each in vectors(kind)["good"]}
    inputs = (good[vector["base"]] if "base" in vector else {}) | vector.get("inputs", {})
    edit = vector.get("edit", {})
    proof = inputs["proof"].encode()
    if "extra" in edit:
        head, line, rest = proof.split(b"\n", 2)
        extra = spliced(base64.b64decode(line.removeprefix(b"extra ")), edit["extra"])
        proof = b"\n".join((head, b"extra " + base64.b64encode(extra), rest))
    policy = policies()[inputs["policy"]].encode()
    return inputs | {"proof": spliced(proof, edit.get("proof", [])), "policy": spliced(policy, edit.get("policy", []))}


def verdict(backend: str, kind: str, inputs: Json) -> Json | None:
    """Return what the programs print, None where they refuse."""
    receipts, lists = load(backend), load(backend, "verify_completeness")
    module = lists if kind in ("completeness", "history") else receipts
    try:
        with module.step("text"):
            text, policy_text = inputs["proof"].decode(), inputs["policy"].decode()
        policy = module.Policy(policy_text)
        return dict(hexed(_verifier(module, kind, inputs)(text, policy)))
    except module.Refused:
        return None


def _verifier(module: Any, kind: str, inputs: Json) -> Callable[[str, Any], Json]:
    if kind == "completeness":
        return lambda text, policy: module.verify_page(text, policy, inputs["member"])  # type: ignore[no-any-return]  # an answer
    if kind == "history":
        return lambda text, policy: module.verify_history_page(text, policy, inputs["certificate"])  # type: ignore[no-any-return]  # an answer
    if kind == "checkpoint":
        return lambda text, policy: dict(module.Policy.check(policy, text, []).said)
    if kind == "status" and "certificate" in inputs:
        return lambda text, policy: module.verify_status(text, policy, inputs["certificate"], inputs.get("at_ms"))  # type: ignore[no-any-return]  # an answer
    if kind == "status":

        def of_any_key(text: str, policy: Any) -> Json:
            status, checkpoint = module.read_proof(text, module.STATUS, 2, policy)
            until_ms, is_newest = module.check_status(status, checkpoint)
            said = {"until_ms": until_ms, "is_newest": is_newest, "height": status.header.height}
            return said | {"time_ms": status.header.time_ms, "key": status.key, "value": status.value}

        return of_any_key
    return module.verify_receipt  # type: ignore[no-any-return]  # a function of the program


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_good_vector_comes_to_its_verdict(kind: str, backend: str) -> None:
    assert vectors(kind)["good"]
    for vector in vectors(kind)["good"]:
        found = verdict(backend, kind, inputs_of(kind, vector))
        assert found is not None, vector["name"]
        expected = {name: value for name, value in vector["verdict"].items() if name in found and name != "events"}
        shown = {name: found[name] for name in expected if not isinstance(expected[name], dict)}
        assert shown == {name: expected[name] for name in shown}, vector["name"]
        assert len(shown) > 3 or kind == "checkpoint"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_every_bad_vector_is_refused(kind: str) -> None:
    assert len(vectors(kind)["bad"]) > 200
    asked = [(vector["name"], inputs_of(kind, vector)) for vector in vectors(kind)["bad"]]
    accepted = {name: inputs for name, inputs in asked if verdict("pynacl", kind, inputs) is not None}
    assert [name for name, inputs in accepted.items() if not names_no_key(inputs["policy"].decode())] == []
