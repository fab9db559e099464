"""The search page: one box; where just one thing is found, its own page."""

from __future__ import annotations

from rpc.explorer.asking import Asked, Page, Redirect, ask, path_to
from rpc.methods.search import QUERY_CHARACTERS_MAX, Hit, HitKind
from rpc.methods.search import search as find


def search(asked: Asked) -> Page | Redirect:
    """What a reference can mean."""
    query = asked.word("q")
    if query is None:
        return Page("search.html", "search.title", {"query": "", "hits": [], "more": False, "too_long": False})
    if len(query) > QUERY_CHARACTERS_MAX:
        values = {"query": query[:QUERY_CHARACTERS_MAX], "hits": [], "more": False, "too_long": True}
        return Page("search.html", "search.title", values, status=400)
    found = ask(find, asked.services, query=query)
    if len(found.hits) == 1:
        return Redirect(page_of(found.hits[0]))
    values = {
        "query": query,
        "hits": [{"kind": hit.kind.value, "name": hit.name, "by": hit.by, "url": page_of(hit)} for hit in found.hits],
        "more": found.more,
        "too_long": False,
    }
    return Page("search.html", "search.title", values, as_of=found.as_of, status=200 if found.hits else 404)


def page_of(hit: Hit) -> str:
    """Return the path of what was found."""
    if hit.kind is HitKind.CHECKPOINT:
        return path_to("checkpoints", size=hit.name) + f"#size-{hit.name}"
    return path_to(hit.kind.value, hit.name)
