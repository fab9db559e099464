"""Strict JSON for what people and tools hand in: one object, no repeated keys, no fractions, bounded size and nesting.

An amount written as a number would pass through a binary fraction, so numbers with a point are refused.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

import msgspec

from chainnode.ingest.errors import JsonError, shown_names

BRACKETS_MAX = 256  # far below where the decoder's recursion ends
_TEXTS = msgspec.json.Decoder(dict[str, str])


def parse_object(data: bytes, *, where: str, size_max: int, brackets_max: int = BRACKETS_MAX) -> dict[str, Any]:
    """Return the JSON object that `data` is (Any: what JSON gives); JsonError for anything else."""
    if len(data) > size_max:
        raise JsonError("too large", where=where, expected=f"at most {size_max} bytes", got=len(data))
    texts = _flat(data)
    if texts is not None:
        return texts
    if data.count(b"[") + data.count(b"{") > brackets_max:
        raise JsonError("nested too deeply", where=where, expected=f"at most {brackets_max} brackets", got="more")
    try:
        text = data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_float=_no_fraction,
            parse_int=_bounded_int,
            parse_constant=_no_fraction,
        )
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8", where=where, expected="UTF-8 text", got=f"a bad byte at {error.start}") from None
    except json.JSONDecodeError as error:
        raise JsonError(
            "malformed JSON", where=f"{where}: character {error.pos}", expected="JSON", got=error.msg
        ) from None
    except RecursionError:
        raise JsonError("nested too deeply", where=where, expected="the form that was written") from None
    except _Refused as error:
        raise JsonError(error.what, where=where, expected=error.expected, got=error.got) from None
    if "\\u" in text and not _is_text(json.dumps(value, ensure_ascii=False)):
        raise JsonError("not Unicode text", where=where, expected="whole characters", got="half of a surrogate pair")
    if not isinstance(value, dict):
        raise JsonError("not a JSON object", where=where, expected="{...}", got=type(value).__name__)
    return value


def _flat(data: bytes) -> dict[str, Any] | None:
    """Return an object of nothing but texts, the common case, by a faster decoder; None for anything else.

    That decoder takes a key twice, so its quotes are counted: with nothing escaped each key and value has two.
    """
    try:
        texts = _TEXTS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return texts if b"\\" not in data and data.count(b'"') == 4 * len(texts) else None


class _Refused(Exception):
    """Something that JSON allows and we do not; carried out of the decoder's hooks."""

    def __init__(self, what: str, expected: str, got: str) -> None:
        super().__init__(what)
        self.what, self.expected, self.got = what, expected, got


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise _Refused("key repeated", "each key once", shown_names(repeated))
    return value


def _no_fraction(text: str) -> NoReturn:
    raise _Refused("fraction in JSON", "decimal amounts as text", f"a number of {len(text)} characters")


def _bounded_int(text: str) -> int:
    if len(text) > 20:
        raise _Refused("number too large", "at most 64 bits", f"{len(text)} digits")
    return int(text)


def _is_text(text: str) -> bool:
    """Return whether text has a form in UTF-8; an escape can smuggle in half of a surrogate pair, which has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
