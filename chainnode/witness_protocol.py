"""What goes over the wire between a log and a witness: the body of `add-checkpoint`, and what is answered to it.

Here: text in, text out; both sides use it. Not here: what a witness demands (`chainnode.witness`), HTTP. Source: C2SP
tlog-witness, tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from primitives.errors import ProofError
from primitives.ids import HASH_BYTES, Hash
from primitives.merkle import TREE_SIZE_MAX
from primitives.notes import (
    NOTE_BYTES_MAX,
    Checkpoint,
    Note,
    NoteKey,
    assemble_note,
    parse_checkpoint,
    parse_note,
    signature_line,
    verify_cosignature,
)

PROOF_LINES_MAX = 63
REQUEST_BYTES_MAX = NOTE_BYTES_MAX + 64 * 45 + 64
"""A note, 63 hashes in base64, the line of the old size and the empty line."""

ANSWER_BYTES_MAX = 65_536
SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness is believed to have cosigned last, the proof from there, and the note."""

    old_size: int
    path: tuple[Hash, ...]
    note_text: str
    note: Note
    checkpoint: Checkpoint


def request_body(old_size: int, path: Sequence[Hash], note_text: str) -> bytes:
    """Return the body of a request."""
    lines = [f"old {old_size}", *(base64.b64encode(item).decode() for item in path)]
    return ("\n".join(lines) + "\n\n" + note_text).encode()


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Return a request; ProofError where it is malformed. No signature is verified here."""
    if len(body) > REQUEST_BYTES_MAX:
        raise ProofError("request too large", expected=f"at most {REQUEST_BYTES_MAX} bytes", got=len(body))
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProofError("request is not text", expected="UTF-8", got=f"byte {error.start}") from None
    head, empty, note_text = text.partition("\n\n")
    first, *proof = head.split("\n")
    match = _OLD.fullmatch(first)
    if match is None or not empty:
        raise ProofError("not a request to cosign", expected="old SIZE, the proof, an empty line, a note", got=first)
    if len(proof) > PROOF_LINES_MAX:
        raise ProofError("too many lines of a proof", expected=f"at most {PROOF_LINES_MAX}", got=len(proof))
    path = tuple(_hash(line) for line in proof)
    note = parse_note(note_text)
    return AddCheckpoint(int(match[1]), path, note_text, note, head_of(note.text))


def _hash(line: str) -> Hash:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != HASH_BYTES or base64.b64encode(data).decode() != line:
        raise ProofError("line of a proof", expected="a hash in base64", got=line)
    return Hash(data)


def head_of(text: str) -> Checkpoint:
    """Return the checkpoint of any log's note text; ProofError where it is malformed.

    Extension lines may follow: they are cosigned with the rest, and a witness says nothing of them.
    """
    lines = text.split("\n")
    if "" in lines[:-1]:
        raise ProofError("empty line in a checkpoint", expected="origin, size, root and lines that are not empty")
    return parse_checkpoint("\n".join([*lines[:3], ""]))


def cosignature_of(note_text: str, answer: bytes, witness: NoteKey) -> tuple[str, int]:
    """Return the witness's signature line of an answer and its time in seconds; those of other keys are ignored.

    Raises ProofError where there is none that verifies on this note.
    """
    try:
        lines = answer.decode()
    except UnicodeDecodeError as error:
        raise ProofError("answer is not text", expected="UTF-8", got=f"byte {error.start}") from None
    note = parse_note(assemble_note(parse_note(note_text).text, [lines]))
    time_s = verify_cosignature(note, witness)
    if not time_s:
        raise ProofError("cosignature without a time", where=witness.name)
    line = note.signature_by(witness)
    assert line is not None, "it was verified"
    return signature_line(witness, line.signature), time_s


def parse_size(body: bytes) -> int:
    """Return the tree size that a witness names as its latest; ProofError where that is none."""
    match = _SIZE.fullmatch(body)
    if match is None or int(match[1]) > TREE_SIZE_MAX:
        raise ProofError("not the size of a tree", expected="a decimal and a newline", got=body[:40])
    return int(match[1])
