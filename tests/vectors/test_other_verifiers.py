"""The published vectors of proofs in the two verifiers that share no code with the node: in Python, and in JavaScript.

They stand for whoever verifies what an earlier release made: each proves what is published and refuses all that is to
be refused. A text that is no UTF-8 is refused by their programs, which read the file, not by the functions behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ledger.times import format_time
from tests.vectors.proof_files import KINDS, Inputs, Json, bad_inputs, good_inputs, load, policies
from tests.verifier.verifier_fixtures import BACKENDS, FOLDER
from tests.verifier.verifier_fixtures import load as load_verifier
from tests.web.node_fixtures import VERIFIER, Node, RefusedByNode, node_program, running_node

TREES = ("inclusion", "consistency")
JUDGED = tuple(kind for kind in KINDS if kind != "fork")
"""Forks are for who follows the log, not for who is given a proof."""
IN_PYTHON = tuple(kind for kind in JUDGED if kind != "consistency")
"""The verifier in Python judges single proofs: it has no use for a consistency proof."""
UNDECODABLE_MAX = 3
REFUSED = 3
Said = Mapping[str, Any]
Judge = Callable[[str, Inputs], Said]


class Refused(Exception):
    """A verifier refuses: at which step, and why."""


def refused_by(step: str, why: str, kind: str) -> Refused:
    """Return the refusal, which must say at which step of the verification it came; a tree alone has none."""
    assert why
    assert step or kind in TREES
    return Refused(step, why)


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    return policies()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def texts_of(inputs: Inputs) -> tuple[str, str]:
    """Return proof and policy as text; Refused where they are none."""
    try:
        return inputs["proof"].decode(), inputs["policy"].decode()
    except UnicodeDecodeError as error:
        raise Refused("not UTF-8") from error


# --- Python


def in_python(backend: str) -> Judge:
    """Return what the verifier in Python says, with one library or the other."""
    receipts, lists = load_verifier(backend), load_verifier(backend, "verify_completeness")

    def judge(kind: str, inputs: Inputs) -> Said:
        if kind == "inclusion":
            root, leaf, *path = (bytes.fromhex(item) for item in (inputs["root"], inputs["leaf"], *inputs["path"]))
            receipts.check_leaf(root, int(inputs["size"]), int(inputs["index"]), leaf, path)
            return {}
        proof, policy_text = texts_of(inputs)
        policy = receipts.Policy(policy_text)
        if kind == "checkpoint":
            return dict(policy.check(proof, []).said)
        if kind == "status":
            number = inputs.get("certificate", "FTP-2026-06-000001")
            return dict(receipts.verify_status(proof, policy, number, inputs.get("at_ms")))
        if kind == "completeness":
            return dict(lists.verify_completeness(proof, policy, inputs["member"]))
        if kind == "history":
            return dict(lists.verify_history_page(proof, policy, inputs["certificate"]))
        return dict(receipts.verify_receipt(proof, policy))

    def judged(kind: str, inputs: Inputs) -> Said:
        try:
            return judge(kind, inputs)
        except (receipts.Refused, lists.Refused) as refused:
            raise refused_by(*refused.args, kind) from None

    return judged


def plain(value: Any) -> Any:  # Any: a field of a verdict
    """Return a value as it stands in a file of vectors."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def python_agrees(kind: str, vector: Json, said: Said) -> None:
    """Assert that a verdict is the published one, in whatever both of them tell."""
    verdict = vector["verdict"]
    told = plain(said)
    if kind == "status":
        status = verdict.pop("status", None)
        told_status = told.pop("status")
        assert told_status == (None if status is None else status["status"])
    if kind == "history":
        told["status"] = {}
        verdict = {**verdict["status"], **verdict}
    if "events" in verdict:
        ids = [event["event_id"] for event in told.pop("events")]
        assert ids == [event["event_id"] for event in verdict["events"]]
    if kind == "checkpoint":
        verdict = {**verdict, "log_size": verdict["size"]}
    shared = {name for name in told if name in verdict and name not in ("event", "status")}
    assert {name: told[name] for name in shared} == {name: verdict[name] for name in shared}
    assert len(shared) >= (0 if kind == "inclusion" else 5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", IN_PYTHON)
def test_python_judges_as_published(kind: str, backend: str, known: dict[str, str]) -> None:
    file, judge = load(kind), in_python(backend)
    for vector in file["good"]:
        if kind == "status" and "certificate" not in vector["inputs"]:
            continue  # its program verifies the status of certificates alone
        python_agrees(kind, vector, judge(kind, good_inputs(vector, known)))
    assert accepted(kind, file, known, judge) == []


def accepted(kind: str, file: Json, known: Mapping[str, str], judge: Judge) -> list[str]:
    """Return the names of bad vectors that a verifier takes for good."""
    good = {vector["name"]: vector for vector in file["good"]}
    found = []
    for vector in file["bad"]:
        try:
            judge(kind, bad_inputs(vector, good[vector["base"]], known))
        except Refused:
            continue
        found.append(vector["name"])
    return found


# --- JavaScript


def in_javascript(node: Node, file: Json) -> Judge:
    """Return what the verifier in JavaScript says."""

    def judge(kind: str, inputs: Inputs) -> Said:
        if kind == "inclusion":
            fields = {name: inputs[name] for name in ("root", "leaf", "size", "index", "path")}
            return node.ask("merkleInclusion", **fields) or {}
        if kind == "consistency":
            names = {"size1": "old_size", "root1": "old_root", "size2": "new_size", "root2": "new_root", "path": "path"}
            return node.ask("merkleConsistency", **{ours: inputs[theirs] for ours, theirs in names.items()}) or {}
        proof, policy = texts_of(inputs)
        if kind == "checkpoint":
            return dict(node.ask("consistency", older=proof, newer=proof, path=[], policy=policy))
        options = {name: inputs[name] for name in ("certificate", "member") if name in inputs}
        if "at_ms" in inputs:
            options["at"] = format_time(inputs["at_ms"])
        return dict(node.verify(proof, policy, **options))

    def judged(kind: str, inputs: Inputs) -> Said:
        try:
            return judge(kind, inputs)
        except RefusedByNode as refused:
            raise refused_by(refused.step, refused.what, kind) from None

    return judged


def javascript_agrees(kind: str, verdict: Json, said: Said) -> None:
    """Assert that a verdict, told as `chainnode verify` tells it, is the published one."""
    same = ["chain_id", "height", "log_size", "cosigners"]
    if kind in TREES:
        return
    if kind == "checkpoint":
        assert said["new"] == {"size": verdict["size"], "root": verdict["root"], "cosigners": verdict["cosigners"]}
        return
    told = verdict["status"] if kind == "history" else verdict
    assert {name: said[name] for name in same if name in told and name in said} == {
        name: told[name] for name in same if name in told and name in said
    }
    assert {name: said["cosigned"][name] for name in ("by", "of", "epoch")} == {
        "by": len(told["cosigners"]),
        "of": told["witnesses"],
        "epoch": told["epoch"],
    }
    if kind == "status":
        status = verdict["status"]
        assert (said["exists"], said["status"]) == (status is not None, None if status is None else status["status"])
    elif kind == "history":
        named = ("height", "log_index")
        events = [(event["id"], *(event[name] for name in named)) for event in said["events"]]
        assert events == [(event["event_id"], *(event[name] for name in named)) for event in verdict["events"]]
    elif kind == "completeness":
        assert said["event_ids"] == [event["event_id"] for event in verdict["events"]]
        named = ("member", "from_height", "to_height")
        assert [said[name] for name in named] == [verdict[name] for name in named]
        assert (said["events"], said["batches"]) == (len(verdict["events"]), verdict["batch_count"])
    else:
        named = ("event_id", "member", "source", "index", "log_index", "batch_number")
        assert [said[name] for name in named] == [verdict[name] for name in named]
        outcome = {"applied": verdict["applied"], "rule": verdict["rule"] or None, "detail": verdict["detail"] or None}
        assert said["outcome"] == outcome
        assert (said["reference"], said["body_hex"]) == (verdict["event"]["reference"], verdict["event"]["body"])


def javascript_inputs(kind: str, vector: Json, inputs: Inputs) -> Inputs:
    """Return the inputs with the time of the block where none is asked for: JavaScript takes the last one proved."""
    if kind == "status" and "at_ms" not in inputs and "certificate" in inputs:
        return {**inputs, "at_ms": vector["verdict"]["time_ms"]}
    return inputs


@pytest.mark.parametrize("kind", JUDGED)
def test_javascript_judges_as_published(kind: str, node: Node, known: dict[str, str]) -> None:
    file = load(kind)
    judge = in_javascript(node, file)
    for vector in file["good"]:
        inputs, verdict = good_inputs(vector, known), vector["verdict"]
        if kind == "status" and "certificate" not in inputs:
            continue
        if kind == "history" and len(verdict["events"]) < verdict["count"]:
            with pytest.raises(Refused):  # one page of several: only all of them are taken
                judge(kind, inputs)
            continue
        javascript_agrees(kind, verdict, judge(kind, javascript_inputs(kind, vector, inputs)))
    assert accepted(kind, file, known, judge) == []


# --- their programs


def undecodable(kind: str, known: Mapping[str, str]) -> Iterator[Inputs]:
    """Yield the inputs of bad vectors whose text is no UTF-8."""
    file = load(kind)
    good = {vector["name"]: vector for vector in file["good"]}
    for vector in file["bad"]:
        inputs = bad_inputs(vector, good[vector["base"]], known)
        try:
            texts_of(inputs)
        except Refused:
            yield inputs


@pytest.mark.parametrize("kind", [kind for kind in JUDGED if kind not in (*TREES, "handovers")])
def test_programs_refuse_what_is_no_text(kind: str, known: dict[str, str], tmp_path: Path) -> None:
    proof, policy = tmp_path / "proof", tmp_path / "policy"
    seen = 0
    for inputs in islice(undecodable(kind, known), UNDECODABLE_MAX):
        proof.write_bytes(inputs["proof"])
        policy.write_bytes(inputs["policy"])
        about = ["--member", "bank-1"] if kind == "completeness" else []
        about += ["--certificate", inputs["certificate"]] if "certificate" in inputs else []
        program = "verify_completeness.py" if kind in ("completeness", "history") else "verify_receipt.py"
        for command in ([sys.executable, str(FOLDER / program)], [str(node_program()), str(VERIFIER / "cli.mjs")]):
            ran = subprocess.run(
                [*command, str(proof), "--policy", str(policy), *about], capture_output=True, text=True, timeout=60
            )
            assert ran.returncode == REFUSED, ran.stderr
            assert json.loads(ran.stdout)["step"]
        seen += 1
    assert seen > 0
