"""The drawn tree of errors that every part raises, and how one is worded.

Here: who is at fault (a peer, client or file; the caller; the disk), and one line for a person. Not here: exit codes
and JSON-RPC codes, which the command line and rpc derive from these classes. A fault of our own is an `assert`.
"""

from __future__ import annotations

from typing import ClassVar

SHOWN_CHARACTERS_MAX = 120
SENTENCE_CHARACTERS_MAX = 400


def describe(
    what: str, *, where: str | None = None, expected: object = None, got: object = None, hint: str | None = None
) -> str:
    """Return one line: what is wrong, where, what was expected, what was there, and what to do."""
    parts = [_line(what, SENTENCE_CHARACTERS_MAX)]
    if expected is not None:
        parts.append(f"expected {_short(expected)}")
    if got is not None:
        parts.append(f"got {_short(got)}")
    line = parts[0] if len(parts) == 1 else f"{parts[0]}: {', '.join(parts[1:])}"
    if where is not None:
        line = f"{_short(where)}: {line}"
    return line if hint is None else f"{line}; {_line(hint, SENTENCE_CHARACTERS_MAX)}"


def _short(value: object) -> str:
    """Render a value for a message: bytes in hex, anything long cut, never more than one line."""
    if isinstance(value, bytes | bytearray | memoryview):
        return _line(bytes(value[:SHOWN_CHARACTERS_MAX]).hex(), SHOWN_CHARACTERS_MAX)
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python converts
        text = f"{type(value).__name__} too long to show"
    return _line(text, SHOWN_CHARACTERS_MAX)


def _line(text: str, characters_max: int) -> str:
    """Return text as one printable line, cut.

    Names and messages of peers end up here: a newline would forge a line of the log, an escape sequence or a
    right-to-left override would repaint a terminal, and a lone surrogate would break whoever encodes the message.
    """
    line = " ".join(text[: characters_max + 1].split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(text) > characters_max or len(line) > characters_max:
        return line[: characters_max - 1] + "…"
    return line


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
        self.what = _line(what, SENTENCE_CHARACTERS_MAX)
        self.where = None if where is None else _short(where)
        self.expected = None if expected is None else _short(expected)
        self.got = None if got is None else _short(got)
        self.hint = None if hint is None else _line(hint, SENTENCE_CHARACTERS_MAX)


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
