"""Exit statuses: what scripts may rely on, and which error means which.

Source: docs/operating.md, "Exit statuses".
"""

from __future__ import annotations

from enum import IntEnum

from chainnode.client import INVALID_PARAMS, NOT_FOUND, UNAVAILABLE, CallRefused, TimedOut, Unhealthy, Unreachable
from chainnode.files import NotFound
from chainnode.founding import OtherGenesis
from ledger.base import NotHere
from ledger.mark_errors import MarkCodeError
from primitives.errors import ChainError, UsageError


class Exit(IntEnum):
    """The status with which the process ends."""

    OK = 0
    ERROR = 1
    USAGE = 2
    VERIFICATION_FAILED = 3
    UNREACHABLE = 4
    UNHEALTHY = 5
    NOT_FOUND = 6
    SUSPENDED = 10
    REVOKED = 11
    CANCELLED = 12
    EXPIRED = 13
    NOT_YET_VALID = 14
    NOT_LICENSED = 15
    INTERRUPTED = 130
    CLOSED = 141


class VerificationFailed(ChainError):
    """A proof, receipt or policy does not hold."""

    reason = "verification_failed"


class TooOld(VerificationFailed):
    """A proof holds, and is of a time too long ago to rely on."""

    reason = "stale_status"


class Missing(ChainError):
    """What was asked for does not exist."""

    reason = "not_found"


def exit_of(error: ChainError) -> Exit:
    """Return the status for an error that ended a command."""
    match error:
        case VerificationFailed() | OtherGenesis() | MarkCodeError():
            return Exit.VERIFICATION_FAILED
        case Unreachable():
            return Exit.UNREACHABLE
        case TimedOut() | Unhealthy():
            return Exit.UNHEALTHY
        case CallRefused(code=code) if code == NOT_FOUND:
            return Exit.NOT_FOUND
        case CallRefused(code=code) if code == UNAVAILABLE:
            return Exit.UNHEALTHY
        case CallRefused(code=code) if code == INVALID_PARAMS:
            return Exit.USAGE
        case Missing() | NotFound() | NotHere():
            return Exit.NOT_FOUND
        case UsageError():
            return Exit.USAGE
        case _:
            return Exit.ERROR
