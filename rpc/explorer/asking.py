"""What a page is made of: the request as far as pages may see it, the page that answers it, and calling API methods.

Pages are plain functions `(Asked) -> Page | Redirect`, run in a thread. They know the ledger through the methods of the
API alone, so that what a page shows, a program can ask for. Not here: HTTP (`rpc.explorer.mount`), HTML
(`rpc.explorer.rendering`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from rpc.jsonrpc import bind
from rpc.ports import Services
from rpc.registry import Method, Unsettled

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")

ROWS_A_PAGE = 25


class OnLoop(Protocol):
    """Runs a function on the node's event loop, where all ports but the ledger's belong, and returns its result."""

    def __call__(self, function: Callable[[], R], /) -> R:
        """Return what the function returns, or raise what it raises."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a page: the parts of its path, and its query with the last value of each name.

    Pages run in a thread: they read the ledger there, and ask the node and its gateway `on_loop`. `origin` is the site
    as the reader's browser names it, which is good for links and for nothing else.
    """

    services: Services
    parts: Mapping[str, str]
    query: Mapping[str, str]
    on_loop: OnLoop
    origin: str = ""

    def word(self, name: str) -> str | None:
        """Return a value of the query without surrounding spaces; None where it is missing or empty."""
        return self.query.get(name, "").strip() or None


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its template, the values for it, and the height that it speaks for.

    `title` is the key of its title's text, whose places `named` fills. `fragment` leaves out everything around the
    template's own part.
    """

    template: str
    title: str
    values: Mapping[str, Any]  # Any: what a template shows
    named: Mapping[str, str] = field(default_factory=dict)
    as_of: int | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another page answers; `path` is one of ours."""

    path: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file to keep: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a page or to keep: its name, its type, and its bytes."""

    name: str
    type: str
    data: bytes


Answer: TypeAlias = Page | Redirect | Download | Picture
Maker: TypeAlias = Callable[[Asked], Answer]


def ask(item: Method[P, R], services: Services, **params: object) -> R:
    """Return what a reading method answers at once; parameters that are None are left out. Raises `RpcError`."""
    given = {name: value for name, value in params.items() if value is not None}
    found = item.answer(services, bind(item.decoder, msgspec.json.encode(given)))
    assert not isawaitable(found), "pages only read"
    return found.answer if isinstance(found, Unsettled) else found


def path_to(*parts: object, **query: object) -> str:
    """Return the path of a page: parts and query are quoted, values of the query that are None or empty left out."""
    path = "/" + "/".join(quote(str(part), safe="") for part in parts)
    kept = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path
