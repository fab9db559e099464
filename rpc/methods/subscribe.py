"""ledger_subscribe, ledger_unsubscribe: what happens on the chain, told as it happens, on a WebSocket connection.

Not here: the notifications (`rpc.announcing`), who gets them when (`rpc.subscriptions`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ledger.registry import KINDS
from rpc.announcing import Announcer, CheckpointNotice, DeadlineResult, ReconciliationNotice
from rpc.errors import Code, RpcError, invalid_params
from rpc.methods.blocks import BlockResult
from rpc.methods.events import EventResult
from rpc.methods.evidence import EvidenceResult
from rpc.methods.heights import index_of
from rpc.methods.known_members import check_member
from rpc.methods.totals import TotalsNotice
from rpc.ports import Services
from rpc.registry import Notifies, connection_method
from rpc.streams import Place, Stream, Topic, ahead, parse_place, pruned
from rpc.subscriptions import MessageSubscriber
from rpc.types import PAYMENT_PATTERN, AsOf, Cursor, HeightNumber, MemberName, Params, Result

PaymentName = Annotated[
    str, msgspec.Meta(pattern=PAYMENT_PATTERN, description="a UETR, or the pair key of two banks as 64 hex digits")
]
KindName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="a kind of event, by its name")]
NumberText = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="a certificate's number")]
SubscriptionId = Annotated[
    str, msgspec.Meta(pattern=r"\A[1-9][0-9]{0,15}\Z", description="as ledger_subscribe gave it")
]


class Subscribe(Params, frozen=True):
    """What to tell of, and from where on. The four in the middle are for `events`; all that are given must fit.

    `member` and `payment` (a pair key) are for `reconciliation` too, `member` for `totals`.
    """

    topic: Annotated[Topic, msgspec.Meta(description="What to tell of.")]
    member: MemberName | None = None
    kind: KindName | None = None
    certificate: NumberText | None = None
    payment: PaymentName | None = None
    from_cursor: Annotated[
        Literal["earliest", "latest"] | Cursor,
        msgspec.Meta(description="Where to begin: behind the notification that bore it, at the oldest, or now."),
    ] = "latest"
    from_height: Annotated[HeightNumber | None, msgspec.Meta(description="The height to begin with, instead.")] = None


class SubscribeResult(Result, frozen=True):
    """A subscription of this connection, and the cursor at which it stands; `as_of` is the newest block now."""

    subscription: str
    cursor: str
    as_of: AsOf


class Unsubscribe(Params, frozen=True):
    """Which subscription of this connection."""

    subscription: SubscriptionId


class UnsubscribeResult(Result, frozen=True):
    """Whether there was such a subscription; nothing is told under it any more."""

    ended: bool
    as_of: AsOf


class Notification(Result, frozen=True):
    """The `params` of `ledger_subscription`, which is sent without being asked for and is not answered.

    `result` is a BlockResult, EventResult, CheckpointNotice, EvidenceResult, DeadlineResult, ReconciliationNotice or
    TotalsNotice, as the topic is; or in its place `error` says why the subscription has ended. To go on after it,
    subscribe again from `cursor`.
    """

    subscription: str
    cursor: str
    result: dict[str, Any] | None = None  # Any: each topic's own result
    error: dict[str, Any] | None = None  # Any: an ErrorObject


@connection_method(
    "ledger_subscribe",
    params=Subscribe,
    result=SubscribeResult,
    errors=(Code.INVALID_REQUEST, Code.NOT_FOUND, Code.UNAVAILABLE),
    notifies=Notifies(
        "ledger_subscription",
        Notification,
        (
            BlockResult,
            EventResult,
            CheckpointNotice,
            EvidenceResult,
            DeadlineResult,
            ReconciliationNotice,
            TotalsNotice,
        ),
    ),
)
def subscribe(services: Services, params: Subscribe) -> SubscribeResult:
    """Tell what happens from now on, or from a cursor on, by `ledger_subscription`; on /ws only.

    Each notification is `{"jsonrpc": "2.0", "method": "ledger_subscription", "params": {subscription, result, cursor}}`
    (components/schemas/Notification). Subscribing again with its cursor as `from_cursor`, also at another node of the
    chain, goes on behind it without gap or repetition; `earliest` begins with the oldest that this node holds.
    """
    connection = _connection(services)
    stream = _stream(params)
    check_member(services, stream.member)
    if stream.lags:
        index_of(services)
    place = _start(services, connection, params, stream)
    made = connection.open(stream, place)
    return SubscribeResult(made.id, connection.shared.cursor(made), connection.shared.feed.height)


@connection_method("ledger_unsubscribe", params=Unsubscribe, result=UnsubscribeResult, errors=(Code.INVALID_REQUEST,))
def unsubscribe(services: Services, params: Unsubscribe) -> UnsubscribeResult:
    """End a subscription of this connection; on /ws only."""
    connection = _connection(services)
    return UnsubscribeResult(connection.unsubscribe(params.subscription), connection.shared.feed.height)


def _connection(services: Services) -> MessageSubscriber:
    if services.here is None:
        raise RpcError(
            Code.INVALID_REQUEST,
            "needs_websocket",
            "subscriptions need a connection",
            expected="a WebSocket at /ws",
            got="POST",
            hint="ledger_getBlocks and ledger_getBlockEvents give the same by polling",
        )
    return services.here


def _stream(params: Subscribe) -> Stream:
    stream = Stream(params.topic, params.member, params.kind, params.certificate, params.payment)
    by_index = stream.lags and stream.kind is None and stream.certificate is None
    by_index = by_index and (stream.topic == "reconciliation" or stream.payment is None)
    if stream.filtered and stream.topic != "events" and not by_index:
        expected = "events; reconciliation by member and payment; totals by member"
        raise invalid_params("only events can be filtered", where="$.topic", expected=expected, got=stream.topic)
    if stream.kind is not None and stream.kind not in {spec.name for spec in KINDS.values()}:
        raise invalid_params(
            "no such kind of event",
            where="$.kind",
            expected="one that ledger_getCapabilities lists",
            got=stream.kind,
        )
    if stream.payment is not None:
        stream = msgspec.structs.replace(stream, payment=stream.payment.replace("-", ""))
    return stream


def _start(services: Services, connection: MessageSubscriber, params: Subscribe, stream: Stream) -> Place:
    """Return where to begin. Raises `RpcError` for what this node has not yet, or not any more."""
    shared, announcer = connection.shared, connection.shared.announcer
    height, asked = shared.feed.height, params.from_cursor
    if params.from_height is not None:
        if asked != "latest" or not stream.of_chain:
            raise invalid_params("from_height stands alone, and is for what the chain holds", where="$.from_height")
        return _within(announcer, stream, Place(params.from_height), height)
    if asked == "latest":
        return Place(shared.reached(stream) + 1) if stream.of_chain else announcer.newest_checkpoint()
    if asked == "earliest":
        return Place(announcer.first_height(stream) if stream.of_chain else 0)
    place = parse_place(asked, services.reads.chain_id, stream.topic)
    if stream.of_chain:
        return _within(announcer, stream, place, height)
    if place.height > services.reads.log_size():
        raise ahead(place, height)
    return place


def _within(announcer: Announcer, stream: Stream, place: Place, height: int) -> Place:
    if place.height > height + 1:
        raise ahead(place, height)
    first = announcer.first_height(stream)
    if place.height < first:
        raise pruned(first, place)
    return place


METHODS = (subscribe, unsubscribe)
