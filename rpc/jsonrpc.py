"""The JSON-RPC 2.0 protocol, pure: request bytes to calls, parameters to typed structs, answers to response bytes.

Here: what the specification says of single calls, batches, notifications, positional and named parameters, and the
limits of a request's structure. Not here: HTTP (`rpc.server`), methods (`rpc.methods`), who may call what
(`rpc.dispatch`). Source: JSON-RPC 2.0 specification; RFC 8259.

Stricter than the specification, because two readers of one request must not read two things into it: a key that
stands twice in an object, members that nobody defined, and fractional ids are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from rpc.errors import Code, ErrorObject, RpcError, invalid_params, shown
from rpc.limits import BATCH_CALLS_MAX
from rpc.types import PATTERNS

ID_CHARACTERS_MAX = 256
METHOD_CHARACTERS_MAX = 100
# A request's containers and values, counted before it is parsed: `[[],[],…` makes objects 25 times its own size.
CONTAINERS_MAX = 200_000
VALUES_MAX = 500_000
NESTING_MAX = 32

P = TypeVar("P", bound=msgspec.Struct)

Id = (
    Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS_MAX)]
    | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | None
)


class Call(msgspec.Struct, frozen=True):
    """One well-formed call. `params` is the JSON text of its parameters, empty where there are none.

    `bound` is what the method's own quick reading made of them, instead of the text.
    """

    method: str
    params: bytes
    id: Id
    is_notification: bool
    bound: msgspec.Struct | None = None


class Malformed(msgspec.Struct, frozen=True):
    """One request object that is no call: it is answered with `error`, under its id where that could be read."""

    id: Id
    error: RpcError


class Request(msgspec.Struct, frozen=True):
    """What a request's body holds; a single call is answered by one object, a batch by an array."""

    calls: tuple[Call | Malformed, ...]
    is_batch: bool


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request object as it travels."""

    jsonrpc: Literal["2.0"]
    method: Annotated[str, msgspec.Meta(min_length=1, max_length=METHOD_CHARACTERS_MAX)]
    params: msgspec.Raw = msgspec.Raw()
    id: Id | msgspec.UnsetType = msgspec.UNSET


class _IdOnly(msgspec.Struct, frozen=True):
    id: Id = None


class Success(msgspec.Struct, frozen=True):
    """A response that carries a result."""

    result: Any  # Any: each method's own struct
    id: Id
    jsonrpc: Literal["2.0"] = "2.0"


class Failure(msgspec.Struct, frozen=True):
    """A response that carries an error."""

    error: ErrorObject
    id: Id
    jsonrpc: Literal["2.0"] = "2.0"


Response = Success | Failure

_decode_wire = msgspec.json.Decoder(_Wire).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
encode = msgspec.json.Encoder().encode
"""Return the JSON bytes of one response, or of a list of them."""


def parse(body: bytes) -> Request:
    """Return the calls of a request's body.

    Raises `RpcError` with -32700 where it is not JSON, -32600 where it is neither an object nor a filled array, -32005
    where a batch or its structure exceeds a limit. A malformed call among others is returned as `Malformed`.
    """
    _check_structure(body)
    start = body.lstrip(b" \t\r\n")[:1]
    if start == b"[":
        items = _decoded(_decode_items, body)
        if not items:
            raise RpcError(Code.INVALID_REQUEST, "invalid_request", "an empty batch", expected="at least 1 call", got=0)
        if len(items) > BATCH_CALLS_MAX:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "too_many_calls",
                "too many calls in a batch",
                expected=f"at most {BATCH_CALLS_MAX}",
                got=len(items),
            )
        return Request(tuple(_parse_call(bytes(item)) for item in items), True)
    return Request((_parse_call(body),), False)


def _check_structure(body: bytes) -> None:
    """Refuse bodies that are not JSON, name a key twice, or would grow out of proportion in memory."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        got = f"byte 0x{body[error.start]:02x} at {error.start}"
        raise RpcError(Code.PARSE_ERROR, "not_utf8", "not UTF-8", expected="JSON in UTF-8", got=got) from None
    for count, limit, what in (
        (body.count(b"[") + body.count(b"{"), CONTAINERS_MAX, "arrays and objects"),
        (body.count(b","), VALUES_MAX, "values"),
    ):
        if count > limit:
            raise RpcError(
                Code.LIMIT_EXCEEDED, "too_many_values", f"too many {what}", expected=f"at most {limit}", got=count
            )
    try:
        found = json.loads(
            text,
            object_pairs_hook=_check_object,
            parse_int=_no_value,
            parse_float=_no_value,
            parse_constant=_refuse_constant,
        )
        _depth(found)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise RpcError(Code.PARSE_ERROR, "parse_error", "not JSON", expected="RFC 8259", got=_reason(error)) from None


def _check_object(pairs: list[tuple[str, Any]]) -> int:
    """Return an object's depth in its place; refuse a key that stands twice, since readers differ on which counts."""
    if len({key for key, _ in pairs}) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                break
            seen.add(key)
        raise RpcError(
            Code.PARSE_ERROR, "duplicate_key", "a key stands twice in an object", expected="distinct keys", got=key
        )
    return _deeper([value for _, value in pairs])


def _depth(value: Any) -> int:  # Any: a parsed value, with objects replaced by their depth
    # Numbers were read as None, so a whole number is an object's depth; True is none, being of another type.
    if type(value) is int:
        return value
    return _deeper(value) if type(value) is list else 0


def _deeper(values: list[Any]) -> int:
    depth = 1 + max(map(_depth, values), default=0)
    if depth > NESTING_MAX:
        raise _too_deep()
    return depth


def _no_value(text: str) -> None:
    """Read no numbers here: only the types that parameters ask for decide what a number may be."""
    del text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _reason(error: ValueError) -> str:
    return f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)


def _too_deep() -> RpcError:
    return RpcError(
        Code.PARSE_ERROR, "nested_too_deeply", "nested too deeply", expected=f"at most {NESTING_MAX} levels", got="more"
    )


T = TypeVar("T")


def _decoded(decode: Callable[[bytes], T], data: bytes) -> T:
    """Decode what `_check_structure` let through; msgspec refuses some that `json` takes, such as NaN."""
    try:
        return decode(data)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        text, where, expected, got = explain(error)
        raise RpcError(Code.INVALID_REQUEST, "invalid_request", text, where=where, expected=expected, got=got) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RpcError(Code.PARSE_ERROR, "parse_error", "not JSON", expected="RFC 8259", got=shown(error)) from None


def repeats_nothing(body: bytes, found: msgspec.Struct) -> bool:
    """Say whether typed decoding lost nothing of a body, as it does of a key that stands twice; a no settles nothing.

    `found` is all of the body in structs that refuse unknown keys and leave out what was left out. Where no text is
    escaped, each quotation mark of the body begins or ends a text, and `found` is written with as many, unless a text
    was dropped.
    """
    return b"\\" not in body and body.count(b'"') == encode(found).count(b'"')


def _parse_call(data: bytes) -> Call | Malformed:
    """Return the call of one request object; whatever is wrong with it is answered, not raised."""
    try:
        wire = _decoded(_decode_wire, data)
        params = bytes(wire.params)
        if params and params.lstrip(b" \t\r\n")[:1] not in (b"{", b"["):
            raise RpcError(
                Code.INVALID_REQUEST,
                "invalid_request",
                "params is neither named nor positional",
                where="$.params",
                expected="an object or an array",
                got=params[:40].decode(errors="replace"),
            )
    except RpcError as error:
        return Malformed(id_of(data), error)
    if isinstance(wire.id, msgspec.UnsetType):
        return Call(wire.method, params, None, True)
    return Call(wire.method, params, wire.id, False)


def id_of(data: bytes) -> Id:
    """Return the id of a request object of which nothing else is looked at; None where it has none, as a batch has."""
    try:
        return _decode_id(data).id
    except (msgspec.MsgspecError, RecursionError):
        return None


def bind(decoder: msgspec.json.Decoder[P], params: bytes) -> P:
    """Return a method's parameters as its struct; raises `RpcError` -32602 with place, expected and got.

    Positional parameters follow the order of the struct's fields; those left out at the end take their defaults.
    """
    text = params or b"{}"
    if text.lstrip(b" \t\r\n")[:1] == b"[":
        text = _named(decoder.type, _decoded(_decode_items, text))
    try:
        return decoder.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        what, where, expected, got = explain(error)
        where = where or "$"  # what is too much or missing among the parameters themselves has no place in them
        raise invalid_params(
            what, where=where, expected=expected or "what rpc.discover says", got=got or _value_at(text, where)
        ) from None
    except msgspec.DecodeError as error:  # what json takes and msgspec does not, such as NaN
        raise RpcError(Code.PARSE_ERROR, "parse_error", "not JSON", expected="RFC 8259", got=error) from None


def _named(type_: type[msgspec.Struct], items: Sequence[msgspec.Raw]) -> bytes:
    """Return positional parameters as the JSON object of the same names."""
    names = type_.__struct_encode_fields__
    if len(items) > len(names):
        raise invalid_params("too many parameters", where="$", expected=f"at most {len(names)}", got=len(items))
    return encode(dict(zip(names, items, strict=False)))


_EXPECTED = re.compile(r"Expected (?P<expected>.+?)(?:, got (?P<got>.+))?")
_REGEX = re.compile(r"`str` matching regex '(?P<pattern>.*)'")
_ENUM = re.compile(r"Invalid enum value (?P<got>.*)")


_FIELD = re.compile(r"Object (?P<how>contains unknown|missing required) field `(?P<name>[^`]*)`")


def explain(error: msgspec.ValidationError) -> tuple[str, str | None, str | None, str | None]:
    """Return msgspec's message as (what, where, expected, got)."""
    # The place comes last; what comes before may hold a megabyte of the client's own text.
    what, separator, place = str(error).rpartition(" - at `")
    where = place.removesuffix("`").removeprefix("key in ") if separator else None
    what = what if separator else place
    if match := _EXPECTED.fullmatch(what):
        expected, got = match["expected"], match["got"]
        if regex := _REGEX.fullmatch(expected):
            expected = PATTERNS.get(regex["pattern"].replace("\\\\", "\\"), expected)
        return (
            "not a valid value",
            where,
            expected.replace("`", ""),
            None if got is None else shown(got.replace("`", "")),
        )
    if match := _ENUM.fullmatch(what):
        return "not one of the possible values", where, None, shown(match["got"])
    if match := _FIELD.fullmatch(what):
        name = shown(match["name"])
        if match["how"] == "contains unknown":
            return "unknown name", where, "only names that rpc.discover lists", name
        return "something is missing", where, name, "nothing"
    return shown(what.replace("`", "")), where, None, None


# What a bank's message says is repeated to nobody.
PRIVATE_PARAMETERS = frozenset({"payload"})


def _value_at(text: bytes, where: str | None) -> str | None:
    """Return the value at a place such as `$.events[3].kind` in short, or None where there is none."""
    if where is None:
        return None
    try:
        value: Any = msgspec.json.decode(text)  # Any: the client's own input
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where):
            value = value[name] if name else value[int(index)]
    except (msgspec.MsgspecError, KeyError, IndexError, TypeError):
        return None
    if where.rpartition(".")[2] in PRIVATE_PARAMETERS:
        return f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
    return shown(encode(value).decode())
