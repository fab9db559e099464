"""ledger_submit, ledger_submitBatch, ledger_getSource: the way in.

Here: parameters, JSON to events, answers. Not here: signing, outbox and pool, which are the node's behind
`rpc.ports.Gateway`. Submitting is idempotent by event id: an event that is known is answered with its status. A client
that means to retry sends `reference` and `expires` itself, since the id covers them.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.batches import BATCH_SIZE_MAX, DECODING_ERRORS
from ledger.event_json import body_from_json
from ledger.events import REFERENCE_SIZE
from ledger.governance import GOVERNANCE_KINDS
from ledger.outcomes import APPLIED
from ledger.payments import PAYMENT_STATEMENT
from ledger.statements_json import STATEMENT_SCHEMA, StatementJson, bytes_of_hex, quick_bodies
from ledger.times import parse_time
from primitives.errors import InputError
from primitives.ids import Hash, SourceKey
from rpc.errors import Code, RpcError, from_chain_error, invalid_params, not_found, unavailable
from rpc.jsonrpc import Call, Id, repeats_nothing
from rpc.methods.heights import tip_of
from rpc.methods.submitted_payload import PayloadResult, payload_result
from rpc.ports import AskedMessage, NewEvent, Services, SubmitResult, SubmitStatus, Wait
from rpc.registry import method, waiting_method
from rpc.rights import Access
from rpc.types import (
    REFERENCE_PATTERN,
    AsOf,
    Base64,
    HashHex,
    OutcomeResult,
    Params,
    Result,
    Time,
    base64_bytes,
    outcome_result,
)

# A thousand events take tens of milliseconds to convert; the node's votes must not wait for all of them.
EVENTS_A_TURN = 64
# Those that are read quickly are so in a thread, which has to lie down for a moment before the loop's can take over.
EVENTS_A_PAUSE = 128
PAUSE_S = 1e-6
_GOVERNANCE = frozenset(spec.name for spec in GOVERNANCE_KINDS)
# What the limit of bodies leaves, with what JSON escapes in it. Files of any size go by `chainnode submit`.
PAYLOAD_CHARACTERS_MAX = 6 * 1024 * 1024
BASE64_BATCH_MAX = (BATCH_SIZE_MAX + 2) // 3 * 4


AskedWait = Annotated[Wait, msgspec.Meta(description="What to wait for before answering.")]


class EventParam(Params, frozen=True):
    """An event: its kind by name, the kind's own fields, and optionally reference (16 bytes in hex) and expiry."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    body: dict[str, Any]  # Any: each kind's own fields
    reference: Annotated[str, msgspec.Meta(pattern=REFERENCE_PATTERN)] | None = None
    expires: Time | None = None
    schema: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None


class Submit(Params, frozen=True):
    """Events for this node's member, or a message of one of its channels (`payload`), and what to wait for."""

    events: (
        Annotated[
            list[EventParam],
            msgspec.Meta(min_length=1, max_length=BATCH_EVENTS_MAX, description="The events, in order."),
        ]
        | None
    ) = None
    wait: AskedWait = Wait.COMMITTED
    payload: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=PAYLOAD_CHARACTERS_MAX,
                description="A message in a bank's own format, instead of events: of it the node makes them.",
            ),
        ]
        | None
    ) = None
    format: Annotated[
        Literal["auto", "jsonl", "csv", "iso20022", "iso8583", "emvqr"],
        msgspec.Meta(description="The format of the payload; `auto` tells it by its first bytes."),
    ] = "auto"
    encoding: Annotated[
        Literal["text", "base64"],
        msgspec.Meta(description="How the payload is written: as text, or its bytes in base64."),
    ] = "text"
    skip_bad: Annotated[bool, msgspec.Meta(description="Take a payload without its bad messages, and report them.")] = (
        False
    )
    clear_amounts: Annotated[
        bool, msgspec.Meta(description="Put a payload's amounts on the chain in clear instead of commitments.")
    ] = False


class ReadySubmit(msgspec.Struct, frozen=True):
    """The parameters of a `ledger_submit` whose events are converted already."""

    events: list[NewEvent]
    wait: Wait


class _QuickEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An event of the one kind that comes by the thousand."""

    kind: Literal["payment.statement"]
    body: StatementJson
    reference: str | UnsetType | None = UNSET
    expires: Time | UnsetType | None = UNSET
    schema: Literal[1] | UnsetType | None = UNSET


class _QuickParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    events: Annotated[list[_QuickEvent], msgspec.Meta(min_length=1, max_length=BATCH_EVENTS_MAX)]
    wait: Wait | UnsetType = UNSET


class _QuickCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The whole body of a call that submits payment statements; what is left out stays out when it is encoded."""

    jsonrpc: Literal["2.0"]
    method: Literal["ledger_submit"]
    params: _QuickParams
    id: Id | UnsetType = UNSET


_decode_quick = msgspec.json.Decoder(_QuickCall).decode


def quick_submit(body: bytes) -> Call | None:
    """Return the call that a body holds if it submits sound payment statements; None settles nothing.

    Bodies of many events are read in a thread: it lets the loop's go on between two parts.
    """
    try:
        found = _decode_quick(body)
    except DECODING_ERRORS:
        return None
    if not repeats_nothing(body, found):
        return None
    events: list[NewEvent] = []
    for start in range(0, len(found.params.events), EVENTS_A_PAUSE):
        if start:
            select.select((), (), (), PAUSE_S)  # unlike `time.sleep` with no absolute end, which a clock may pass
        part = _quick_events(found.params.events[start : start + EVENTS_A_PAUSE])
        if part is None:
            return None
        events += part
    wait = found.params.wait or Wait.COMMITTED
    call_id, is_notification = (None, True) if isinstance(found.id, UnsetType) else (found.id, False)
    return Call(found.method, b"", call_id, is_notification, ReadySubmit(events, wait))


def _quick_events(items: list[_QuickEvent]) -> list[NewEvent] | None:
    """Return events as `_event` does, or None where one is not as it should be."""
    bodies = quick_bodies([item.body for item in items])
    if bodies is None:
        return None
    try:
        return [
            NewEvent(
                PAYMENT_STATEMENT,
                STATEMENT_SCHEMA,
                body,
                bytes_of_hex(item.reference, REFERENCE_SIZE) if isinstance(item.reference, str) else None,
                parse_time(item.expires) if isinstance(item.expires, str) else None,
            )
            for item, body in zip(items, bodies, strict=True)
        ]
    except (ValueError, InputError):
        return None


class SubmitBatch(Params, frozen=True):
    """A batch that its source signed, and what to wait for."""

    batch: Annotated[
        Base64,
        msgspec.Meta(min_length=4, max_length=BASE64_BATCH_MAX, description="A batch's canonical bytes, base64."),
    ]
    wait: AskedWait = Wait.COMMITTED


class ReadyBatch(msgspec.Struct, frozen=True):
    """The parameters of a `ledger_submitBatch` whose text is decoded already."""

    batch: bytes
    wait: Wait


class _QuickBatchParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    batch: Annotated[bytes, msgspec.Meta(min_length=1, max_length=BATCH_SIZE_MAX)]
    wait: Wait | UnsetType = UNSET


class _QuickBatchCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The whole body of a call that submits a batch; what is left out stays out when it is encoded."""

    jsonrpc: Literal["2.0"]
    method: Literal["ledger_submitBatch"]
    params: _QuickBatchParams
    id: Id | UnsetType = UNSET


_decode_quick_batch = msgspec.json.Decoder(_QuickBatchCall).decode


def quick_batch(body: bytes) -> Call | None:
    """Return the call that a body holds if it submits a batch; None settles nothing.

    The body is read once, and its base64 straight into bytes: a text of 400 KB costs more to copy, search and check
    than what is in it costs to verify. The rest is held to naming nothing twice without that text, which begins at
    `rest` at the latest and, being the longer part, ends behind it.
    """
    try:
        found = _decode_quick_batch(body)
    except DECODING_ERRORS:
        return None
    length = -(-len(found.params.batch) // 3) * 4
    rest = len(body) - length
    if rest > length:
        return None
    start, stop = body.rfind(b'"', 0, rest) + 1, body.find(b'"', rest)
    emptied = replace(found, params=replace(found.params, batch=b""))
    if not repeats_nothing(body[:start] + body[stop:], emptied):
        return None
    call_id, is_notification = (None, True) if isinstance(found.id, UnsetType) else (found.id, False)
    ready = ReadyBatch(found.params.batch, found.params.wait or Wait.COMMITTED)
    return Call(found.method, b"", call_id, is_notification, ready)


class SubmittedResult(Result, frozen=True, gc=False):
    """Where one event stands; outcome and place come with `Committed`, reason and message with `Refused`."""

    id: str
    status: SubmitStatus
    outcome: OutcomeResult | None
    height: int | None
    index: int | None
    reason: str | None
    message: str | None
    retryable: bool


class SubmitAnswer(Result, frozen=True, omit_defaults=True):
    """Each event's standing, in the order in which they came; with `payload` where one was submitted."""

    events: list[SubmittedResult]
    as_of: AsOf
    payload: PayloadResult | None = None


def _is_governance(params: Submit | ReadySubmit) -> bool:
    """Say whether all events are governance: an officer brings votes, and no other statement of its member."""
    if not isinstance(params, Submit) or not params.events or params.payload is not None:
        return False
    return all(item.kind in _GOVERNANCE for item in params.events)


@waiting_method(
    "ledger_submit",
    params=Submit,
    result=SubmitAnswer,
    access=Access.GOVERN,
    errors=(Code.UNAVAILABLE, Code.REJECTED),
    quick=quick_submit,
    govern=_is_governance,
)
async def submit(services: Services, params: Submit | ReadySubmit) -> SubmitAnswer:
    """Events that this node signs as its member's gateway, as they are or made of a message in a bank's own format.

    `wait` none returns at once, accepted when they are synced in the gateway's outbox, committed when they stand in a
    block. After the server's time-out the present status is answered instead. One malformed event refuses them all.
    A `payload` is read in a process without signing keys; what is private of it is kept at this node, and the same
    message gives the same events. A member that has no part in its payments is refused.
    """
    if isinstance(params, Submit) and params.payload is not None:
        return await _submit_payload(services, params, params.payload)
    if params.events is None:
        raise invalid_params("nothing to submit", where="$", expected="events or payload", got="neither")
    services.gateway.check_room(len(params.events))
    events = params.events if isinstance(params, ReadySubmit) else await _events(params.events)
    results = await services.gateway.submit(events, params.wait, services.wait_timeout_ms)
    return _answer(services, results)


async def _submit_payload(services: Services, params: Submit, payload: str) -> SubmitAnswer:
    """Submit the events of a message in a bank's own format."""
    if params.events is not None:
        raise invalid_params("two things to submit", where="$", expected="events or payload", got="both")
    if services.messages is None:
        raise unavailable("no_formats", "this node reads no messages", hint="submit events", retryable=False)
    services.gateway.check_room()
    asked = AskedMessage(payload, params.encoding, params.format, params.skip_bad, params.clear_amounts)
    read = await services.messages.read(asked)
    results = []
    if read.events:
        events = [item.event for item in read.events]
        results = await services.gateway.submit(events, params.wait, services.wait_timeout_ms)
    return SubmitAnswer(submitted(results), int(tip_of(services).height), payload_result(read))


@waiting_method(
    "ledger_submitBatch",
    params=SubmitBatch,
    result=SubmitAnswer,
    access=Access.SUBMIT,
    errors=(Code.UNAVAILABLE, Code.REJECTED),
    quick=quick_batch,
)
async def submit_batch(services: Services, params: SubmitBatch | ReadyBatch) -> SubmitAnswer:
    """A batch that its source has signed itself: taken whole or refused whole."""
    services.gateway.check_room()
    batch = params.batch if isinstance(params, ReadyBatch) else base64_bytes(params.batch, "$.batch")
    results = await services.gateway.submit_batch(batch, params.wait, services.wait_timeout_ms)
    return _answer(services, results)


async def _events(items: list[EventParam]) -> list[NewEvent]:
    """Return the events of the parameters, letting the loop go on between two parts."""
    events: list[NewEvent] = []
    for index, item in enumerate(items):
        if index % EVENTS_A_TURN == 0 and index:
            await asyncio.sleep(0)
        events.append(_event(item, index))
    return events


def _event(item: EventParam, index: int) -> NewEvent:
    """Return one event of the parameters; -32602 names its place."""
    try:
        kind, schema, body = body_from_json(item.kind, item.body, item.schema)
        expires_ms = None if item.expires is None else parse_time(item.expires, where="expires")
    except InputError as error:
        raise _placed(error, f"$.events[{index}]") from None
    return NewEvent(kind, schema, body, None if item.reference is None else bytes.fromhex(item.reference), expires_ms)


def _placed(error: InputError, place: str) -> RpcError:
    """Return the error with the event's place before the place in it."""
    where = place if error.where is None else f"{place}.{error.where}"
    return from_chain_error(
        type(error)(error.what, where=where, expected=error.expected, got=error.got, hint=error.hint)
    )


def _answer(services: Services, results: list[SubmitResult]) -> SubmitAnswer:
    return SubmitAnswer(submitted(results), int(tip_of(services).height))


def submitted(results: Sequence[SubmitResult]) -> list[SubmittedResult]:
    """Return each event's standing as JSON has it; nearly all were applied, which is told without looking further."""
    return [
        SubmittedResult(result.event_id.hex(), result.status, _APPLIED, result.height, result.index, None, None, False)
        if result.outcome is APPLIED
        else _submitted(result)
        for result in results
    ]


_APPLIED = outcome_result(APPLIED)


def _submitted(result: SubmitResult) -> SubmittedResult:
    refusal = result.refusal
    return SubmittedResult(
        result.event_id.hex(),
        result.status,
        None if result.outcome is None else outcome_result(result.outcome),
        result.height,
        result.index,
        None if refusal is None else refusal.reason,
        None if refusal is None else refusal.message,
        refusal is not None and refusal.retryable,
    )


class GetSource(Params, frozen=True):
    """A source, by its public key."""

    source: Annotated[HashHex, msgspec.Meta(description="A source's public key.")]


class SourceResult(Result, frozen=True):
    """Where a source stands: the number that its next batch must carry, and the hash of its last (zeros for none)."""

    source: str
    member: str
    next_number: int
    previous: str
    as_of: AsOf


@method("ledger_getSource", params=GetSource, result=SourceResult, errors=(Code.NOT_FOUND,))
def get_source(services: Services, params: GetSource) -> SourceResult:
    """The next batch number of a source and the hash of its previous batch, in the committed chain."""
    tip = tip_of(services)
    position = services.gateway.source_position(SourceKey(bytes.fromhex(params.source)))
    if position is None:
        raise not_found("no such source is registered", got=params.source)
    return SourceResult(
        params.source, position.member, position.next_number, Hash(position.previous).hex(), int(tip.height)
    )


METHODS = (submit, submit_batch, get_source)
