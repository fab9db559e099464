"""Errors as JSON-RPC clients see them: codes, reasons, and what is told of an error raised in a lower layer.

Here: the one exception that ends a call, and the mapping from the drawn tree of `primitives.errors`. Not here: which
HTTP status a refusal at the door gets (`rpc.server`). A stack trace never leaves the node: what nobody drew is
answered as an internal error with the trace id under which the log holds the rest.
Source: JSON-RPC 2.0 section 5.1; docs/api.md for -32001 to -32005.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from ledger.base import NotHere
from primitives.errors import SHOWN_CHARACTERS_MAX, ChainError, StorageError, describe


class Code(IntEnum):
    """The codes of JSON-RPC 2.0 and of this API."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    NOT_FOUND = -32001
    UNAVAILABLE = -32002
    REJECTED = -32003
    NOT_PERMITTED = -32004
    LIMIT_EXCEEDED = -32005


class ErrorData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an error's `data` holds: a slug for machines, whether the same call may succeed later, and the details."""

    reason: str
    retryable: bool
    trace_id: str
    where: str | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None
    retry_after_ms: int | None = None


class ErrorObject(msgspec.Struct, frozen=True):
    """The `error` member of a response."""

    code: int
    message: str
    data: ErrorData


class RpcError(Exception):
    """Ends a call: a code, a slug, one line for a person. `retryable` says that waiting may help."""

    def __init__(
        self,
        code: Code,
        reason: str,
        what: str,
        *,
        where: str | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
        retryable: bool = False,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(describe(what, where=where, expected=expected, got=got, hint=hint))
        self.code = code
        self.reason = reason
        self.where = where
        self.expected = None if expected is None else shown(expected)
        self.got = None if got is None else shown(got)
        self.hint = hint
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms

    def object(self, trace_id: str) -> ErrorObject:
        """Return the `error` member for the request of this trace id."""
        data = ErrorData(
            self.reason,
            self.retryable,
            trace_id,
            self.where,
            self.expected,
            self.got,
            self.hint,
            self.retry_after_ms,
        )
        return ErrorObject(int(self.code), str(self), data)


def not_found(what: str, *, where: str | None = None, got: object = None, hint: str | None = None) -> RpcError:
    """Return the error for a record that this node does not have."""
    return RpcError(Code.NOT_FOUND, "not_found", what, where=where, got=got, hint=hint)


def unavailable(
    reason: str, what: str, *, hint: str | None = None, retry_after_ms: int | None = None, retryable: bool = True
) -> RpcError:
    """Return the error for a service that the node cannot give at present; the same call may succeed later or not."""
    return RpcError(Code.UNAVAILABLE, reason, what, hint=hint, retryable=retryable, retry_after_ms=retry_after_ms)


def invalid_params(
    what: str, *, where: str | None = None, expected: object = None, got: object = None, hint: str | None = None
) -> RpcError:
    """Return the error for parameters that do not fit their method."""
    return RpcError(Code.INVALID_PARAMS, "invalid_params", what, where=where, expected=expected, got=got, hint=hint)


def from_chain_error(error: ChainError) -> RpcError:
    """Return what a client is told of an error from a lower layer: its own fault, or a node that cannot answer."""
    if isinstance(error, StorageError):
        # Paths and details of the disk are the operator's; the log has them under the trace id.
        return unavailable("storage", "the node's store cannot be read", hint="ask the operator, naming the trace id")
    return RpcError(
        Code.NOT_FOUND if isinstance(error, NotHere) else Code.INVALID_PARAMS,
        error.reason,
        error.what,
        where=error.where,
        expected=error.expected,
        got=error.got,
        hint=error.hint,
    )


def internal_error() -> RpcError:
    """Return the error for a fault of our own; its details are in the node's log, under the trace id."""
    return RpcError(
        Code.INTERNAL_ERROR, "internal_error", "the node failed to answer", hint="report the trace id to the operator"
    )


def shown(value: object) -> str:
    """Return a value as one short line."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
