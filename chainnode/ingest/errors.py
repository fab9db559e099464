"""What is wrong with a file that was handed in: one class for each layer of reading it.

All are the file's fault (`InputError`); the message says file, line or place, expected and got. Values of private
fields (names, accounts, references, texts) are never repeated in a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import ClassVar

from primitives.errors import InputError


class FormatError(InputError):
    """No adapter knows the format, or the one asked for does not fit."""

    reason: ClassVar[str] = "unknown_format"


class TooManyError(InputError):
    """More payments than are taken at once this way."""

    reason: ClassVar[str] = "too_many_payments"


class XmlError(InputError):
    """XML that is not well formed, forbidden, or beyond a limit."""

    reason: ClassVar[str] = "bad_xml"


class MessageError(InputError):
    """A payment message that breaks its own standard."""

    reason: ClassVar[str] = "bad_message"


class QrError(InputError):
    """A QR payload that breaks EMVCo's merchant-presented mode."""

    reason: ClassVar[str] = "bad_qr"


class JsonError(InputError):
    """A JSON line that is malformed or describes no event."""

    reason: ClassVar[str] = "bad_json"


class NotAPartyError(InputError):
    """The reporter has no part in the payment."""

    reason: ClassVar[str] = "not_a_party"


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_NAMES_SHOWN = 12


def shape_of(value: object) -> str:
    """Return what may be told of a value that was read: how long a text is, and whether it is a number; else its type.

    Where a value stands in another's place, it is an account, a card or a name.
    """
    if not isinstance(value, str):
        return type(value).__name__
    return f"{len(value)} {'digits' if value.isascii() and value.isdigit() else 'characters'}"


def without_value(error: InputError, value: object) -> InputError:
    """Return the same error with nothing but the shape of what was read."""
    return type(error)(error.what, where=error.where, expected=error.expected, got=shape_of(value), hint=error.hint)


def shown_names(names: Iterable[str]) -> str:
    """Return keys or columns as an error may tell them: those that look like names, and how many others there are."""
    found = sorted(names)
    plain = [name for name in found if _NAME.fullmatch(name)][:_NAMES_SHOWN]
    rest = len(found) - len(plain)
    if not found:
        return "nothing"
    return ", ".join([*plain, *([f"{rest} {'more' if plain else 'that look like no name'}"] if rest else [])])


LeavesOut = Callable[[InputError], bool]
"""Whether a message that was refused so is left out of its file and reported; else it refuses the file."""


def nothing_left_out(error: InputError) -> bool:
    """Let every error refuse its file."""
    del error
    return False


def located(error: InputError, where: str) -> InputError:
    """Return the same error with its place put before the place that it names itself."""
    place = where if error.where is None else f"{where}: {error.where}"
    return type(error)(error.what, where=place, expected=error.expected, got=error.got, hint=error.hint)
