"""From a page to HTML: the templates, and what they may use.

Every value is escaped where it is written (autoescape, no template marks anything as safe), and a name that a page did
not give is an error and not an empty place (StrictUndefined). Characters that nobody sees, such as those that turn the
direction of a text around, are written out (`visible`). Templates reach texts by `t`, and nothing of the node.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rpc.explorer.asking import Page, path_to
from rpc.explorer.language import DEFAULT, LANGUAGES, texts
from rpc.explorer.statics import Statics
from rpc.ports import NodeStatus

TEMPLATES = Path(__file__).parent / "templates"
THEMES = ("auto", "light", "dark")
FIRST_PAGE = "overview.html"
SHORT_AT = 18
ROW_BYTES = 16
# Controls but tab and line feed, what turns directions around, joins or spaces without a width, tags, surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds a page: the reader's language and theme, and where the page is, for links to itself."""

    language: str
    theme: str
    path: str
    query: Mapping[str, str]
    node: NodeStatus | None

    def with_query(self, **changed: str) -> str:
        """Return the link to this same page with some of its query changed."""
        return f"{self.path}?{urlencode({**self.query, **changed})}"


@cache
def environment() -> Environment:
    """Return the templates of this process, each compiled when it is first used; they hold nothing of a node."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        short=short, grouped=grouped, clock=clock, day=day, minute=minute, hexdump=hexdump, entries=entries
    )
    made.filters.update(raw_value=raw_value, hex_of=hex_of)
    made.globals.update(path_to=path_to, languages=LANGUAGES, themes=THEMES, is_map=_is_map, is_list=_is_list)
    return made


def compile_first_page() -> None:
    """Compile the templates of the first page, which otherwise its first reader waits for."""
    for name in (FIRST_PAGE, "_live.html", "base.html", "_macros.html"):
        environment().get_template(name)


class Renderer:
    """Writes pages that name these files; may be called from any thread."""

    def __init__(self, statics: Statics) -> None:
        self._statics = statics

    def html(self, page: Page, frame: Frame, *, fragment: str | None = None) -> str:
        """Return a page as HTML; with `fragment` that template alone, without what surrounds it."""
        words, fallback = texts(frame.language), texts(DEFAULT)

        def t(key: str, **places: object) -> str:
            text = words.get(key)
            text = fallback[key] if text is None else text
            return text.format(**places) if places else text

        def word(group: str, name: object) -> str:
            """Return our word for a value of a closed set, or the value itself where a later release made it."""
            return words.get(f"{group}.{name}", str(name))

        template = environment().get_template(fragment or page.template)
        title = t(page.title, **page.named)
        return template.render(
            page.values, t=t, word=word, frame=frame, title=title, as_of=page.as_of, asset=self._statics.url
        )


def visible(value: object) -> object:
    """Return a text with the characters that nobody sees written out as ⟨U+202E⟩; all else, and markup, as it is."""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)


def short(text: str) -> str:
    """Return the first and last digits of a long hash or key."""
    return text if len(text) <= SHORT_AT else f"{text[:10]}…{text[-6:]}"


def grouped(number: int) -> str:
    """Return a number with its digits in groups of three."""
    return f"{number:,}"


def clock(time: str) -> str:
    """Return an RFC 3339 time in UTC as people read it, to the second; the element around it holds all of it."""
    return f"{time[:19].replace('T', ' ')} UTC"


def minute(time: str) -> str:
    """Return the hour and minute of an RFC 3339 time in UTC."""
    return time[11:16]


def day(time: str) -> str:
    """Return the date of an RFC 3339 time."""
    return time[:10]


def hexdump(data: str) -> str:
    """Return base64 as lines of offset, hex digits and printable characters."""
    raw = base64.b64decode(data)
    lines = []
    for start in range(0, len(raw), ROW_BYTES):
        row = raw[start : start + ROW_BYTES]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:06x}  {row.hex(' '):<{ROW_BYTES * 3 - 1}}  {shown}")
    return "\n".join(lines)


def hex_of(data: str) -> str:
    """Return base64 as hex."""
    return base64.b64decode(data).hex()


def raw_value(content: object) -> str:
    """Return a value as pages mark it for browsers: empty where there is nothing."""
    if content is None or content in ([], {}, ()):
        return ""
    return ("true" if content else "false") if isinstance(content, bool) else str(content)


def entries(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the entries of a map, whatever its keys are called."""
    return list(value.items())


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
