"""Pages of lists: in which order one goes, from where, and the cursor that asks for the next.

A cursor says which list gave it: its method, the chain, the filters and the order. With any of these changed, going on
would skip or repeat without a word, so that such a cursor is refused by name. It is opaque, not secret: what somebody
made up is read as strictly, and leads nowhere but to another place of a list that everybody may read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, Protocol, TypeVar

import msgspec

from rpc.errors import Code, RpcError
from rpc.ports import Services
from rpc.types import Order, make_cursor, read_cursor

CHAIN_BYTES = 8
FILTER_BYTES = 8

T = TypeVar("T")


class Paged(Protocol):
    """Parameters of a list."""

    @property
    def order(self) -> Order | None:
        """The order that was asked for, None for the list's own."""
        ...

    @property
    def cursor(self) -> str | None:
        """Where to go on, None for the beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list: `after` is the position in the cursor that asked for it, None for the first page."""

    after: T | None
    order: Order
    _method: str
    _chain: bytes
    _filters: bytes

    @property
    def descending(self) -> bool:
        """Whether the list goes down."""
        return self.order == "desc"

    def cursor(self, *position: int | str) -> str:
        """Return the cursor of the page after this one, which begins after (or at: as the list has it) a position."""
        return make_cursor(self._method, self._chain, self._filters, self.order, position)


def page_of(
    services: Services, method: str, params: Paged, position: type[T], order: Order = "desc", **filters: object
) -> Page[T]:
    """Return which page is asked for: of a list that goes in `order` unless told, and shows what `filters` let pass.

    -32602 `bad_cursor` where the cursor is none, or of another list. `position` is the tuple in this list's cursors.
    """
    chain = bytes(services.reads.chain_id)[:CHAIN_BYTES]
    digest = _digest(filters)
    if params.cursor is None:
        return Page(None, params.order or order, method, chain, digest)
    type_: type[tuple[bytes, bytes, Order, T]] = tuple[bytes, bytes, Order, position]  # type: ignore[valid-type]  # the list's own
    of_chain, of_filters, given, after = read_cursor(params.cursor, method, type_)
    if of_chain != chain:
        raise bad_cursor("the cursor is of another chain", expected=chain.hex(), got=of_chain.hex())
    if of_filters != digest:
        names = " and ".join(filters)
        raise bad_cursor(f"the cursor is of a list with another {names}", expected="as before", got=_shown(filters))
    if params.order not in (None, given):
        raise bad_cursor("the cursor is of a list in another order", expected=params.order, got=given)
    return Page(after, given, method, chain, digest)


def bad_cursor(what: str, *, expected: object, got: object) -> RpcError:
    """Return the error for a cursor that does not fit."""
    hint = "leave the cursor out to begin anew"
    return RpcError(Code.INVALID_PARAMS, "bad_cursor", what, where="$.cursor", expected=expected, got=got, hint=hint)


def _digest(filters: dict[str, object]) -> bytes:
    """Return what stands for the filters of a list in its cursors; empty where it has none."""
    if not filters:
        return b""
    return sha256(msgspec.msgpack.encode(sorted(filters.items()))).digest()[:FILTER_BYTES]


def _shown(filters: dict[str, object]) -> str:
    return ", ".join(f"{name} {'any' if value is None else value}" for name, value in filters.items())
