"""The OpenRPC document, made from the methods themselves so that it cannot differ from what the node answers.

Source: OpenRPC specification 1.3.2; schemas by `msgspec.json.schema_components`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from rpc.errors import Code, ErrorData
from rpc.registry import AnyMethod
from rpc.rights import Access, roles_with

OPENRPC_VERSION = "1.3.2"
EXAMPLES = Path(__file__).with_name("examples.json")
"""Parameters and result of a call of each method, as `scripts/make_api_examples.py` got them from a node in memory."""

REF_TEMPLATE = "#/components/schemas/{name}"
MEANINGS: dict[Code, str] = {
    Code.PARSE_ERROR: "Not JSON",
    Code.INVALID_REQUEST: "Not a JSON-RPC 2.0 request",
    Code.METHOD_NOT_FOUND: "No such method",
    Code.INVALID_PARAMS: "Parameters do not fit the method",
    Code.INTERNAL_ERROR: "The node failed to answer",
    Code.NOT_FOUND: "This node has no such record",
    Code.UNAVAILABLE: "The node cannot answer at present",
    Code.REJECTED: "Refused at the door: nothing was accepted",
    Code.NOT_PERMITTED: "The caller may not do this",
    Code.LIMIT_EXCEEDED: "A limit is exceeded",
}
ALWAYS = (Code.INVALID_PARAMS, Code.INTERNAL_ERROR, Code.LIMIT_EXCEEDED, Code.UNAVAILABLE)
"""What any method may answer: too much was asked for at a time, or there is no chain, no store or no time."""

Json = dict[str, Any]  # Any: a JSON document


def document(methods: Iterable[AnyMethod], version: str) -> Json:
    """Return the OpenRPC document of these methods, in the order of their names."""
    ordered = sorted(methods, key=lambda item: item.name)
    types = [type_ for item in ordered for type_ in (item.params, item.result)]
    notified = [type_ for item in ordered if item.notifies for type_ in (item.notifies.params, *item.notifies.results)]
    types += notified
    schemas, components = _in_ecma(msgspec.json.schema_components([*types, ErrorData], ref_template=REF_TEMPLATE))
    examples = json.loads(EXAMPLES.read_text("utf-8"))
    described = [
        _method(item, schemas[2 * index + 1], components, examples.get(item.name)) for index, item in enumerate(ordered)
    ]
    told = dict(zip(notified, schemas[2 * len(ordered) :], strict=False))
    for item, shown in zip(ordered, described, strict=True):
        if item.notifies is not None:  # OpenRPC knows no notifications
            params, results = told[item.notifies.params], [told[type_] for type_ in item.notifies.results]
            shown["x-notifications"] = [{"name": item.notifies.name, "params": params, "results": results}]
    for item in ordered:  # parameters are described one by one, so their structs are not referred to
        components.pop(item.params.__name__, None)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "chainnode",
            "version": version,
            "description": "Answers of a consortium node: records, their proofs, and submissions.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "methods": described,
        "components": {"schemas": components, "errors": {code.name: _error(code) for code in MEANINGS}},
    }


def _in_ecma(schema: Any) -> Any:  # Any: a JSON document
    """Return a schema with its patterns anchored as ECMA-262 has it, which JSON Schema asks for."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _in_ecma(value)
            for key, value in schema.items()
        }
    return [_in_ecma(item) for item in schema] if isinstance(schema, list | tuple) else schema


def _method(item: AnyMethod, result: Json, components: Json, example: Json | None) -> Json:
    schema = components[item.params.__name__]
    required = set(schema.get("required", ()))
    described: Json = {
        "name": item.name,
        "summary": item.summary,
        "tags": [{"name": item.name.partition("_")[0].partition(".")[0]}],
        "paramStructure": "either",
        "params": [
            _parameter(name, name in required, schema["properties"][name])
            for name in item.params.__struct_encode_fields__
        ],
        "result": {"name": "result", "schema": result},
        "errors": [{"$ref": f"#/components/errors/{code.name}"} for code in sorted({*ALWAYS, *_errors(item)})],
        "x-access": item.access.value,
        "x-roles": [str(role) for role in roles_with(item.access)],
    }
    if item.description:
        described["description"] = item.description
    if example is not None:
        described["examples"] = [_pairing(item.name, example)]
    return described


def _pairing(name: str, example: Json) -> Json:
    """Return an example as OpenRPC has it: a call's parameters, by name, and what it got."""
    params = [{"name": each, "value": value} for each, value in example["params"].items()]
    return {"name": f"a call of {name}", "params": params, "result": {"name": "result", "value": example["result"]}}


def _parameter(name: str, required: bool, schema: Json) -> Json:
    """Return a parameter; what is said of it in its schema is said of it as well, as OpenRPC has it."""
    described: Json = {"name": name, "required": required, "schema": schema}
    said = [schema, *schema.get("anyOf", ())]
    if description := next((part["description"] for part in said if "description" in part), None):
        described["description"] = description
    return described


def _errors(item: AnyMethod) -> tuple[Code, ...]:
    return item.errors if item.access is Access.PUBLIC else (*item.errors, Code.NOT_PERMITTED)


def _error(code: Code) -> Json:
    return {"code": int(code), "message": MEANINGS[code], "data": {"$ref": "#/components/schemas/ErrorData"}}
