"""What holds of every method for any parameters, drawn from the OpenRPC document; and of bodies that are barely JSON.

The gate draws the same few examples every time, `make fuzz` many new ones. Beside it `tests/rpc/test_fuzz.py` draws
without regard to what fits.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc.errors import Code
from tests.rpc.conftest import BANKS, key_of
from tests.rpc.contract.schema_fixtures import (
    METHODS,
    calls,
    codes_of,
    misfits,
    param_validator,
    params_of,
    result_validator,
)
from tests.rpc.rich_fixtures import OTHER_UETR, PAIR_KEY, SNAPSHOT, UETR, Asked, RichNode, number_of, services_of

NODE = RichNode()
"""Its own, since what is drawn may be submitted to it."""

KNOWN: dict[str, list[Any]] = {
    "action": [{"type": "activate_rules", "version": 2, "height": 1_000}],
    "at": [7, "2026-01-01T00:00:05Z"],
    "event_id": [event_id.hex() for event_id in NODE.ids],
    "from": [1, "2026-01-01T00:00:05Z"],
    "height": [0, 8, "earliest"],
    "holder": list(BANKS),
    "member": list(BANKS),
    "name": [SNAPSHOT, "desk"],
    "number": [number_of(serial) for serial in (1, 2, 9)],
    "old_size": [1, 20],
    "pair_key": [PAIR_KEY.hex()],
    "query": [number_of(1), UETR, "7", "bank"],
    "size": [view.size for view in NODE.reader.checkpoints(None, 9)],
    "source": [key_of(bank, "source").public.hex() for bank in BANKS],
    "start": [0, 5],
    "subscription": ["1", "2"],
    "to": [30, "latest"],
    "uetr": [UETR, OTHER_UETR],
    "witnesses": [[]],
}
NAMES = sorted(METHODS)
READING = [name for name in NAMES if METHODS[name]["x-access"] in ("public", "read") and "ubscribe" not in name]
"""Those that answer the same when they are asked again."""

A_METHOD = settings(max_examples=max(6, settings().max_examples // 12))
"""Each method has its own examples: of all tests together they are the share of one with some hundreds."""

junk = st.sampled_from(["x", "Limit", "limit ", "", "__class__", "a" * 300])


@pytest.fixture(scope="module")
def asked(runner: asyncio.Runner) -> Asked:
    return Asked(services_of(NODE), runner)


def check_error(name: str, error: dict[str, Any]) -> None:
    """An error is one that the method lists, says why, and shows nothing of our insides."""
    assert error["code"] in codes_of(name), (name, error)
    assert error["code"] != Code.INTERNAL_ERROR, (name, error)
    assert error["data"]["reason"]
    assert isinstance(error["data"]["retryable"], bool)
    assert "\n" not in error["message"]
    assert "Traceback" not in error["message"]


@pytest.mark.parametrize("name", NAMES)
@A_METHOD
@given(data=st.data())
def test_what_fits_is_answered_as_the_document_says(asked: Asked, name: str, data: st.DataObject) -> None:
    answer = asked.answer(name, data.draw(calls(name, KNOWN)))
    if "error" in answer:
        check_error(name, answer["error"])
    else:
        result_validator(name).validate(answer["result"])


@pytest.mark.parametrize("name", NAMES)
@A_METHOD
@given(data=st.data())
def test_what_does_not_fit_is_refused_with_where_expected_and_got(asked: Asked, name: str, data: st.DataObject) -> None:
    params = data.draw(calls(name, KNOWN))
    broken = data.draw(st.sampled_from(["unknown", *(each for each in params_of(name) if misfits(name, each))]))
    if broken == "unknown":
        added = data.draw(junk.filter(lambda each: each not in params_of(name)))
        params[added] = 1
    elif METHODS_NEED[name] and data.draw(st.booleans()):
        params.pop(broken := data.draw(st.sampled_from(METHODS_NEED[name])))
    else:
        params[broken] = data.draw(st.sampled_from(misfits(name, broken)))
    error = asked.error(name, params)
    check_error(name, error)
    assert error["code"] == Code.INVALID_PARAMS, (params, error)
    assert error["data"].get("where"), (params, error)
    assert error["data"].get("expected"), (params, error)
    assert error["data"].get("got") is not None, (params, error)


METHODS_NEED = {name: [each for each, item in params_of(name).items() if item["required"]] for name in NAMES}


@pytest.mark.parametrize("name", [name for name in READING if params_of(name)])
@A_METHOD
@given(data=st.data())
def test_parameters_by_place_are_those_by_name(asked: Asked, name: str, data: st.DataObject) -> None:
    named = data.draw(calls(name, KNOWN))
    given_names = [each for each in params_of(name) if each in named]
    last = list(params_of(name)).index(given_names[-1]) + 1 if given_names else 0
    row = [(each, item) for each, item in params_of(name).items()][:last]
    by_place = [named[each] if each in named else item["schema"].get("default") for each, item in row]
    by_name = {each: value for (each, _), value in zip(row, by_place, strict=True)}
    assert asked.answer(name, by_place) == asked.answer(name, by_name)


@A_METHOD
@given(data=st.data())
def test_a_notification_is_never_answered(asked: Asked, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    params: Any = data.draw(calls(name, KNOWN) | st.just({"no such name": 1}))
    request = {"jsonrpc": "2.0", "method": name, "params": params}
    assert asked.body(json.dumps(request).encode()).body is None
    assert asked.body(json.dumps([request, request]).encode()).body is None


@given(data=st.data())
@settings(max_examples=max(20, settings().max_examples // 4))
def test_a_batch_is_answered_call_by_call_in_its_order(asked: Asked, data: st.DataObject) -> None:
    requests: list[Any] = []
    answered: list[Any] = []
    for number in range(data.draw(st.integers(1, 6))):
        what = data.draw(st.sampled_from(["call", "notification", "unknown method", "no call"]))
        name = data.draw(st.sampled_from(READING))
        request: Any = {"jsonrpc": "2.0", "id": number, "method": name, "params": data.draw(calls(name, KNOWN))}
        if what == "notification":
            del request["id"]
        elif what == "unknown method":
            request["method"] = "ledger_mint"
            answered.append((number, Code.METHOD_NOT_FOUND))
        elif what == "no call":
            request = data.draw(st.sampled_from([1, None, "x", [], {}, [request]]))
            answered.append((None, Code.INVALID_REQUEST))
        else:
            answered.append((number, None))
        requests.append(request)
    body = asked.body(json.dumps(requests).encode()).body
    if not answered:
        assert body is None
        return
    assert body is not None
    found = json.loads(body)
    assert [item["id"] for item in found] == [call_id for call_id, _ in answered]
    for item, (_, code) in zip(found, answered, strict=True):
        assert ("result" in item) != ("error" in item)
        assert code is None or item["error"]["code"] == code


PARAMS = b'{"jsonrpc": "2.0", "id": 1, "method": "%s", "params": %s}'
BARELY = {
    "nested deeply": (b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "nested_too_deeply"),
    "a number of many digits": (b'{"a": ' + b"9" * 5_000 + b"}", None),
    "a number beyond every float": (b'{"a": 1e999}', None),
    "a small number of many digits": (b'{"a": 0.' + b"0" * 5_000 + b"1}", None),
    "NaN": (b'{"a": NaN}', "parse_error"),
    "Infinity": (b'{"a": -Infinity}', "parse_error"),
    "a key twice": (b'{"a": 1, "a": 2}', "duplicate_key"),
    "a key twice, once escaped": (b'{"a": 1, "\\u0061": 2}', "duplicate_key"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "parse_error"),
    "half a surrogate pair for a key": (b'{"\\udfff": 1}', "parse_error"),
    "a byte that is no UTF-8": (b'{"a": "\xff"}', "not_utf8"),
    "a raw line feed in a text": (b'{"a": "\n"}', "parse_error"),
    "NUL": (b'{"a": "\0"}', "parse_error"),
    "a comment": (b"{} /* */", "parse_error"),
    "a comma too many": (b'{"a": 1,}', "parse_error"),
}


@pytest.mark.parametrize("what", BARELY)
def test_parameters_that_are_barely_json_are_refused_of_every_method(asked: Asked, what: str) -> None:
    text, reason = BARELY[what]
    for name in NAMES:
        error = asked.json(PARAMS % (name.encode(), text))["error"]
        assert error["code"] in (Code.PARSE_ERROR, Code.INVALID_PARAMS), (name, error)
        assert reason in (None, error["data"]["reason"]), (name, error)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_anything_but_plain_utf8_is_refused(asked: Asked, encoding: str) -> None:
    body = (PARAMS % (b"net_status", b"{}")).decode().encode(encoding)
    assert asked.json(body)["error"]["code"] == Code.PARSE_ERROR


def test_a_misfit_is_known_for_every_parameter_that_is_not_any_json() -> None:
    without = [(name, each) for name in NAMES for each in params_of(name) if not misfits(name, each)]
    assert without == []
    assert not param_validator("ledger_getBlocks", "limit").is_valid(101)
