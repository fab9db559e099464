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
from rpc.errors import Code, RpcError, invalid_params

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
PAYMENT_PATTERN = r"\A(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64})\Z"
CURSOR_PATTERN = r"\A[A-Za-z0-9_-]+\Z"
# What a person reads in place of a pattern.
PATTERNS: dict[str, str] = {
    HASH_PATTERN: "64 lower-case hex digits",
    REFERENCE_PATTERN: "32 lower-case hex digits",
    BASE64_PATTERN: "base64",
    UETR_PATTERN: "a UUID in lower case",
    PAYMENT_PATTERN: "a UETR, or a pair key as 64 lower-case hex digits",
    CURSOR_PATTERN: "a cursor that an earlier answer gave",
    NUMBER_PATTERN: "a certificate's number such as FTP-2026-06-000123",
}

HashHex = Annotated[str, msgspec.Meta(pattern=HASH_PATTERN, description="32 bytes in lower-case hex")]
Base64 = Annotated[str, msgspec.Meta(pattern=BASE64_PATTERN, description="base64 (RFC 4648 section 4)")]
HeightNumber = Annotated[int, msgspec.Meta(ge=0, le=HEIGHT_MAX)]
HeightParam = HeightNumber | Literal["earliest", "latest"]
LogSize = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX, description="How many leaves a log has.")]
MemberName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, description="A member's id.", examples=["bank-a"])
]
WitnessNames = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...],
    msgspec.Meta(
        max_length=WITNESSES_MAX,
        description="Names of outside witnesses' keys: the proof's checkpoint must bear the cosignature of each.",
    ),
]
EpochNumber = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=HEIGHT_MAX,
        description="The epoch of the policy under which the proof will be verified, or an earlier one.",
    ),
]
Offset = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
Limit = Annotated[
    int, msgspec.Meta(ge=1, le=LIMIT_MAX, description="The most that a page may hold.", examples=[LIMIT_DEFAULT])
]
Order = Literal["asc", "desc"]
Cursor = Annotated[str, msgspec.Meta(pattern=CURSOR_PATTERN, max_length=CURSOR_CHARACTERS_MAX)]
Time = Annotated[str, msgspec.Meta(description="RFC 3339 UTC", extra_json_schema={"format": "date-time"})]
AsOf = Annotated[int, msgspec.Meta(ge=0, le=HEIGHT_MAX, description="The height that the answer speaks for.")]
NextCursor = Annotated[
    Cursor | None, msgspec.Meta(description="What asks for the next page: null where there is none.")
]
AskedOrder = Annotated[
    Order | None,
    msgspec.Meta(description="Up or down; unless told as the method says, and with a cursor as the page before."),
]
AskedCursor = Annotated[
    Cursor | None, msgspec.Meta(description="The cursor that the page before gave; without one the list begins.")
]


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
CursorPart = int | str | bytes | tuple[int | str, ...]


def make_cursor(method: str, *position: CursorPart) -> str:
    """Return an opaque cursor: the method that it belongs to and where its next page starts."""
    raw = msgspec.msgpack.encode((method, position))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(cursor: str, method: str, type_: type[T]) -> T:
    """Return the position in a cursor of this method; -32602 `bad_cursor` for any other text."""
    name = ""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        name, position = msgspec.msgpack.decode(raw, type=tuple[str, msgspec.Raw])
        if name == method:
            return msgspec.msgpack.decode(position, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, binascii.Error):
        pass  # answered below: nothing is told of what is wrong inside of something opaque
    is_foreign = name not in ("", method)
    raise RpcError(
        Code.INVALID_PARAMS,
        "bad_cursor",
        "the cursor is of another method" if is_foreign else "this is no cursor of this API",
        where="$.cursor",
        expected=f"a cursor that {method} gave",
        got=f"one of {name}" if is_foreign else cursor,
    )
