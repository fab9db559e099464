"""The parts that parameters and results are made of, as JSON has them.

Conventions of the API: hashes in lower-case hex, bytes that are to be hashed in base64, amounts as decimal strings with
their currency, times in RFC 3339 UTC, heights as numbers or `earliest` and `latest`, lists with `limit`, `order` and an
opaque `cursor`, and in every answer out of the ledger `as_of`, the height that it speaks for.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, TypeVar

import msgspec

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.outcomes import Outcome
from ledger.times import format_time
from ledger.witnessed import WITNESSES_MAX
from rpc.errors import invalid_params

LIMIT_DEFAULT = 30
LIMIT_MAX = 100
CURSOR_CHARACTERS_MAX = 512
HEIGHT_MAX = (1 << 48) - 1
SIZE_MAX = (1 << 53) - 1

# Patterns are searched for, so each is anchored; `\Z` and not `$`, which would let a final line feed pass.
HASH_PATTERN = r"\A[0-9a-f]{64}\Z"
REFERENCE_PATTERN = r"\A[0-9a-f]{32}\Z"
BASE64_PATTERN = r"\A[A-Za-z0-9+/]*={0,2}\Z"
UETR_PATTERN = r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
CURSOR_PATTERN = r"\A[A-Za-z0-9_-]+\Z"
# What a person reads in place of a pattern.
PATTERNS: dict[str, str] = {
    HASH_PATTERN: "64 lower-case hex digits",
    REFERENCE_PATTERN: "32 lower-case hex digits",
    BASE64_PATTERN: "base64",
    UETR_PATTERN: "a UUID in lower case",
    CURSOR_PATTERN: "a cursor that an earlier answer gave",
    NUMBER_PATTERN: "a certificate's number such as FTP-2026-06-000123",
}

HashHex = Annotated[str, msgspec.Meta(pattern=HASH_PATTERN, description="32 bytes in lower-case hex")]
Base64 = Annotated[str, msgspec.Meta(pattern=BASE64_PATTERN, description="base64 (RFC 4648 section 4)")]
HeightNumber = Annotated[int, msgspec.Meta(ge=0, le=HEIGHT_MAX)]
HeightParam = HeightNumber | Literal["earliest", "latest"]
LogSize = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
WitnessNames = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...], msgspec.Meta(max_length=WITNESSES_MAX)
]
EpochNumber = Annotated[int, msgspec.Meta(ge=0, le=HEIGHT_MAX)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]
Order = Literal["asc", "desc"]
Cursor = Annotated[str, msgspec.Meta(pattern=CURSOR_PATTERN, max_length=CURSOR_CHARACTERS_MAX)]
Time = Annotated[str, msgspec.Meta(description="RFC 3339 UTC", extra_json_schema={"format": "date-time"})]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every method's parameters; positional ones follow the order of the fields."""


class Result(msgspec.Struct, frozen=True):
    """Base of every method's result."""


class NoParams(Params, frozen=True):
    """A method without parameters."""


class OutcomeResult(Result, frozen=True):
    """What became of an event: applied, or the rule that it broke."""

    applied: bool
    rule: str | None
    detail: str | None


def outcome_result(outcome: Outcome) -> OutcomeResult:
    """Return an outcome as JSON has it."""
    return OutcomeResult(outcome.applied, outcome.rule or None, outcome.detail or None)


def time_text(time_ms: int) -> str:
    """Return a time as JSON has it."""
    return format_time(time_ms)


def base64_text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def base64_bytes(text: str, where: str) -> bytes:
    """Return the bytes of base64 text; -32602 where it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_params("not base64", where=where, expected="base64 with padding", got=text[:40]) from None


T = TypeVar("T")


def order_of_cursor(given: Order, asked: Order | None) -> Order:
    """Return the order of the list that gave a cursor; -32602 where another is asked for."""
    if asked is not None and asked != given:
        raise invalid_params("the cursor is of a list in another order", where="$.cursor", expected=asked, got=given)
    return given


def make_cursor(method: str, *position: int | str) -> str:
    """Return an opaque cursor: the method that it belongs to and where its next page starts."""
    raw = msgspec.msgpack.encode((method, position))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(cursor: str, method: str, type_: type[T]) -> T:
    """Return the position in a cursor of this method; -32602 for any other text."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        name, position = msgspec.msgpack.decode(raw, type=tuple[str, msgspec.Raw])
        found: T = msgspec.msgpack.decode(position, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, binascii.Error):
        name = ""
    if name != method:
        raise invalid_params(
            "the cursor is not one of this method", where="$.cursor", expected=f"a cursor of {method}", got=cursor[:40]
        )
    return found
