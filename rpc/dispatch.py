"""From a request's body to a response's body: binds, checks access, runs the methods, and answers every fault.

Here: how calls of a batch share the loop, time-outs, and the edge at which any exception becomes an answer. Not here:
the protocol's texts (`rpc.jsonrpc`), HTTP (`rpc.server`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any

import msgspec
import structlog

from primitives.errors import ChainError, StorageError
from rpc import jsonrpc
from rpc.errors import Code, RpcError, from_chain_error, internal_error, shown, unavailable
from rpc.jsonrpc import Call, Failure, Id, Malformed, Request, Response, Success
from rpc.limits import PARSED_INLINE_BYTES_MAX
from rpc.ports import CallObserver, Privileged, Services
from rpc.registry import AnyMethod, Unsettled, Work
from rpc.rights import Access, Rights, Role
from rpc.subscriptions import MessageSubscriber

READ_THREADS_MAX = 4
READ_TIMEOUT_S = 20
# How often a read that has not settled is asked again.
READ_AGAIN_S = 0.1
# A gateway answers at its own time-out with the present status; past this grace it is stuck.
WAIT_GRACE_S = 5
RESPONSE_BYTES_MAX = 32 * 1024 * 1024
UNKNOWN_METHOD = "unknown"
# How near to a body's start or end its method is looked for: nothing but the parameters is longer.
METHOD_FOUND_BYTES = 512

# Of a submission the audit log has so many ids, and how many there were.
IDS_TOLD = 8
_PRIVILEGED = (Access.GOVERN, Access.SUBMIT, Access.OPERATE)

log = structlog.get_logger("rpc")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the listener found it: its rights are shared with whatever else it has open."""

    trace_id: str
    rights: Rights
    here: MessageSubscriber | None = None
    """What may be opened on the connection by which a message came; None for a POST."""
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """One call for the access log: never its parameters. A method that does not exist is `unknown`."""

    method: str
    code: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The response's body, None where there were only notifications, and what was called.

    `refused` is the reason for which none of the calls was read, or the only one not allowed to who called; else empty.
    """

    body: bytes | None
    called: tuple[Called, ...]
    refused: str = ""


class Deadline:
    """Cancels the task that made it after some seconds, as `asyncio.timeout` does, which asks for the running loop
    three times: each of these is a system call in Python 3.11."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        task = asyncio.current_task(loop)
        assert task is not None, "called in a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._is_over = False
        self._timer = loop.call_later(seconds, self._cancel)

    def is_the_cause(self) -> bool:
        """Say whether a cancellation is this one alone; the task then counts as not cancelled."""
        return self._take_back() and self._task.cancelling() <= self._cancelling

    def end(self) -> None:
        """Cancel nothing any more."""
        self._timer.cancel()
        self._take_back()

    def _take_back(self) -> bool:
        was_over, self._is_over = self._is_over, False
        if was_over:
            self._task.uncancel()
        return was_over

    def _cancel(self) -> None:
        self._is_over = True
        self._task.cancel()


class Dispatcher:
    """Answers requests out of a table of methods and the services that they use."""

    def __init__(
        self, methods: Mapping[str, AnyMethod], services: Services, observer: CallObserver | None = None
    ) -> None:
        self._methods = methods
        self._services = services
        self.observer = observer
        self._threads = asyncio.Semaphore(READ_THREADS_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quick = {f'"{name}"'.encode(): item.quick for name, item in methods.items() if item.quick is not None}

    def parse(self, body: bytes) -> Request:
        """Return the calls of a body; raises `RpcError` where there are none to answer one by one."""
        for name, quick in self._quick.items():
            if body.find(name, 0, METHOD_FOUND_BYTES) >= 0 or body.find(name, -METHOD_FOUND_BYTES) >= 0:
                call = quick(body)
                if call is not None:
                    return Request((call,), False)
        return jsonrpc.parse(body)

    async def answer_body(self, body: bytes, caller: Caller, take: Callable[[int], None]) -> Answer:
        """Return the answer to a request's body; `take` counts its calls beyond the first against the caller's rate."""
        try:
            if len(body) <= PARSED_INLINE_BYTES_MAX:
                parsed = self.parse(body)
            else:
                parsed = await asyncio.to_thread(self.parse, body)
            if len(parsed.calls) > 1:
                take(len(parsed.calls) - 1)
        except RpcError as error:
            return self.refuse(error, caller)
        return await self.answer(parsed, caller)

    def refuse(self, error: RpcError, caller: Caller, call_id: Id = None) -> Answer:
        """Return the answer to a request none of whose calls were read; `call_id` is its id where that is known."""
        failure = Failure(error.object(caller.trace_id), call_id)
        return Answer(jsonrpc.encode(failure), (Called(UNKNOWN_METHOD, int(error.code)),), error.reason)

    async def answer(self, request: Request, caller: Caller) -> Answer:
        """Return the answer to all calls; those that wait run side by side, reads one after another.

        The loop gets its turn between two reads: a batch of 100 must not hold up the node's votes.
        """
        if len(request.calls) == 1:
            response = await self._respond(request.calls[0], caller)
            answer = self._assemble(request, [response], caller)
            if isinstance(response, Failure) and response.error.data.reason == "role_insufficient":
                return replace(answer, refused=response.error.data.reason)
            return answer
        waiting: dict[int, asyncio.Task[Response]] = {}
        responses: list[Response | None] = [None] * len(request.calls)
        for place, call in enumerate(request.calls):
            if self._waits(call):
                waiting[place] = asyncio.create_task(self._respond(call, caller))
            else:
                responses[place] = await self._respond(call, caller)
                await asyncio.sleep(0)
        for place, task in waiting.items():
            responses[place] = await task
        return self._assemble(request, [response for response in responses if response is not None], caller)

    def _waits(self, call: Call | Malformed) -> bool:
        method = self._methods.get(call.method) if isinstance(call, Call) else None
        return method is not None and method.work in (Work.WAITING, Work.PATIENT)

    def _assemble(self, request: Request, responses: list[Response], caller: Caller) -> Answer:
        bodies: list[bytes] = []
        called: list[Called] = []
        size = 0
        for call, response in zip(request.calls, responses, strict=True):
            code = response.error.code if isinstance(response, Failure) else 0
            called.append(Called(self._name(call), code))
            if isinstance(call, Call) and call.is_notification:
                continue
            body = jsonrpc.encode(response)
            if size + len(body) > RESPONSE_BYTES_MAX:
                error = RpcError(
                    Code.LIMIT_EXCEEDED,
                    "response_too_large",
                    "the response is too large",
                    expected=f"at most {RESPONSE_BYTES_MAX} bytes",
                    got=size + len(body),
                    hint="ask for less at a time",
                )
                body = jsonrpc.encode(Failure(error.object(caller.trace_id), call.id))
            size += len(body)
            bodies.append(body)
        if not bodies:
            return Answer(None, tuple(called))
        return Answer(b"[" + b",".join(bodies) + b"]" if request.is_batch else bodies[0], tuple(called))

    def _name(self, call: Call | Malformed) -> str:
        return call.method if isinstance(call, Call) and call.method in self._methods else UNKNOWN_METHOD

    async def _respond(self, call: Call | Malformed, caller: Caller) -> Response:
        """Return the response to one call, whatever happens in it."""
        if isinstance(call, Malformed):
            return Failure(call.error.object(caller.trace_id), call.id)
        started = time.perf_counter()
        response: Response
        try:
            response = Success(await self._result(call, caller), call.id)
        except Exception as error:  # noqa: BLE001  the edge of a call: the fault is answered, the node goes on
            response = Failure(_answerable(error, call, caller).object(caller.trace_id), call.id)
        audit = self._services.audit
        if audit is not None and isinstance(call, Call):
            method = self._methods.get(call.method)
            if method is not None and method.access in _PRIVILEGED:
                audit.called(_privileged(call.method, response, caller))
        if self.observer is not None:
            code = response.error.code if isinstance(response, Failure) else 0
            self.observer.called(self._name(call), code, time.perf_counter() - started)
        return response

    async def _result(self, call: Call, caller: Caller) -> object:
        method = self._methods.get(call.method)
        if method is None:
            raise RpcError(
                Code.METHOD_NOT_FOUND,
                "method_not_found",
                "no such method",
                expected="a method that rpc.discover lists",
                got=shown(call.method),
            )
        rights = caller.rights
        if method.access not in rights.may:
            rights.check_access(method.access)
        params = call.bound if call.bound is not None else jsonrpc.bind(method.decoder, call.params)
        if rights.role is Role.OFFICER and method.govern is not None and not method.govern(params):
            rights.check_access(Access.SUBMIT)
        if method.work is Work.INLINE:
            services = replace(self._services, here=caller.here) if method.on_connection else self._services
            return method.answer(services, params)
        return await self._run(method, params)

    async def _run(self, method: AnyMethod, params: msgspec.Struct) -> object:
        waits = method.work is Work.WAITING
        limit_s = self._services.wait_timeout_ms / 1_000 + WAIT_GRACE_S if waits else READ_TIMEOUT_S
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        deadline = Deadline(self._loop, limit_s)
        try:
            if not waits:
                return await self._settled(method, params)
            result: Any = method.answer(self._services, params)  # Any: the table forgot the method's result
            return await result if isawaitable(result) else result
        except asyncio.CancelledError:
            if not deadline.is_the_cause():
                raise
            raise unavailable(
                "timed_out", f"no answer within {limit_s:g} s", hint="ask for the status before sending again"
            ) from None
        finally:
            deadline.end()

    async def _settled(self, method: AnyMethod, params: msgspec.Struct) -> object:
        """Return what a method answers in a thread; one that has not settled is asked again while it may wait."""
        wait_s = min(method.wait_ms, self._services.wait_timeout_ms) / 1_000
        until_s = time.monotonic() + wait_s
        while True:
            async with self._threads:
                found: Any = await asyncio.to_thread(method.answer, self._services, params)  # Any: as in `_run`
            if not isinstance(found, Unsettled):
                return found
            if time.monotonic() + READ_AGAIN_S > until_s:
                return found.answer
            await asyncio.sleep(READ_AGAIN_S)


def _privileged(method: str, response: Response, caller: Caller) -> Privileged:
    """Return what the audit log has of a call: which events or which token, and never what was in them."""
    rights, outcome, count = caller.rights, "ok", 0
    ids: tuple[str, ...] = ()
    if isinstance(response, Failure):
        outcome = response.error.data.reason
    else:
        events = getattr(response.result, "events", None)
        described = getattr(response.result, "described", None)
        if events is not None:
            ids, count = tuple(event.id for event in events[:IDS_TOLD]), len(events)
        elif described is not None:
            ids, count = (described.name,), 1
    return Privileged(rights.who, rights.role, caller.remote, method, outcome, caller.trace_id, ids, count)


def _answerable(error: Exception, call: Call, caller: Caller) -> RpcError:
    """Return what the client is told; what nobody foresaw is logged under the trace id and told to nobody."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, ChainError):
        if isinstance(error, StorageError):
            log.error("rpc_store_failed", method=call.method, trace_id=caller.trace_id, error=str(error))
        return from_chain_error(error)
    log.exception("rpc_call_failed", method=call.method, trace_id=caller.trace_id)
    return internal_error()
