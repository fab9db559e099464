"""The drawn tree of errors that every part raises, and how one is worded.

Here: who is at fault (a peer, client or file; the caller; the disk), and one line for a person. Not here: exit codes
and JSON-RPC codes, which the command line and rpc derive from these classes. A fault of our own is an `assert`.
"""

from __future__ import annotations

from typing import ClassVar

SHOWN_CHARACTERS_MAX = 120


def describe(
    what: str, *, where: str | None = None, expected: object = None, got: object = None, hint: str | None = None
) -> str:
    """Return one line: what is wrong, where, what was expected, what was there, and what to do."""
    parts = [what]
    if expected is not None:
        parts.append(f"expected {_short(expected)}")
    if got is not None:
        parts.append(f"got {_short(got)}")
    line = parts[0] if len(parts) == 1 else f"{parts[0]}: {', '.join(parts[1:])}"
    if where is not None:
        line = f"{where}: {line}"
    return line if hint is None else f"{line}; {hint}"


def _short(value: object) -> str:
    """Render a value for a message: bytes in hex, anything long cut, never more than one line."""
    text = value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


class ChainError(Exception):
    """Base of every error that chainnode raises on purpose; `reason` is a stable slug for machines."""

    reason: ClassVar[str] = "error"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(describe(what, where=where, expected=expected, got=got, hint=hint))
        self.what = what
        self.where = where
        self.expected = None if expected is None else _short(expected)
        self.got = None if got is None else _short(got)
        self.hint = hint


class InputError(ChainError):
    """Bytes or values from a peer, a client or a file are not acceptable: counted and held against the sender."""

    reason = "bad_input"


class EncodingError(InputError):
    """Bytes are not the canonical encoding of the type that was asked for, or are too large."""

    reason = "bad_encoding"


class SignatureError(InputError):
    """A signature, key or certificate does not verify."""

    reason = "bad_signature"


class ProofError(InputError):
    """A Merkle proof, note, checkpoint or receipt does not hold."""

    reason = "bad_proof"


class UsageError(ChainError):
    """The caller asked for something that cannot be done as asked."""

    reason = "usage"


class StorageError(ChainError):
    """The disk or the store is unusable or damaged."""

    reason = "storage"
