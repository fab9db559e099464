"""The text of an offline proof: C2SP tlog-proof, of any leaf, with opaque extra data.

Here: text to fields and back, strictly (one spelling per proof). Not here: what the extra data mean
(`ledger.receipts`, `ledger.status_proofs`) and which signatures suffice (`ledger.trust_policy`).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from ledger.proof_steps import TEXT, step
from primitives.errors import ProofError
from primitives.ids import HASH_BYTES, Hash
from primitives.merkle import PATH_HASHES_MAX

HEADING = "c2sp.org/tlog-proof@v1"
PROOF_SIZE_MAX = 1 << 20
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A leaf's index, its path in the checkpointed tree, the checkpoint's note, and extra data that nobody signed."""

    extra: bytes
    index: int
    path: tuple[Hash, ...]
    note: str

    def text(self) -> str:
        """Return the proof's text."""
        lines = [HEADING, f"extra {_base64(self.extra)}", f"index {self.index}", *map(_base64, self.path), ""]
        return "\n".join(lines) + "\n" + self.note


def parse_tlog_proof(text: str, *, size_max: int = PROOF_SIZE_MAX) -> TlogProof:
    """Return the proof of a text; ProofError where it is malformed, too long, or spelled in another way."""
    with step(TEXT):
        return _parsed(text, size_max)


def _parsed(text: str, size_max: int) -> TlogProof:
    if len(text) > size_max:
        raise ProofError("proof too large", expected=f"at most {size_max} characters", got=len(text))
    if _SURROGATE.search(text):
        raise ProofError("proof is not UTF-8", expected="text")
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != HEADING:
        raise ProofError("not a proof", expected=f"{HEADING} first and an empty line before the checkpoint")
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise ProofError("proof without extra data", where="line 2", expected="extra BASE64")
    match = _INDEX.fullmatch(lines[2])
    if match is None:
        raise ProofError("proof without an index", where="line 3", expected="index NUMBER", got=lines[2])
    if len(lines) - 3 > PATH_HASHES_MAX:
        raise ProofError("path too long", expected=f"at most {PATH_HASHES_MAX} hashes", got=len(lines) - 3)
    path = []
    for number, line in enumerate(lines[3:], 4):
        item = _unbase64(line, f"line {number}")
        if len(item) != HASH_BYTES:
            raise ProofError("not a hash", where=f"line {number}", expected=f"{HASH_BYTES} bytes", got=len(item))
        path.append(Hash(item))
    extra = _unbase64(lines[1].removeprefix("extra "), "line 2")
    return TlogProof(extra, int(match[1]), tuple(path), note)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError("not base64", where=where, got=text) from None
    if _base64(data) != text:  # other spellings of the same bytes are refused
        raise ProofError("not canonical base64", where=where, got=text)
    return data
