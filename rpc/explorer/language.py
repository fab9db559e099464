"""The languages of the explorer: their texts, and which one a reader gets.

Texts are in `texts/en.json` and `texts/zh.json`, by the same keys, with places in braces. What stands in an event is
never a text: only keys of ours are looked up, and what fills a place is escaped with the rest of the page.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

LANGUAGES: dict[str, str] = {"en": "English", "zh": "中文"}
"""The code of each language and its own name; the first is the default."""

DEFAULT = "en"
ACCEPT_CHARACTERS_MAX = 512


@cache
def texts(language: str) -> dict[str, str]:
    """Return all texts of a language by key."""
    assert language in LANGUAGES, language
    file = resources.files("rpc.explorer").joinpath("texts", f"{language}.json")
    found: dict[str, str] = json.loads(file.read_text("utf-8"))
    return found


def choose_language(asked: str | None, kept: str | None, accepted: str) -> str:
    """Return the language asked for in the query, else the one kept in a cookie, else the best of Accept-Language."""
    for choice in (asked, kept):
        if choice in LANGUAGES:
            return choice
    ranked: list[tuple[float, int, str]] = []
    for place, item in enumerate(accepted[:ACCEPT_CHARACTERS_MAX].split(",")):
        tag, _, weight = item.replace(" ", "").lower().partition(";q=")
        language = tag.split("-")[0]
        if language in LANGUAGES:
            ranked.append((-_weight(weight), place, language))
    best = min(ranked, default=None)
    return best[2] if best is not None and best[0] < 0 else DEFAULT


def _weight(text: str) -> float:
    if not text:
        return 1.0
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
