"""Heights as parameters name them, and where an answer comes from: the tip, or the index behind it."""

from __future__ import annotations

from ledger.views import Tip
from rpc.errors import not_found, unavailable
from rpc.ports import IndexReads, Services
from rpc.types import HeightParam


def tip_of(services: Services) -> Tip:
    """Return where the chain stands; -32002 where this node holds none yet."""
    tip = services.reads.tip()
    if tip is None:
        raise unavailable("no_chain", "this node holds no chain yet", hint="it is catching up; net_status says how far")
    return tip


def height_of(height: HeightParam, tip: Tip, where: str = "$.height") -> int:
    """Return a height parameter as a number; -32001 above the tip."""
    if isinstance(height, str):
        return 0 if height == "earliest" else int(tip.height)
    if height > tip.height:
        raise not_found("no block at this height yet", where=where, got=f"{height}, the newest is {tip.height}")
    return height


def index_of(services: Services) -> IndexReads:
    """Return the index; -32002 on a node that keeps none."""
    if services.index is None:
        raise unavailable("no_index", "this node keeps no index", hint="ask a node that does")
    return services.index
