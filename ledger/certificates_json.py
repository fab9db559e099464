"""The JSON form of the events of a certificate's life: what users write, and what is shown of an event.

A body is an object of its record's fields by name: bytes in lower-case hex, times in RFC 3339 under the field's name
without `_ms` (`valid_until_ms` is `valid_until`), what is optional left out or null. Unknown keys are refused.
Not here: the JSON form of an event around its body, and of the state's records, which rpc shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Body, Evidence, Product, check_body
from ledger.certificates import CERTIFICATE_KINDS, SCHEMA
from ledger.shape_errors import DESCRIPTIONS, KEY_HEX_PATTERN, expected_of, split_error
from ledger.times import format_time, parse_time
from primitives.encoding import Record
from primitives.errors import InputError

BODY_OF_KIND: dict[str, type[Record]] = {spec.name: spec.schemas[SCHEMA] for spec in CERTIFICATE_KINDS}
_TIME_SUFFIX = "_ms"
_RECORDS: dict[str, type[Record]] = {"product": Product}
_LISTS: dict[str, type[Record]] = {"evidence": Evidence}


def certificate_body_to_json(body: Record) -> dict[str, Any]:  # Any: a JSON object
    """Return the JSON object of a body; every key is present."""
    return {_key(field.name): _value_to_json(field.name, getattr(body, field.name)) for field in _fields(type(body))}


def certificate_body_from_json(kind: str, value: object) -> Body:
    """Return the body of a kind that a JSON object describes.

    Raises `InputError`, which names the key, what was expected and what is there.
    """
    type_ = BODY_OF_KIND.get(kind)
    if type_ is None:
        raise InputError("not a kind of certificate event", expected=f"one of {', '.join(BODY_OF_KIND)}", got=kind)
    body = cast(Body, _record_from_json(type_, value, ""))
    check_body(body)
    return body


def _fields(type_: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(type_)


def _key(field: str) -> str:
    return field.removesuffix(_TIME_SUFFIX)


def _value_to_json(field: str, value: Any) -> Any:  # Any: a field's value, a JSON value
    if value is None:
        return None
    if field.endswith(_TIME_SUFFIX):
        return format_time(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Record):
        return certificate_body_to_json(value)
    if isinstance(value, tuple):
        return [_value_to_json(field, item) for item in value]
    return value


def _record_from_json(type_: type[Record], value: object, where: str) -> Record:
    """Return the record that an object describes, its values checked one by one so that errors name their key."""
    if not isinstance(value, Mapping):
        raise InputError("not an object", where=where or "body", expected="a JSON object", got=_shown(value))
    fields = {_key(field.name): field for field in _fields(type_)}
    unknown = sorted(str(key) for key in value if key not in fields)
    if unknown:
        raise InputError("unknown key", where=_within(where, unknown[0]), expected=f"some of {', '.join(fields)}")
    values = {field.name: _field_from_json(field, value.get(key), _within(where, key)) for key, field in fields.items()}
    return type_(**values)


def _field_from_json(field: msgspec.structs.FieldInfo, value: Any, where: str) -> Any:  # Any: JSON, a field's value
    plain: object = value
    if value is None:
        pass
    elif field.name in _RECORDS:
        plain = _record_from_json(_RECORDS[field.name], value, where)
    elif field.name in _LISTS:
        plain = _list_from_json(_LISTS[field.name], value, where)
    elif field.name.endswith(_TIME_SUFFIX):
        if not isinstance(value, str):
            raise InputError("not a time", where=where, expected="such as 2026-04-13T10:30:00Z", got=_shown(value))
        plain = parse_time(value, where=where)
    elif field.name == "digest":
        plain = _digest_from_json(value, where)
    return _checked(field, plain, where)


def _list_from_json(type_: type[Record], value: object, where: str) -> tuple[Record, ...]:
    if not isinstance(value, list):
        raise InputError("not a list", where=where, expected="a JSON array", got=_shown(value))
    return tuple(_record_from_json(type_, item, f"{where}[{index}]") for index, item in enumerate(value))


def _digest_from_json(value: object, where: str) -> bytes:
    if not isinstance(value, str) or re.fullmatch(KEY_HEX_PATTERN, value) is None:
        raise InputError("not a digest", where=where, expected=DESCRIPTIONS[KEY_HEX_PATTERN], got=_shown(value))
    return bytes.fromhex(value)


def _checked(field: msgspec.structs.FieldInfo, value: Any, where: str) -> Any:  # Any: a field's value
    """Return a value that its field's type admits, constraints included."""
    if value is None and field.required and type(None) not in getattr(field.type, "__args__", ()):
        raise InputError("missing key", where=where)
    try:
        return msgspec.convert(value, field.type, strict=True)
    except msgspec.ValidationError as error:
        message, _ = split_error(error)
        expected = expected_of(message) or f"one of {', '.join(EvidenceKind)}"
        raise InputError("wrong value", where=where, expected=expected, got=_shown(value)) from None


def _within(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: object) -> str:
    """Return a value for a message."""
    return repr(value)
