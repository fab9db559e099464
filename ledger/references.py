"""The table of references: it keeps an event that changes the state from being applied twice.

Part of the authenticated state, so it travels with snapshots. A row `seen/MEMBER/REFERENCE` holds the event's id and
expiry; once the block time has passed the expiry the row counts for nothing and is removed, a bounded number a block.
A derived row, ordered by expiry, finds those to remove. Source: architecture §4 (Event).

A reference is taken by the first event that comes in time and is permitted, whatever its outcome: a member that wants
to try again uses a new reference, so that an id has one fate.
"""

from itertools import islice

from ledger.kinds import ApplyContext, RuleBroken
from ledger.outcomes import CONFLICT, DUPLICATE
from ledger.state import DERIVED_PREFIX, STATE_VALUE_SIZE_MAX, StateView, Transaction
from primitives.encoding import Record, decode, encode
from primitives.ids import EventId

FORGOTTEN_A_BLOCK_MAX = 1_024
_PREFIX = b"seen/"
_BY_EXPIRY = DERIVED_PREFIX + b"seen/"
_NIL = encode(None)


class Seen(Record):
    """An event that took a reference, and until when the reference is remembered."""

    event_id: EventId
    expires_ms: int


def seen_key(member: str, reference: bytes) -> bytes:
    """Return the state key of a reference (16 bytes, at the end, so that no two keys meet)."""
    return _PREFIX + member.encode() + b"/" + reference


def _expiry_key(expires_ms: int, key: bytes) -> bytes:
    return _BY_EXPIRY + expires_ms.to_bytes(8, "big") + key


def derived_rows(key: bytes, value: bytes) -> dict[bytes, bytes]:
    """Return the rows that are not in the tree and follow from one that is: by what the expired are found."""
    if not key.startswith(_PREFIX):
        return {}
    seen = decode(Seen, value, size_max=STATE_VALUE_SIZE_MAX)
    return {_expiry_key(seen.expires_ms, key): _NIL}


def remember(view: StateView, context: ApplyContext, expires_ms: int) -> None:
    """Take the event's reference in `view`; RuleBroken `duplicate` or `conflict` where it is taken already."""
    key = seen_key(context.member, context.reference)
    seen = view.get(key, Seen)
    if seen is not None and seen.expires_ms >= context.time_ms:
        if seen.event_id == context.event_id:
            raise RuleBroken(DUPLICATE, "the same event was ordered before")
        raise RuleBroken(CONFLICT, f"the reference belongs to event {seen.event_id.hex()}")
    if seen is not None:
        view.changes[_expiry_key(seen.expires_ms, key)] = None
    rows = Transaction(view)
    rows.put(key, Seen(context.event_id, expires_ms))
    rows.changes[_expiry_key(expires_ms, key)] = _NIL
    rows.apply(view)


def forget_expired(view: StateView, time_ms: int) -> None:
    """Remove the rows whose expiry lies before `time_ms`, the oldest first, at most FORGOTTEN_A_BLOCK_MAX."""
    # Only the expired are read: those that live on may be very many.
    expired = view.raw_scan(_BY_EXPIRY, _expiry_key(time_ms, b""))
    for key, _ in list(islice(expired, FORGOTTEN_A_BLOCK_MAX)):
        view.changes[key] = None
        view.changes[key[len(_BY_EXPIRY) + 8 :]] = None
