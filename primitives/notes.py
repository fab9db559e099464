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

from msgspec import Struct

from primitives.errors import ProofError
from primitives.ids import HASH_BYTES, Hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify
from primitives.merkle import TREE_SIZE_MAX

ED25519 = 1
COSIGNATURE_V1 = 4
NOTE_BYTES_MAX = 65_536
NOTE_SIGNATURES_MAX = 256
KEY_ID_BYTES = 4
TIMESTAMP_BYTES = 8
_SIGNATURE_PREFIX = "\u2014 "
COSIGNATURE_TIME_MAX = 2**63 - 1
_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def is_key_name(name: str) -> bool:
    """Say whether a name may stand in a signature line: no Unicode spaces, plus or control characters, not empty."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key as a policy lists it: key name, type (1 log, 4 cosigner) and 32 bytes; else `ProofError`."""

    name: str
    type: int
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise ProofError("a key's name", expected="no spaces, plus or control characters", got=self.name)
        if self.type not in (ED25519, COSIGNATURE_V1) or len(self.public) != PUBLIC_KEY_BYTES:
            raise ProofError(
                "a note key's type or length is unknown",
                where=self.name,
                expected=f"type {ED25519} or {COSIGNATURE_V1} and {PUBLIC_KEY_BYTES} bytes",
                got=f"type {self.type} and {len(self.public)} bytes",
            )

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


class Checkpoint(Struct, frozen=True):
    """A log's origin, its number of leaves, and its root; `ProofError` where they cannot stand in a note."""

    origin: str
    size: int
    root: Hash

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin or _CONTROL.search(self.origin):
            raise ProofError("a checkpoint's origin", expected="one line without control characters", got=self.origin)
        if not 0 <= self.size <= TREE_SIZE_MAX:
            raise ProofError("a checkpoint's size", expected=f"0 to {TREE_SIZE_MAX}", got=self.size)
        if len(self.root) != HASH_BYTES:
            raise ProofError("a checkpoint's root has the wrong length", expected=HASH_BYTES, got=len(self.root))

    def text(self) -> str:
        """Return the checkpoint's note text, without extension lines."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def parse_vkey(text: str) -> NoteKey:
    """Return the key of a verifier-key string; `ProofError` where name, id, type or length do not fit."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ProofError("not a verifier key", expected="NAME+ID+BASE64", got=text)
    data = _unbase64(parts[2], "verifier key")
    if not data:
        raise ProofError("a verifier key is empty", where=parts[0], expected="a type byte and a key")
    key = NoteKey(parts[0], data[0], data[1:])
    if key.key_id.hex() != parts[1]:
        raise ProofError("a verifier key's id does not fit", where=parts[0], expected=key.key_id, got=parts[1])
    return key


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint of a note's text; extension lines are refused, since this chain uses none."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] != "" or not lines[0]:
        raise ProofError("not a checkpoint", expected="three lines: origin, size, root", got=f"{len(lines) - 1} lines")
    if not _DECIMAL.fullmatch(lines[1]):
        raise ProofError("a checkpoint's size", expected="a decimal without leading zeros", got=lines[1])
    return Checkpoint(lines[0], int(lines[1]), Hash(_unbase64(lines[2], "checkpoint root")))


def parse_note(text: str) -> Note:
    """Return the text and signature lines of a note; `ProofError` where it is malformed."""
    size_bytes = len(text)  # at least; the check of its characters makes sure that it can be encoded
    if size_bytes <= NOTE_BYTES_MAX:
        _check_characters(text)
        size_bytes = len(text.encode())
    if size_bytes > NOTE_BYTES_MAX:
        raise ProofError("a note is too long", expected=f"at most {NOTE_BYTES_MAX} bytes", got=size_bytes)
    cut = text.rfind("\n\n")
    if cut < 0 or not text.endswith("\n"):
        raise ProofError("not a signed note", expected="a text, an empty line, and signature lines")
    body, tail = text[: cut + 1], text[cut + 2 :]
    lines = tail.split("\n")[:-1]
    if not 1 <= len(lines) <= NOTE_SIGNATURES_MAX:
        raise ProofError("signature lines of a note", expected=f"1 to {NOTE_SIGNATURES_MAX}", got=len(lines))
    return Note(body, tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise ProofError("not a signature line", expected="an em dash and a space first", got=line)
    name, _, encoded = line[len(_SIGNATURE_PREFIX) :].partition(" ")
    data = _unbase64(encoded, "signature line")
    if not is_key_name(name) or len(data) <= KEY_ID_BYTES:
        raise ProofError("not a signature line", expected="a key name and base64 of id and signature", got=line)
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """Return the log's signature line over a note's text; `ProofError` where that is no note's text."""
    _check_text(text)
    note_key = NoteKey(name, ED25519, key.public)
    return signature_line(note_key, key.sign(text.encode()))


def cosign_statement(text: str, time_s: int) -> bytes:
    """Return the bytes that a cosignature covers: its time in seconds, then the checkpoint's text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(text: str, name: str, key: SigningKey, time_s: int) -> str:
    """Return a cosigner's signature line over a checkpoint's text at a time in seconds; `ProofError` as `sign_note`."""
    _check_text(text)
    signature = key.sign(cosign_statement(text, time_s))
    return cosignature_line(NoteKey(name, COSIGNATURE_V1, key.public), time_s, signature)


def cosignature_line(key: NoteKey, time_s: int, signature: bytes) -> str:
    """Return the line of a cosignature that was made elsewhere (a CHECKPOINT message)."""
    _check_time(time_s, key.name)
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
    _check_time(time_s, key.name)
    if not verify(key.public, cosign_statement(note.text, time_s), line.signature[TIMESTAMP_BYTES:]):
        raise ProofError("a cosignature does not verify", where=key.name)
    return time_s


def cosignature_times(note: Note) -> list[int]:
    """Return what the lines that look like cosignatures say of their time, in seconds; nothing of it is verified."""
    length = TIMESTAMP_BYTES + SIGNATURE_BYTES
    found = [line.signature[:TIMESTAMP_BYTES] for line in note.signatures if len(line.signature) == length]
    return [int.from_bytes(data, "big") for data in found]


def _check_text(text: str) -> None:
    """Raise `ProofError` unless a note of this text would be read back as it was signed."""
    _check_characters(text)
    if not text.endswith("\n"):
        raise ProofError("not a note's text", expected="a newline at its end")


def _check_characters(text: str) -> None:
    if found := _CONTROL.search(text):
        raise ProofError("a note holds control characters", expected="UTF-8 text and newlines", got=repr(found[0]))


def _check_time(time_s: int, where: str) -> None:
    if not 0 <= time_s <= COSIGNATURE_TIME_MAX:
        raise ProofError("a cosignature's time", where=where, expected=f"0 to {COSIGNATURE_TIME_MAX}", got=time_s)


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
