"""What msgspec says of a value that does not fit its type, in words that a person can act on.

Patterns of identifiers have descriptions here, beside none of the records: a message names the format, not the regular
expression. What a value has to be stands in the records themselves.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ledger.catalogue import SLUG_PATTERN
from ledger.certificate_bodies import APPLICATION_ID_PATTERN, NUMBER_PATTERN, REASON_PATTERN
from ledger.members import AGENT_PATTERN, MEMBER_ID_PATTERN, OFFICER_ROLE_PATTERN, TEXT_PATTERN

KEY_HEX_PATTERN = r"\A[0-9a-f]{64}\Z"
CHAIN_NAME_PATTERN = r"\A[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?\Z"
NODE_NAME_PATTERN = r"\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"

DESCRIPTIONS = {
    KEY_HEX_PATTERN: "64 digits of lower-case hex",
    CHAIN_NAME_PATTERN: "lower-case letters, digits, dots and hyphens, at most 63",
    NODE_NAME_PATTERN: "lower-case letters, digits and hyphens, at most 63",
    MEMBER_ID_PATTERN: "lower-case letters, digits and hyphens, at most 32",
    AGENT_PATTERN: "a BIC, an LEI, or a CNAPS code of 12 digits",
    OFFICER_ROLE_PATTERN: "lower-case letters and underscores, at most 32",
    TEXT_PATTERN: "text without control characters",
    SLUG_PATTERN: "lower-case letters and underscores, at most 64",
    REASON_PATTERN: "a slug of lower-case letters, digits and underscores, at most 64",
    APPLICATION_ID_PATTERN: "MEMBER.SERIAL such as bank-a.2026-001",
    NUMBER_PATTERN: "SCHEME-YEAR-CATEGORY-SERIAL such as FTP-2026-06-000123",
}

_PLACE = re.compile(r"\A(.*) - at `\$\.?(.*)`\Z", re.DOTALL)
_EXPECTED = re.compile(r"\AExpected (.*?)(?:, got `[^`]*`)?\Z", re.DOTALL)
_PATTERN = re.compile(r"matching regex '(.*)'\Z", re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def split_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return an error's message and its place, such as `members[0].name`; the place is empty at the top."""
    match = _PLACE.match(str(error))
    return (match[1], match[2]) if match else (str(error), "")


def expected_of(message: str) -> str | None:
    """Return what a message says was expected, in words; None where it says something else, as of an unknown field."""
    match = _EXPECTED.match(message)
    if match is None:
        return None
    if pattern := _PATTERN.search(match[1]):
        return DESCRIPTIONS.get(pattern[1].replace("\\\\", "\\"), match[1])
    return match[1].replace("`", "")


def value_at(document: Any, place: str) -> Any:  # Any: a JSON document
    """Return the value at a place such as `members[0].name`; the innermost one that exists where a step leads nowhere.

    The step `[...]`, which msgspec writes for the values of an object with free names, is such a step.
    """
    for index, name in _STEP.findall(place):
        try:
            document = document[int(index)] if index else document[name]
        except (KeyError, IndexError, TypeError):
            break
    return document
