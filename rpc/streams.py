"""What can be subscribed to, the places in it, and the cursors that name them.

A place is before an item: (height, nth) says that of the block at `height` the first `nth` items were given, and of
all blocks below it everything. All that is in the chain has the same places on every node. Checkpoints are a node's
own: theirs is (log size, tag of the note), that of the newest one given.
Not here: what the items are (`rpc.announcing`), who gets them when (`rpc.subscriptions`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from rpc.errors import Code, RpcError
from rpc.types import HEIGHT_MAX, Offset, make_cursor, read_cursor

Topic = Literal["blocks", "events", "checkpoints", "evidence", "deadlines", "reconciliation", "totals"]
TOPICS: Final[tuple[Topic, ...]] = (
    "blocks",
    "events",
    "checkpoints",
    "evidence",
    "deadlines",
    "reconciliation",
    "totals",
)
METHOD: Final = "ledger_subscribe"
CHAIN_DIGITS: Final = 16
"""How much of the chain's id a cursor holds: enough that one of another chain is known as such."""


class Stream(msgspec.Struct, frozen=True):
    """A topic, and of `events`, `reconciliation` and `totals` those that fit all that is given."""

    topic: Topic
    member: str | None = None
    kind: str | None = None
    certificate: str | None = None
    payment: str | None = None

    @property
    def of_chain(self) -> bool:
        """Whether its places are the chain's, so that any node of the chain goes on from them."""
        return self.topic != "checkpoints"

    @property
    def by_checkpoints(self) -> bool:
        """Whether a checkpoint alone, without a block, may be followed by something."""
        return self.topic in ("checkpoints", "deadlines")

    @property
    def lags(self) -> bool:
        """Whether it comes out of an index that follows at its own pace, and so may be behind the chain."""
        return self.topic in ("reconciliation", "totals")

    @property
    def filtered(self) -> bool:
        """Whether it leaves anything out."""
        return not (self.member is self.kind is self.certificate is self.payment is None)


class Place(NamedTuple):
    """A place in a stream: a height and an index, or a size and a tag; places grow."""

    height: int
    nth: int = 0


def cursor_of(chain_id: bytes, topic: Topic, place: Place) -> str:
    """Return the cursor of a place."""
    return make_cursor(METHOD, chain_id.hex()[:CHAIN_DIGITS], topic, place.height, place.nth)


def parse_place(cursor: str, chain_id: bytes, topic: Topic) -> Place:
    """Return the place that a cursor names; -32602 for one that is malformed, of another chain or of another topic."""
    chain, of, height, index = read_cursor(cursor, METHOD, tuple[str, str, Offset, Offset])
    expected = chain_id.hex()[:CHAIN_DIGITS]
    if chain != expected:
        raise RpcError(
            Code.INVALID_PARAMS,
            "foreign_cursor",
            "the cursor is of another chain",
            where="$.from_cursor",
            expected=f"a chain whose id begins with {expected}",
            got=chain,
        )
    if of != topic:
        raise _bad("the cursor is of another topic", topic, of)
    if topic != "checkpoints" and height > HEIGHT_MAX:
        raise _bad("the cursor names no block", f"at most {HEIGHT_MAX}", height)
    return Place(height, index)


def _bad(what: str, expected: object, got: object) -> RpcError:
    return RpcError(Code.INVALID_PARAMS, "bad_cursor", what, where="$.from_cursor", expected=expected, got=got)


def ahead(place: Place, height: int) -> RpcError:
    """Return the error for a place that this node has not reached: it may be behind the one that gave the cursor."""
    return RpcError(
        Code.UNAVAILABLE,
        "cursor_ahead",
        "the cursor is ahead of this node",
        where="$.from_cursor",
        expected=f"at most block {height + 1}",
        got=place.height,
        hint="this node may be catching up: ask again in a moment, or another node",
        retryable=True,
    )


def pruned(first: int, place: Place) -> RpcError:
    """Return the error for a place of which this node does not hold what follows any more."""
    return RpcError(
        Code.NOT_FOUND,
        "pruned",
        "this node does not hold what follows the cursor any more",
        where="$.from_cursor",
        expected=f"from {first} on",
        got=place.height,
        hint="ask a node that holds the whole chain; or go on from `earliest`, knowing that something is left out",
    )
