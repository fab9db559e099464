"""The files of published vectors: what a vector is, how a bad one follows from a good one, and the product's verdict.

A bad vector names the good one that it was made of and what is changed: `extra` splices the decoded extra data of the
proof, then `proof` splices the text that this gives, `policy` the policy's text; or other inputs stand in it as they
are. A splice is [offset, bytes taken away, base64 of bytes put there, how often]; the last is left out where it is 1,
and offsets are those before all of them. The format is told to those who write another verifier in `vectors/README.md`.
Not here: making them (`scripts/make_proof_vectors.py`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from msgspec import Struct

from ledger.certificate_history import verify_certificate_history
from ledger.completeness import verify_completeness
from ledger.forks import verify_fork
from ledger.receipts import verify
from ledger.status_proofs import certificate_status, verify_status
from ledger.trust_policy import parse_policy
from primitives.errors import ProofError
from primitives.merkle import verify_consistency, verify_inclusion

FOLDER = Path(__file__).resolve().parents[2] / "vectors"
FORMAT = "chainnode-proof-vectors/1"
KINDS = (
    "inclusion",
    "consistency",
    "checkpoint",
    "policy",
    "receipt",
    "handovers",
    "status",
    "completeness",
    "history",
    "fork",
)
Json = dict[str, Any]  # Any: what a JSON decoder gives
Inputs = dict[str, Any]
Splice = tuple[int, int, bytes]
_EXTRA = b"extra "
LONG = 4_096
UNIT = 64


def load(kind: str) -> Json:
    """Return the file of a kind of proof."""
    found: Json = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
    return found


def policies() -> dict[str, str]:
    """Return the policies that vectors name."""
    found: dict[str, str] = json.loads((FOLDER / "policies.json").read_text("utf-8"))["policies"]
    return found


def good_inputs(vector: Mapping[str, Any], known: Mapping[str, str]) -> Inputs:
    """Return what a verifier is given of a good vector: texts as bytes, everything else as it stands."""
    return _resolved(vector["inputs"], known)


def bad_inputs(vector: Mapping[str, Any], good: Mapping[str, Any], known: Mapping[str, str]) -> Inputs:
    """Return what a verifier is given of a bad vector, whose base is `good`."""
    inputs = _resolved({**good["inputs"], **vector.get("inputs", {})}, known)
    edit = vector.get("edit", {})
    if "extra" in edit:
        inputs["proof"] = with_extra(inputs["proof"], spliced(extra_of(inputs["proof"]), _read(edit["extra"])))
    for name in ("proof", "policy"):
        if name in edit:
            inputs[name] = spliced(inputs[name], _read(edit[name]))
    return inputs


def _resolved(inputs: Mapping[str, Any], known: Mapping[str, str]) -> Inputs:
    found = dict(inputs)
    if "proof" in found:
        found["proof"] = found["proof"].encode()
    if "policy" in found:
        found["policy"] = known[found["policy"]].encode()
    return found


def _read(splices: Sequence[Sequence[Any]]) -> list[Splice]:
    return [
        (offset, taken, base64.b64decode(put, validate=True) * (times[0] if times else 1))
        for offset, taken, put, *times in splices
    ]


def spliced(data: bytes, splices: Sequence[Splice]) -> bytes:
    """Return bytes with parts replaced; offsets ascend, and are those of the bytes before any change."""
    parts, at = [], 0
    for offset, taken, put in splices:
        parts += [data[at:offset], put]
        at = offset + taken
    return b"".join((*parts, data[at:]))


def splices_of(old: bytes, new: bytes) -> list[Splice]:
    """Return splices that make `new` of `old`: of each run of bytes that differ if both are as long, else of one."""
    if len(old) != len(new):
        start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        return [(start, len(old) - end - start, new[start : len(new) - end])]
    found: list[Splice] = []
    for place, (a, b) in enumerate(zip(old, new, strict=True)):
        if a == b:
            continue
        if found and place - found[-1][0] - found[-1][1] < 4:  # a splice of its own would cost more
            start = found.pop()[0]
            found.append((start, place + 1 - start, new[start : place + 1]))
        else:
            found.append((place, 1, new[place : place + 1]))
    return found


def written(splices: Sequence[Splice]) -> list[list[Any]]:
    """Return splices as they stand in a file, what repeats itself told once."""
    found: list[list[Any]] = []
    for offset, taken, put in splices:
        start, unit = _run(put)
        times = (len(put) - start) // len(unit) if unit else 1
        for part, often in ((put[:start], 1), (unit, times), (put[start + len(unit) * times :], 1)):
            if part or not put:
                splice = [offset, taken, base64.b64encode(part).decode()]
                found.append(splice if often == 1 else [*splice, often])
                offset, taken = offset + taken, 0
            if not put:
                break
    return found


def _run(put: bytes) -> tuple[int, bytes]:
    """Return where a long run of bytes begins to repeat itself and what it repeats, which may be all of it."""
    for start in range(UNIT if len(put) >= LONG else 0):
        period = put.find(put[start : start + UNIT], start + 1) - start
        if period > 0 and put[start + period :] == put[start:-period]:
            return start, put[start : start + period]
    return 0, put


def extra_of(proof: bytes) -> bytes:
    """Return the decoded extra data of a proof's text."""
    return base64.b64decode(proof.split(b"\n", 2)[1].removeprefix(_EXTRA), validate=True)


def with_extra(proof: bytes, extra: bytes) -> bytes:
    """Return a proof's text with other extra data."""
    heading, _, *rest = proof.split(b"\n", 2)
    return b"\n".join((heading, _EXTRA + base64.b64encode(extra), *rest))


# --- what the product says


def judge(kind: str, inputs: Inputs) -> Json:
    """Return the product's verdict on the inputs of a vector. Raises InputError where it refuses them."""
    return _JUDGES[kind](inputs)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProofError("not text", where="file", expected="UTF-8", got=f"byte {error.start}") from None


def _inclusion(inputs: Inputs) -> Json:
    path = [bytes.fromhex(item) for item in inputs["path"]]
    root, leaf = bytes.fromhex(inputs["root"]), bytes.fromhex(inputs["leaf"])
    verify_inclusion(root, int(inputs["size"]), int(inputs["index"]), leaf, path)
    return {"verified": True}


def _consistency(inputs: Inputs) -> Json:
    path = [bytes.fromhex(item) for item in inputs["path"]]
    old, new = bytes.fromhex(inputs["old_root"]), bytes.fromhex(inputs["new_root"])
    verify_consistency(int(inputs["old_size"]), old, int(inputs["new_size"]), new, path)
    return {"verified": True}


def _checkpoint(inputs: Inputs) -> Json:
    policy = parse_policy(_text(inputs["policy"]))
    found = policy.check(_text(inputs["proof"]))
    said = to_json(found)
    del said["times"]
    return {**to_json(found.checkpoint), **{name: value for name, value in said.items() if name != "checkpoint"}}


def _receipt(inputs: Inputs) -> Json:
    verdict: Json = to_json(verify(_text(inputs["proof"]), _text(inputs["policy"])))
    return verdict


def _status(inputs: Inputs) -> Json:
    verdict = verify_status(_text(inputs["proof"]), _text(inputs["policy"]))
    said: Json = to_json(verdict)
    if "certificate" in inputs:
        status = certificate_status(verdict, inputs["certificate"], inputs.get("at_ms"))
        said["status"] = None if status is None else to_json(status)
    return said


def _completeness(inputs: Inputs) -> Json:
    verdict = verify_completeness(_text(inputs["proof"]), _text(inputs["policy"]))
    if verdict.member != inputs["member"]:
        raise ProofError("proof of another member", where="range", expected=inputs["member"], got=verdict.member)
    said: Json = to_json(verdict)
    return said


def _history(inputs: Inputs) -> Json:
    verdict = verify_certificate_history(_text(inputs["proof"]), _text(inputs["policy"]), inputs["certificate"])
    said: Json = to_json(verdict)
    return said


def _fork(inputs: Inputs) -> Json:
    verdict: Json = to_json(verify_fork(_text(inputs["proof"]), _text(inputs["policy"])))
    for name in ("first", "second"):
        del verdict[name]["times"]
    return verdict


_JUDGES: Mapping[str, Callable[[Inputs], Json]] = {
    "inclusion": _inclusion,
    "consistency": _consistency,
    "checkpoint": _checkpoint,
    "policy": _receipt,
    "receipt": _receipt,
    "handovers": _receipt,
    "status": _status,
    "completeness": _completeness,
    "history": _history,
    "fork": _fork,
}


def to_json(value: Any) -> Any:  # Any: a verdict's fields are of any type
    """Return a verdict as JSON: bytes in hex, records and dataclasses as objects of their fields."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Struct):
        return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value
