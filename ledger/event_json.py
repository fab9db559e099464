"""The JSON form of events: what users read and write, and the canonical bytes behind it.

Kinds by name, hashes and keys in lower-case hex, times as RFC 3339 UTC under their name without `_ms`, words of
enumerations as they are, and body fields by name. Payment statements have a form of their own
(`ledger.payments_json`). JSON is never hashed or signed; going there and back gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect, structs

from ledger.batches import check_event
from ledger.events import EVENT_SIZE_MAX, REFERENCE_SIZE, Event, event_id
from ledger.kinds import KindSpec
from ledger.payments import PAYMENT_STATEMENT
from ledger.payments_json import statement_from_json, statement_to_json
from ledger.registry import KINDS, KINDS_BY_NAME
from ledger.times import format_time, parse_time
from primitives.encoding import Record, decode, decoder_of, encode
from primitives.errors import InputError
from primitives.hashing import RULES_FIRST

Json = dict[str, Any]  # Any: what a JSON decoder gives
TIME_SUFFIX = "_ms"
TAG_KEY = "type"
"""Names which record of a closed union an object is."""
EVENT_KEYS = ("member", "reference", "expires", "kind", "schema", "body")


def event_to_json(event: Event) -> Json:
    """Return the JSON form of an event, with its id."""
    spec = KINDS.get(event.kind)
    return {
        "id": event_id(encode(event), event.kind).hex(),
        "member": event.member,
        "reference": event.reference.hex(),
        "expires": format_time(event.expires_ms),
        "kind": str(event.kind) if spec is None else spec.name,
        "schema": event.schema,
        "body": body_to_json(event.kind, event.schema, event.body),
    }


def body_to_json(kind: int, schema: int, body: bytes) -> Json:
    """Return the JSON form of a body; a kind or schema of a later version is shown as its bytes in hex."""
    spec = KINDS.get(kind)
    type_ = None if spec is None else spec.schemas.get(schema)
    if type_ is None:
        return {"raw": body.hex()}
    record: Any = decode(type_, body, size_max=EVENT_SIZE_MAX)
    if kind == PAYMENT_STATEMENT:
        return statement_to_json(record)
    return record_to_json(record)


def record_to_json(record: Record) -> Json:
    """Return the JSON form of any record: fields by name, bytes in hex, `x_ms` as the time `x`."""
    tag = record.__struct_config__.tag
    shown: Json = {} if tag is None else {TAG_KEY: tag}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name.endswith(TIME_SUFFIX):
            shown[name.removesuffix(TIME_SUFFIX)] = None if value is None else format_time(value)
        else:
            shown[name] = _shown(value)
    return shown


def _shown(value: object) -> object:
    match value:
        case Record():
            return record_to_json(value)
        case bytes():
            return value.hex()
        case Enum():
            return value.value
        case tuple() | list():
            return [_shown(item) for item in value]
        case _:
            return value


def event_from_json(
    value: Mapping[str, Any],
    *,
    member: str | None = None,
    reference: bytes | None = None,
    expires_ms: int | None = None,
) -> Event:
    """Return the event of a JSON object, after the checks that a batch makes of it.

    `member`, `reference` and `expires_ms` stand in for keys that the object leaves out; `schema` is by default the
    newest. An `id` in the object must be the event's. Raises InputError with the path of the value that is wrong.
    """
    unknown = sorted(set(value) - {*EVENT_KEYS, "id"})
    if unknown:
        raise InputError("unknown key", where="event", expected=", ".join(EVENT_KEYS), got=unknown[0])
    kind, schema, body = body_from_json(value.get("kind"), value.get("body"), value.get("schema"))
    given = value.get("reference")
    expires = value.get("expires")
    event = Event(
        member=_required(value.get("member", member), "member", str),
        reference=reference if given is None and reference is not None else _hex(given, "reference", REFERENCE_SIZE),
        expires_ms=(
            expires_ms
            if expires is None and expires_ms is not None
            else parse_time(_required(expires, "expires", str), where="expires")
        ),
        kind=kind,
        schema=schema,
        body=body,
    )
    checked, identity = check_event(encode(event))
    if value.get("id", identity.hex()) != identity.hex():
        raise InputError("id is not the event's", where="id", expected=identity, got=value["id"])
    return checked


def body_from_json(kind: object, body: object, schema: object = None) -> tuple[int, int, bytes]:
    """Return (kind, schema, canonical bytes) of a body given by the kind's name. Raises InputError."""
    spec = KINDS_BY_NAME.get(kind) if isinstance(kind, str) else None
    if spec is None:
        raise InputError("unknown kind", where="kind", expected=f"one of {', '.join(KINDS_BY_NAME)}", got=kind)
    number = spec.newest_schema(RULES_FIRST) if schema is None else schema
    if isinstance(number, bool) or not isinstance(number, int) or number not in spec.schemas:
        known = ", ".join(map(str, sorted(spec.schemas)))
        raise InputError(f"unknown schema of {spec.name}", where="schema", expected=known, got=number)
    if not isinstance(body, Mapping):
        raise InputError("not an object", where="body", expected=f"the fields of {spec.name}", got=type(body).__name__)
    return spec.kind, number, _body_bytes(spec, number, body)


def _body_bytes(spec: KindSpec, schema: int, body: Mapping[str, Any]) -> bytes:
    if spec.kind == PAYMENT_STATEMENT:
        return encode(statement_from_json(body))
    return encode(record_from_json(spec.schemas[schema], body, where="body"))


def record_from_json(
    type_: type[Record], value: Mapping[str, Any], *, where: str, size_max: int = EVENT_SIZE_MAX
) -> Record:
    """Return the record of a JSON object as `record_to_json` writes it. Raises InputError with the path."""
    info = inspect.type_info(type_)
    assert isinstance(info, inspect.StructType)
    record: Record = decode(type_, encode(_struct(info, value, where)), size_max=size_max)
    return record


def _check(type_: Any, built: object, given: object, where: str) -> None:
    """Raise InputError unless a built value fits a field's annotation (Any: a type form)."""
    try:
        decoder_of(type_).decode(encode(built))
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
        expected = str(error).removeprefix("Expected ").replace("`", "")
        raise InputError("wrong value", where=where, expected=expected, got=given) from None


def _struct(info: inspect.StructType, value: object, where: str) -> list[object]:
    if not isinstance(value, Mapping):
        raise InputError("not an object", where=where, expected=f"the fields of {info.cls.__name__}", got=_type(value))
    names = {field.name.removesuffix(TIME_SUFFIX): field for field in info.fields}
    unknown = sorted(set(value) - set(names) - ({TAG_KEY} if info.tag is not None else set()))
    if unknown:
        raise InputError("unknown key", where=f"{where}.{unknown[0]}", expected=f"one of {', '.join(names)}")
    annotations = {field.name: field.type for field in structs.fields(info.cls)}
    built: list[object] = [] if info.tag is None else [info.tag]
    for name, field in names.items():
        place = f"{where}.{name}"
        if name in value:
            is_time = field.name.endswith(TIME_SUFFIX)
            built.append(_time(value[name], place) if is_time else _built(field.type, value[name], place))
            _check(annotations[field.name], built[-1], value[name], place)
        elif not field.required:
            built.append(field.default)
        elif _optional(field.type):
            built.append(None)
        else:
            raise InputError("missing key", where=place, expected=name)
    return built


def _time(value: object, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError("not a time", where=where, expected="such as 2026-04-13T10:30:00Z", got=_type(value))
    return parse_time(value, where=where)


def _built(type_: inspect.Type, value: object, where: str) -> object:
    """Return a JSON value as the canonical encoding has it: objects as arrays, hex as bytes."""
    match type_:
        case inspect.UnionType(types=types):
            if value is None and _optional(type_):
                return None
            others = [item for item in types if not isinstance(item, inspect.NoneType)]
            tagged = {item.tag: item for item in others if isinstance(item, inspect.StructType)}
            if len(tagged) > 1:
                tag = value.get(TAG_KEY) if isinstance(value, Mapping) else None
                if not isinstance(tag, str) or tag not in tagged:
                    raise InputError("unknown type", where=f"{where}.{TAG_KEY}", expected=" or ".join(map(str, tagged)))
                return _struct(tagged[tag], value, where)
            return _built(others[0], value, where) if len(others) == 1 else value
        case inspect.StructType():
            return _struct(type_, value, where)
        case inspect.BytesType():
            return _hex(value, where, None)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            if not isinstance(value, list):
                raise InputError("not a list", where=where, expected="a JSON array", got=_type(value))
            return [_built(item, part, f"{where}[{i}]") for i, part in enumerate(value)]
        case inspect.TupleType(item_types=items):
            if not isinstance(value, list) or len(value) != len(items):
                raise InputError("not such a list", where=where, expected=f"{len(items)} values", got=_type(value))
            pairs = enumerate(zip(items, value, strict=True))
            return [_built(item, part, f"{where}[{i}]") for i, (item, part) in pairs]
        case _:
            if isinstance(value, float | dict | list):
                raise InputError("wrong type", where=where, expected="text, a whole number or a truth value", got=value)
            return value


def _optional(type_: inspect.Type) -> bool:
    return isinstance(type_, inspect.UnionType) and any(isinstance(item, inspect.NoneType) for item in type_.types)


def _hex(value: object, where: str, size: int | None) -> bytes:
    expected = "lower-case hex" if size is None else f"{2 * size} lower-case hex digits"
    if isinstance(value, str):
        try:
            data = bytes.fromhex(value)
        except ValueError:
            data = None
        if data is not None and data.hex() == value and size in (None, len(data)):
            return data
    raise InputError("not bytes in hex", where=where, expected=expected, got=value)


def _required(value: object, where: str, type_: type[str]) -> str:
    if not isinstance(value, type_):
        raise InputError("missing or not text", where=where, expected="text", got=_type(value))
    return value


def _type(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
