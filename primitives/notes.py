"""Signed notes, checkpoints and cosignatures, byte for byte as C2SP defines them.

Here: text in, text out, signing and verification with PyNaCl. Not here: which signatures suffice (a policy's quorum).
Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature (v1, Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from primitives.errors import ProofError
from primitives.ids import Hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify

ED25519 = 1
COSIGNATURE_V1 = 4
NOTE_BYTES_MAX = 65_536
NOTE_SIGNATURES_MAX = 256
KEY_ID_BYTES = 4
TIMESTAMP_BYTES = 8
TREE_SIZE_MAX = 2**63 - 1
_SIGNATURE_PREFIX = "\u2014 "
_NAME = re.compile(r"[^\s+]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key as a policy lists it: key name, type (1 log, 4 cosigner) and 32 bytes."""

    name: str
    type: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that name this key in a signature line."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:KEY_ID_BYTES]

    def vkey(self) -> str:
        """Return the verifier-key string: name, key id in hex, and base64 of type and key."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.type]) + self.public)}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the key's name, its 4-byte id, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: the signed text, which ends in a newline, and its signature lines in order."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def signature_by(self, key: NoteKey) -> NoteSignature | None:
        """Return the line of this key, if there is one; the first where it stands twice."""
        key_id = key.key_id
        return next((s for s in self.signatures if s.name == key.name and s.key_id == key_id), None)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, its number of leaves, and its root."""

    origin: str
    size: int
    root: Hash

    def text(self) -> str:
        """Return the checkpoint's note text, without extension lines."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def parse_vkey(text: str) -> NoteKey:
    """Return the key of a verifier-key string; `ProofError` where name, id, type or length do not fit."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise ProofError("not a verifier key", expected="NAME+ID+BASE64", got=text)
    data = _unbase64(parts[2], "verifier key")
    if len(data) != 1 + PUBLIC_KEY_BYTES or data[0] not in (ED25519, COSIGNATURE_V1):
        raise ProofError("a verifier key's type or length is unknown", where=parts[0], expected="Ed25519, type 1 or 4")
    key = NoteKey(parts[0], data[0], data[1:])
    if key.key_id.hex() != parts[1]:
        raise ProofError("a verifier key's id does not fit", where=parts[0], expected=key.key_id, got=parts[1])
    return key


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint of a note's text; extension lines are refused, since this chain uses none."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] != "" or not lines[0]:
        raise ProofError("not a checkpoint", expected="three lines: origin, size, root", got=f"{len(lines) - 1} lines")
    if not _DECIMAL.fullmatch(lines[1]) or int(lines[1]) > TREE_SIZE_MAX:
        raise ProofError("a checkpoint's size", expected="a decimal without leading zeros", got=lines[1])
    root = _unbase64(lines[2], "checkpoint root")
    if len(root) != 32:
        raise ProofError("a checkpoint's root has the wrong length", expected=32, got=len(root))
    return Checkpoint(lines[0], int(lines[1]), Hash(root))


def parse_note(text: str) -> Note:
    """Return the text and signature lines of a note; `ProofError` where it is malformed."""
    if len(text) > NOTE_BYTES_MAX:
        raise ProofError("a note is too long", expected=f"at most {NOTE_BYTES_MAX}", got=len(text))
    cut = text.rfind("\n\n")
    if cut < 0 or not text.endswith("\n"):
        raise ProofError("not a signed note", expected="a text, an empty line, and signature lines")
    body, tail = text[: cut + 1], text[cut + 2 :]
    if any(ord(character) < 0x20 and character != "\n" for character in text):
        raise ProofError("a note holds control characters", expected="text and newlines")
    lines = tail.split("\n")[:-1]
    if not 1 <= len(lines) <= NOTE_SIGNATURES_MAX:
        raise ProofError("signature lines of a note", expected=f"1 to {NOTE_SIGNATURES_MAX}", got=len(lines))
    return Note(body, tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise ProofError("not a signature line", expected="an em dash and a space first", got=line)
    name, _, encoded = line[len(_SIGNATURE_PREFIX) :].partition(" ")
    data = _unbase64(encoded, "signature line")
    if not _NAME.fullmatch(name) or len(data) <= KEY_ID_BYTES:
        raise ProofError("not a signature line", expected="a key name and base64 of id and signature", got=line)
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """Return the log's signature line over a note's text."""
    note_key = NoteKey(name, ED25519, key.public)
    return signature_line(note_key, key.sign(text.encode()))


def cosign_statement(text: str, time_s: int) -> bytes:
    """Return the bytes that a cosignature covers: its time in seconds, then the checkpoint's text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(text: str, name: str, key: SigningKey, time_s: int) -> str:
    """Return a cosigner's signature line over a checkpoint's text at a time in seconds."""
    signature = key.sign(cosign_statement(text, time_s))
    return cosignature_line(NoteKey(name, COSIGNATURE_V1, key.public), time_s, signature)


def cosignature_line(key: NoteKey, time_s: int, signature: bytes) -> str:
    """Return the line of a cosignature that was made elsewhere (a CHECKPOINT message)."""
    return signature_line(key, time_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)


def signature_line(key: NoteKey, signature: bytes) -> str:
    """Return one signature line, newline included."""
    return f"{_SIGNATURE_PREFIX}{key.name} {_base64(key.key_id + signature)}\n"


def assemble_note(text: str, lines: list[str]) -> str:
    """Return the note of a text and its signature lines."""
    return text + "\n" + "".join(lines)


def verify_log_signature(note: Note, key: NoteKey) -> None:
    """Raise `ProofError` unless the note bears a valid signature of this log key."""
    line = note.signature_by(key)
    if key.type != ED25519 or line is None:
        raise ProofError("a note lacks the log's signature", where=key.name)
    if not verify(key.public, note.text.encode(), line.signature):
        raise ProofError("the log's signature does not verify", where=key.name)


def verify_cosignature(note: Note, key: NoteKey) -> int:
    """Return the time in seconds of this cosigner's valid cosignature; `ProofError` where there is none."""
    line = note.signature_by(key)
    if key.type != COSIGNATURE_V1 or line is None:
        raise ProofError("a note lacks a cosignature", where=key.name)
    if len(line.signature) != TIMESTAMP_BYTES + SIGNATURE_BYTES:
        raise ProofError("a cosignature has the wrong length", where=key.name, expected=72, got=len(line.signature))
    time_s = int.from_bytes(line.signature[:TIMESTAMP_BYTES], "big")
    if not verify(key.public, cosign_statement(note.text, time_s), line.signature[TIMESTAMP_BYTES:]):
        raise ProofError("a cosignature does not verify", where=key.name)
    return time_s


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
