"""Records without the patterns of their text: decoded at a third of the cost, for those who check text in another way.

msgspec calls a regular expression for every text field that has a pattern, which costs more than all else of a payment
statement. Whoever decodes a lean record must match the texts himself, which a cache makes cheap: few of them differ.
Here: deriving the lean record and the patterns from the record itself, so that the two cannot drift apart.
"""

from __future__ import annotations

import re
from functools import cache
from types import new_class
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta

from primitives.encoding import Record


@cache
def lean_of(record: type[Record]) -> type[Record]:
    """Return a record of the same fields, limits and bytes, in which no text, of inner records too, has a pattern."""
    hints = get_type_hints(record, include_extras=True)
    fields = {name: _lean(hints[name]) for name in record.__struct_fields__}
    assert not record.__struct_defaults__, "a field left out would be taken for its default"
    return new_class(f"Lean{record.__name__}", (Record,), {}, lambda body: body.update(__annotations__=fields))


def patterns_of(record: type[Record]) -> dict[str, re.Pattern[str]]:
    """Return the pattern of each text field of a record, not of inner ones; to be searched for, as msgspec does."""
    found = {}
    for name, hint in get_type_hints(record, include_extras=True).items():
        for meta in getattr(hint, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.pattern is not None:
                found[name] = re.compile(meta.pattern)
    return found


def _lean(hint: Any) -> Any:  # Any: type forms
    if isinstance(hint, type) and issubclass(hint, Record):
        return lean_of(hint)
    if get_origin(hint) is Annotated:
        base, *metas = get_args(hint)
        return Annotated[(_lean(base), *map(_without_pattern, metas))]
    if get_origin(hint) in (list, tuple):
        return get_origin(hint)[tuple(_lean(item) for item in get_args(hint))]
    return hint


def _without_pattern(meta: Meta) -> Meta:
    if meta.pattern is None:
        return meta
    return Meta(min_length=meta.min_length, max_length=meta.max_length)
