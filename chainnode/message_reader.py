"""Reading messages in banks' own formats for `ledger_submit`, in a process beside the node.

Here: starting that process when a message comes, asking it, and bounding what a message may cost. Not here: reading
(`chainnode.message_worker`). Adapters and the libraries that they use see what anybody sends, and payment secrets; the
node has the signing keys. So neither runs in the other's process. One message is read at a time, a few may wait; a
process that takes too long, or ends, takes nothing with it but the message that it had.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from chainnode.home import Home
from chainnode.message_protocol import FRAME_BYTES_MAX, LENGTH_BYTES, Answer, Refused, Request, frame_of
from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.pairing_keys import PairingKey
from ledger.payments import PAYMENT_STATEMENT
from primitives.ids import TimeMs
from rpc.errors import Code, RpcError, unavailable
from rpc.ports import AskedMessage, ReadMessage

WAITING_MAX: Final = 16
PATIENCE_S: Final = 30.0
IDLE_S: Final = 60.0

log = structlog.get_logger("messages")


class _Overstepped(Exception):
    """The process answers what no message gives."""


class MessageReader:
    """Implements `rpc.ports.MessageReads`; lives on the node's loop, and owns its process until `close`."""

    def __init__(
        self,
        home: Home,
        member: str,
        announced: Callable[[], Mapping[str, Sequence[PairingKey]]],
        now_ms: Callable[[], TimeMs],
        *,
        patience_s: float = PATIENCE_S,
        idle_s: float = IDLE_S,
        command: Sequence[str] | None = None,
    ) -> None:
        """Begin without a process; `announced` gives each member's pairing keys, ascending by day."""
        self._announced = announced
        self._now_ms = now_ms
        self._patience_s = patience_s
        self._idle_s = idle_s
        arguments = ("-m", "chainnode.message_worker", str(home.root), member)
        self._command = command or (sys.executable, *arguments)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[int]] = set()

    async def read(self, asked: AskedMessage) -> ReadMessage:
        """Return the events of a message; what is private of them is in the member's private store."""
        if self._waiting >= WAITING_MAX:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "too_many_messages",
                "too many messages wait to be read",
                expected=f"at most {WAITING_MAX}",
                hint="send it again later",
                retryable=True,
            )
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._asked(asked)
        finally:
            self._waiting -= 1
        if answer.read is None:
            assert answer.refused is not None, "an answer is one or the other"
            raise _told(answer.refused)
        return answer.read

    async def _asked(self, asked: AskedMessage) -> Answer:
        """Ask the process; whatever cuts that short ends it, for its next answer would be to this message."""
        announced = {name: [(key.key, key.from_day) for key in keys] for name, keys in self._announced().items()}
        request = msgspec.msgpack.encode(Request(asked, int(self._now_ms()), announced))
        if self._idle is not None:
            self._idle.cancel()
        try:
            async with asyncio.timeout(self._patience_s):
                data = await _exchange(await self._running(), request)
            answer = msgspec.msgpack.decode(data, type=Answer)
            _check(answer)
        except TimeoutError:
            self.close()
            what = f"the message was not read within {self._patience_s:g} s"
            hint = "another process may hold the private store: send it again later, or in parts"
            raise unavailable("message_took_too_long", what, hint=hint) from None
        except (OSError, EOFError, msgspec.DecodeError, _Overstepped) as error:
            self.close()
            log.error("message_reader_ended", error=type(error).__name__)
            what = "the process that reads messages has ended"
            raise unavailable("message_reader_ended", what, hint="send it again, or by chainnode submit") from None
        except BaseException:
            self.close()
            raise
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self.close)
        return answer

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            root = str(Path(__file__).parents[1])
            paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
            # A session of its own, so that a signal to the node's terminal lets the message under way end; and nothing
            # on its error output, which would tell of private values.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                limit=FRAME_BYTES_MAX,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": paths},
                start_new_session=True,
            )
        return self._process

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            reaped = asyncio.get_running_loop().create_task(process.wait(), name="message-reader-end")
            self._ending.add(reaped)
            reaped.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """End the process, and return when it is gone."""
        self.close()
        await asyncio.gather(*self._ending)


async def _exchange(process: Process, request: bytes) -> bytes:
    """Send a request and return the answer; OSError or EOFError where the process ends."""
    assert process.stdin is not None, "its input is a pipe"
    assert process.stdout is not None, "its output is a pipe"
    process.stdin.write(frame_of(request))
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
    if size > FRAME_BYTES_MAX:
        raise EOFError
    return await process.stdout.readexactly(size)


def _check(answer: Answer) -> None:
    """Raise unless there is nothing in an answer but payment statements: a vote made there would be signed here."""
    events = [] if answer.read is None else [item.event for item in answer.read.events]
    if len(events) > BATCH_EVENTS_MAX or any(event.kind != PAYMENT_STATEMENT for event in events):
        raise _Overstepped
    if (answer.read is None) is (answer.refused is None):
        raise _Overstepped


def _told(refused: Refused) -> RpcError:
    """Return what the sender is told: of the disk nothing, which is the operator's."""
    if refused.fault == "storage":
        log.error("private_store_unusable", reason=refused.reason)
        return unavailable("storage", "the node's private store cannot be used", hint="ask the operator")
    if refused.fault == "usage":
        return unavailable(refused.reason, refused.what, hint=refused.hint, retryable=False)
    return RpcError(
        Code.INVALID_PARAMS,
        refused.reason,
        refused.what,
        where=refused.where,
        expected=refused.expected,
        got=refused.got,
        hint=refused.hint,
    )
