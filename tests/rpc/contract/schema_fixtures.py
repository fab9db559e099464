"""The OpenRPC document as tests read it: schemas to check against, and strategies that draw what fits them.

Drawn is what the document says, with names that the chain of `RichNode` knows mixed in, so that calls find something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from ledger.times import parse_time
from primitives.errors import InputError
from rpc.methods.catalogue import document

Json = dict[str, Any]

DOCUMENT: Json = json.loads(msgspec.json.encode(document("0.1.0")))
METHODS: dict[str, Json] = {item["name"]: item for item in DOCUMENT["methods"]}
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
CODES: dict[str, int] = {name: item["code"] for name, item in DOCUMENT["components"]["errors"].items()}
LIST_MAX = 4

checker = FormatChecker(formats=())


@checker.checks("date-time", raises=InputError)
def _is_time(value: object) -> bool:
    if isinstance(value, str):
        parse_time(value)
    return True


def validator(schema: Json) -> Draft202012Validator:
    """Return what checks a value against a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(whole, format_checker=checker)


@cache
def result_validator(method: str) -> Draft202012Validator:
    """Return what checks a method's result."""
    return validator(METHODS[method]["result"]["schema"])


@cache
def param_validator(method: str, name: str) -> Draft202012Validator:
    """Return what checks one parameter of a method."""
    return validator(params_of(method)[name]["schema"])


@cache
def params_of(method: str) -> dict[str, Json]:
    """Return the parameters of a method by name, in their order."""
    return {item["name"]: item for item in METHODS[method]["params"]}


def codes_of(method: str) -> set[int]:
    """Return the codes of the errors that a method lists."""
    return {CODES[item["$ref"].rpartition("/")[2]] for item in METHODS[method]["errors"]}


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def fitting(schema: Json) -> st.SearchStrategy[Any]:
    """Return what draws values that fit a schema."""
    if "$ref" in schema:
        return fitting(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of([fitting(part) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "string":
            return _text(schema)
        case "array":
            size_max = min(LIST_MAX, schema.get("maxItems", LIST_MAX))
            return st.lists(fitting(schema["items"]), min_size=schema.get("minItems", 0), max_size=size_max)
        case "object" if "properties" in schema:
            parts = {name: fitting(part) for name, part in schema["properties"].items()}
            return _object(parts, set(schema.get("required", ())))
        case "object":
            return st.dictionaries(st.text(max_size=8), anything, max_size=LIST_MAX)
        case _:
            return anything


def _text(schema: Json) -> st.SearchStrategy[str]:
    size_min, size_max = schema.get("minLength", 0), schema.get("maxLength", 400)
    if "pattern" in schema:
        drawn = st.from_regex(schema["pattern"].replace("$", r"\Z"), fullmatch=True)
        return drawn.filter(lambda text: size_min <= len(text) <= size_max)
    whole = st.characters(exclude_categories=["Cs"])  # half a pair is no Unicode text, and no UTF-8 can hold it
    return st.text(whole, min_size=size_min, max_size=min(size_max, size_min + 20))


def _object(parts: Mapping[str, st.SearchStrategy[Any]], required: set[str]) -> st.SearchStrategy[Json]:
    needed = {name: part for name, part in parts.items() if name in required}
    return st.fixed_dictionaries(needed, optional={name: part for name, part in parts.items() if name not in required})


def calls(method: str, known: Mapping[str, Sequence[Any]]) -> st.SearchStrategy[Json]:
    """Return what draws parameters of a method that fit; those with names in `known` often have one of its values."""
    parts = {}
    for name, item in params_of(method).items():
        parts[name] = fitting(item["schema"])
        if usual := [each for each in known.get(name, ()) if param_validator(method, name).is_valid(each)]:
            parts[name] = st.one_of(st.sampled_from(usual), st.sampled_from(usual), parts[name])
    return _object(parts, {name for name, item in params_of(method).items() if item["required"]})


MISFITS: Sequence[Any] = (
    *(None, True, 0, -1, 2**53 + 1, 2**63, 2**64, 10**30, -(2**63) - 1, 1.5, 1e308, -0.5, "", "x" * 600, "\0"),
    *("latest ", "LATEST", "ab" * 32 + "\n", "AB" * 32, "../x", "1", [], [[]], [None], {}, {"a": 1}, [{}], ["x" * 300]),
)


def misfits(method: str, name: str) -> list[Any]:
    """Return values that do not fit a parameter."""
    fits = param_validator(method, name).is_valid
    return [value for value in MISFITS if not fits(value)]
