"""The process that reads a member's messages for its node: format adapters and payment secrets, and no signing key.

`python -m chainnode.message_worker HOME MEMBER`, started by `chainnode.message_reader`. It takes one request after the
other on standard input and answers each on standard output (`chainnode.message_protocol`); it ends with its input. What
is private of the payments is in the member's private store before an answer leaves. It writes no log, since what goes
wrong here goes wrong over private values.
"""

from __future__ import annotations

import base64
import binascii
import os
import resource
import sys
from pathlib import Path
from typing import Final, Literal

import msgspec

from chainnode.home import Home
from chainnode.ingest.drafts import Draft, Ingested
from chainnode.ingest.errors import FormatError
from chainnode.ingest.formats import Options
from chainnode.ingesting import state
from chainnode.message_protocol import Answer, Refused, Request, frame_of, next_frame
from chainnode.payloads import Keeper
from chainnode.reporting import files_of_home, reporter_context
from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.events import EVENT_SIZE_MAX
from ledger.pairing_keys import PairingKey
from ledger.payments import PaymentStatement
from ledger.payments_json import word
from primitives.encoding import decode
from primitives.errors import ChainError, InputError, StorageError, UsageError
from rpc.ports import AskedMessage, MessageEvent, NewEvent, ReadMessage, RefusedPart

MEMORY_BYTES_MAX: Final = 2 * 1024**3
NICENESS: Final = 5  # the node's votes go first
WHERE: Final = "payload"
LEFT_OUT_MAX: Final = 1_000


def answer_of(home: Home, member: str, request: Request) -> Answer:
    """Read a message and keep what is private of it; what is wrong with it, or here, is told in the answer."""
    try:
        return Answer(read=_read(home, member, request))
    except ChainError as error:
        fault: Literal["input", "usage", "storage"] = (
            "input" if isinstance(error, InputError) else "storage" if isinstance(error, StorageError) else "usage"
        )
        told = [None if part is None else str(part) for part in (error.where, error.expected, error.got, error.hint)]
        return Answer(refused=Refused(fault, error.reason, error.what, *told))
    except MemoryError:
        what = "message needs more memory than one may take"
        return Answer(refused=Refused("input", "too_large", what, hint="chainnode submit takes files"))


def _read(home: Home, member: str, request: Request) -> ReadMessage:
    asked, files = request.asked, files_of_home(home, member)
    announced = {
        name: tuple(PairingKey(key, from_day) for key, from_day in keys) for name, keys in request.announced.items()
    }
    if not files.secret.exists():
        raise UsageError(
            "this node's home has no reporter secret", hint="the operator keeps it in keys/reporter.secret"
        )
    data = _bytes_of(asked)
    with Keeper(files.private) as keeper:
        context = reporter_context(
            files,
            announced,
            clear_amounts=asked.clear_amounts,
            received_ms=request.received_ms,
            event_key_of=keeper.event_key_of,
        )
        found = state(
            data,
            context,
            keeper,
            where=WHERE,
            form=asked.format,
            options=Options(skip_bad=asked.skip_bad),
            payments_max=BATCH_EVENTS_MAX,
        )
    return ReadMessage(found.format, [_event(draft) for draft in found.drafts], _left_out(found), len(found.refused))


def _bytes_of(asked: AskedMessage) -> bytes:
    try:
        if asked.encoding == "base64":
            return base64.b64decode(asked.payload, validate=True)
        return asked.payload.encode()
    except (binascii.Error, ValueError):
        expected = "base64 with padding" if asked.encoding == "base64" else "Unicode text"
        raise FormatError(
            f"payload is not {asked.encoding}", where=WHERE, expected=expected, got="other text"
        ) from None


def _event(draft: Draft) -> MessageEvent:
    body = decode(PaymentStatement, draft.body, size_max=EVENT_SIZE_MAX)
    event = NewEvent(draft.kind, draft.schema, draft.body, draft.reference)
    return MessageEvent(draft.where, word(body.side), event, list(draft.differs))


def _left_out(found: Ingested) -> list[RefusedPart]:
    return [RefusedPart(error.where or WHERE, error.reason, str(error)) for error in found.refused[:LEFT_OUT_MAX]]


def main() -> None:
    """Answer requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    home, member = Home(Path(sys.argv[1])), sys.argv[2]
    while (data := next_frame(sys.stdin.buffer)) is not None:
        answer = answer_of(home, member, msgspec.msgpack.decode(data, type=Request))
        sys.stdout.buffer.write(frame_of(msgspec.msgpack.encode(answer)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
