"""What is wrong with a file that was handed in: one class for each layer of reading it.

All are the file's fault (`InputError`); the message says file, line or place, expected and got. Values of private
fields (names, accounts, references, texts) are never repeated in a message.
"""

from __future__ import annotations

from typing import ClassVar

from primitives.errors import InputError


class FormatError(InputError):
    """No adapter knows the format, or the one asked for does not fit."""

    reason: ClassVar[str] = "unknown_format"


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


def located(error: InputError, where: str) -> InputError:
    """Return the same error with its place put before the place that it names itself."""
    place = where if error.where is None else f"{where}: {error.where}"
    return type(error)(error.what, where=place, expected=error.expected, got=error.got, hint=error.hint)
