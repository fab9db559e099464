"""The quick reading of many payment statements against the way that judges each by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.payments import AGENTS_MAX
from rpc import jsonrpc
from rpc.dispatch import METHOD_FOUND_BYTES
from rpc.errors import RpcError
from rpc.jsonrpc import Call
from rpc.methods import submit as methods
from rpc.methods.submit import EVENTS_A_PAUSE, ReadySubmit, _event, quick_submit, submit
from rpc.ports import NewEvent, Wait
from tests.rpc.test_submitting import as_json

HASH = "0123456789abcdef" * 4
BODY: dict[str, Any] = {
    "side": "debtor",
    "message_type": "pacs.008.001.08",
    "status": "accepted",
    "reason": None,
    "amount": None,
    "currency": "CNY",
    "amount_commitment": HASH,
    "settlement_date": "2026-04-13",
    "agents": [
        {"role": "debtor-agent", "scheme": "BIC", "code": "BKAACNBJXXX"},
        {"role": "creditor-agent", "scheme": "CNAPS", "code": "999100000017"},
    ],
    "channel": "beps",
    "uetr": "00112233-4455-4677-8899-aabbccddeeff",
    "reference_commitment": HASH[::-1],
    "pair_key": None,
    "tokens": {},
    "fields_root": "ab" * 32,
    "terminal_certificate": None,
    "source_digest": "cd" * 32,
    "time": "2026-04-13T10:30:00.5+08:00",
    "salt": "00112233445566778899aabbccddeeff",
}
EVENT: dict[str, Any] = {"kind": "payment.statement", "reference": "0f" * 16, "body": BODY}
LEFT_OUT = object()
"""Stands for a key that is not there."""

GOOD: dict[str, list[Any]] = {
    "side": ["creditor", "switch", "intermediary"],
    "message_type": ["pacs.008", "emv.qr", "iso8583.0200"],
    "status": ["received", "reversed"],
    "reason": ["AC04", "", LEFT_OUT],
    "settlement_date": [None, "", LEFT_OUT, "2026-02-28", "2026-02-28Z"],
    "agents": [[], [{"role": "issuer", "scheme": "bic", "code": "BKAACNBJ"}]],
    "channel": ["pos", "none", "", None, LEFT_OUT],
    "uetr": [None, "", LEFT_OUT, "ffffffff-ffff-4fff-bfff-ffffffffffff"],
    "tokens": [None, LEFT_OUT],
    "terminal_certificate": ["FTP-2026-06-000123", "", LEFT_OUT],
    "time": ["1970-01-01T00:00:00Z", "2026-04-13T10:30:00Z", "2026-04-13T10:30:00.123456789Z"],
}
ODD = [LEFT_OUT, None, "", 0, 1.5, True, [], {}, "x", "Debtor", HASH.upper(), HASH[:-1], HASH + "0", " " + HASH[1:]]
BAD: dict[str, list[Any]] = {
    "amount": ["1.23", "0", "-1", "1.234", "9" * 19, "1" * 16, 1],
    "amount_commitment": [HASH[:32], HASH * 2],
    "settlement_date": ["2026-02-30", "20260413", "2026-04-13T10:30:00Z"],
    "agents": [
        [{"role": "issuer", "scheme": "BIC", "code": "x"}],
        [{"role": "issuer", "scheme": "BIC", "code": None}],
        [{"role": "issuer", "scheme": "BIC"}],
        [{"role": "issuer", "scheme": "LEI", "code": "BKAACNBJ"}],
        [BODY["agents"][1], BODY["agents"][0]],
        [BODY["agents"][0]] * (AGENTS_MAX + 1),
    ],
    "uetr": [HASH[:32], "00112233-4455-1677-8899-aabbccddeeff", "0011223-34455-4677-8899-aabbccddeeff", "-" * 36],
    "pair_key": [HASH],
    "tokens": [{"amount": HASH[:32]}, {"amount": HASH[:30]}, {"colour": HASH[:32]}, {"amount": None}],
    "terminal_certificate": ["FTP", "FTP-2026-06-000123\n"],
    "time": ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", "2026-04-13 10:30:00Z"],
    "message_type": ["json", "pacs.002", "pacs.008.001.08\n", "pacs.8"],
    "currency": ["cny", "XXX", "EUR", "ABC"],
    "unknown": [None, 1],
}
ENVELOPE: list[dict[str, Any]] = [
    *({"reference": value} for value in (None, "", "0F" * 16, "0f" * 15, 1, LEFT_OUT)),
    *({"expires": value} for value in (None, "2026-04-13T10:30:00Z", "9999-12-31T23:59:59-14:00", "now", 1)),
    *({"schema": value} for value in (None, 1, 2, 1.0, True, "1")),
    *({"kind": value} for value in ("payment.other", "certificate.apply", None, LEFT_OUT)),
    {"colour": 1},
    {"body": None},
    {"body": []},
]


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return an object with some of its values changed or left out."""
    return {key: value for key, value in {**base, **changes}.items() if value is not LEFT_OUT}


def body_of(events: list[dict[str, Any]], *, form: int = 0, **params: Any) -> bytes:
    """Return a request's body in one of the ways in which clients write it."""
    found = {"jsonrpc": "2.0", "id": 7, "method": "ledger_submit", "params": {"events": events, **params}}
    match form:
        case 0:
            return json.dumps(found, separators=(",", ":")).encode()
        case 1:
            return json.dumps(found, indent=1).encode()
        case 2:
            return json.dumps(dict(reversed(found.items()))).encode()
        case _:
            return json.dumps(found).replace('"CNY"', '"\\u0043NY"').encode()


def slowly(body: bytes) -> tuple[Any, bool, list[NewEvent], Wait] | None:
    """Return what judging each event by itself makes of a body, or None where it is refused."""
    try:
        (call,) = jsonrpc.parse(body).calls
        if not isinstance(call, Call):
            return None
        params = jsonrpc.bind(submit.decoder, call.params)
        return call.id, call.is_notification, [_event(item, i) for i, item in enumerate(params.events)], params.wait
    except RpcError:
        return None


def quickly(body: bytes) -> tuple[Any, bool, list[NewEvent], Wait] | None:
    """Return what the quick reading makes of a body, or None where it leaves it."""
    call = quick_submit(body)
    if call is None:
        return None
    assert isinstance(call.bound, ReadySubmit)
    return call.id, call.is_notification, call.bound.events, call.bound.wait


def check(body: bytes) -> None:
    """Hold the quick reading to taking nothing that is refused, and to the same events where it takes them."""
    found = quickly(body)
    assert found is None or found == slowly(body)


any_change = st.sampled_from(sorted(BODY)).flatmap(
    lambda key: st.tuples(st.just(key), st.sampled_from([*GOOD.get(key, []), *BAD.get(key, []), *ODD]))
)
good_changes = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in GOOD.items()})
bodies = st.one_of(good_changes, st.lists(any_change, max_size=3).map(dict))


@settings(max_examples=400)
@given(
    st.lists(st.tuples(bodies, st.one_of(st.just({}), st.sampled_from(ENVELOPE))), min_size=1, max_size=3),
    st.integers(0, 3),
)
@example([({"unknown": 1}, {})], 0)
def test_the_quick_reading_takes_nothing_else_than_the_slow_one(
    changes: list[tuple[dict[str, Any], dict[str, Any]]], form: int
) -> None:
    check(body_of([changed({**EVENT, "body": changed(BODY, body)}, event) for body, event in changes], form=form))


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_each_odd_value_is_judged_as_by_itself(key: str, value: Any) -> None:
    paired = {"pair_key": HASH} if key == "tokens" else {"amount_commitment": None} if key == "amount" else {}
    check(body_of([EVENT, {**EVENT, "body": changed(BODY, {**paired, key: value})}]))


@pytest.mark.parametrize("event", ENVELOPE)
def test_each_odd_envelope_is_judged_as_by_itself(event: dict[str, Any]) -> None:
    check(body_of([EVENT, changed(EVENT, event)]))


@given(st.lists(good_changes, min_size=1, max_size=3), st.integers(0, 2), st.sampled_from([*Wait, LEFT_OUT]))
def test_sound_statements_are_read_quickly_however_they_are_written(
    changes: list[dict[str, Any]], form: int, wait: Any
) -> None:
    events = [{**EVENT, "body": changed(BODY, change)} for change in changes]
    body = body_of(events, form=form, **({} if wait is LEFT_OUT else {"wait": wait}))
    assert quickly(body) == slowly(body) != None  # noqa: E711


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "12.34", "amount_commitment": None},
        {"pair_key": HASH, "tokens": {"settlement-date": HASH[:32], "amount": HASH[32:]}},
        {"message_type": "json", "currency": None, "amount_commitment": None},
    ],
)
def test_statements_with_amounts_and_tokens_are_read_quickly(change: dict[str, Any]) -> None:
    body = body_of([{**EVENT, "body": {**BODY, **change}}])
    assert quickly(body) == slowly(body) != None  # noqa: E711


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        (b'"salt":', b'"salt":"00","salt":'),
        (b'"side":"debtor"', b'"side":"debtor","side":"debtor"'),
        (b'"wait":', b'"wait":"none","wait":'),
        (b'"id":', b'"id":1,"id":'),
        (b'"tokens":{}', b'"tokens":{"amount":"00","amount":"00"}'),
        (b'"role":"debtor-agent"', b'"role":"debtor-agent", "role" : "debtor-agent"'),
        (b'"kind":', b'"k\\u0069nd":"payment.statement","kind":'),
    ],
)
def test_a_key_that_stands_twice_is_never_read_quickly(text: bytes, twice: bytes) -> None:
    body = body_of([EVENT], wait="none")
    assert quickly(body) is not None
    assert text in body
    assert quickly(body.replace(text, twice)) is None
    assert slowly(body.replace(text, twice)) is None


def test_escaped_quotation_marks_hide_no_key_that_stands_twice() -> None:
    quotes = b"\\u0022" * 4  # written again as four marks more, as many as what stands twice has
    body = body_of([EVENT]).replace(b'"id":7', b'"id":"%b"' % quotes)
    check(body.replace(b'"side":"debtor"', b'"side":"debtor","side":"debtor"'))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b" x",
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b"CNY", b"C\xffY"),
        lambda body: body.replace(b'"2.0"', b'"1.0"'),
        lambda body: body.replace(b'"id":7', b'"id":7.5'),
        lambda body: body.replace(b'"id":7', b'"id":null'),
        lambda body: body.replace(b'"id":7,', b""),
        lambda body: body.replace(b'"events":[', b'"events":[],"other":['),
        lambda body: b"[" + body + b"]",
        lambda body: body[:-1],
    ],
)
def test_odd_requests_are_judged_as_by_themselves(change: Any) -> None:
    check(change(body_of([EVENT])))


def test_a_statement_that_is_refused_among_many_is_named_by_its_place() -> None:
    events = [EVENT] * EVENTS_A_PAUSE + [{**EVENT, "body": {**BODY, "salt": "zz" * 16}}]
    body = body_of(events)
    assert quick_submit(body) is None
    (call,) = jsonrpc.parse(body).calls
    assert isinstance(call, Call)
    params = jsonrpc.bind(submit.decoder, call.params)
    with pytest.raises(RpcError) as caught:
        _event(params.events[EVENTS_A_PAUSE], EVENTS_A_PAUSE)
    assert caught.value.where == f"$.events[{EVENTS_A_PAUSE}].salt"


async def test_a_call_of_statements_reaches_the_gateway_without_being_read_again(
    client: Any, node: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_again(*_: object) -> None:
        raise AssertionError("a statement was judged by itself")

    monkeypatch.setattr(methods, "body_from_json", read_again)
    sent = [as_json(node, number) for number in range(2 * EVENTS_A_PAUSE)]
    answer = await client.call("ledger_submit", {"wait": "committed", "events": sent}, token=token)
    assert [event["status"] for event in answer["events"]] == ["Committed"] * len(sent)
    refused = await client.error("ledger_submit", {"events": sent[:1], "pad": "x" * METHOD_FOUND_BYTES}, token=token)
    assert refused["code"] == -32602
