"""The listener of JSON-RPC: HTTP around the dispatcher, and every refusal at the door.

Here: the aiohttp application, its limits and time-outs, trace ids, security headers and the access log. Not here: the
protocol (`rpc.jsonrpc`), the methods (`rpc.methods`), what plain GET serves (`rpc.resources`), decisions on header
values (`rpc.access`), health and metrics (`rpc.ops`). Source: docs/api.md; architecture §7.

Who reads a refusal by HTTP status alone gets one: 400 malformed, 401 token, 403 origin or host, 405, 408, 413, 415, 429
and 503; its body is a JSON-RPC error all the same. Whatever reaches a method is answered with status 200.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
from aiohttp import web

from primitives.errors import ChainError, StorageError
from rpc.access import Door, RateLimit, Running
from rpc.call_log import is_logged, log_call
from rpc.connections import BoundedConnections
from rpc.dispatch import Answer, Caller, Dispatcher
from rpc.errors import Code, RpcError, from_chain_error, internal_error
from rpc.explorer.mount import Explorer
from rpc.limits import (
    BODY_BYTES_MAX,
    READ_BODY_BYTES_MAX,
    SUBMISSION_BYTES_MIN,
    SUBSCRIPTIONS_MAX,
    WEBSOCKET_REQUESTS_MAX,
    WEBSOCKETS_MAX,
)
from rpc.list_resources import Lists
from rpc.login import LOGIN_PATH, OPEN_ROUTES, Login
from rpc.ports import CallObserver, Services
from rpc.quick_http import Heads, Service, certificate_of
from rpc.registry import AnyMethod
from rpc.resources import add_resources
from rpc.rights import ANYBODY, Rights, access_of
from rpc.subscriptions import SubscriptionLimits
from rpc.websocket import WEBSOCKET_PATH, WebSocketLimits, WebSockets

BODY_TIMEOUT_S = 30
KEEPALIVE_TIMEOUT_S = 60
# How long a refused request's body is read and thrown away, so that its sender sees the refusal and no reset.
LINGERING_TIME_S = 1
SHUTDOWN_TIMEOUT_S = 3
TRACE_HEADER = "X-Trace-Id"
JSON_TYPE = "application/json"
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# JSON and text: nothing of it is ever to be run, framed or guessed at by a browser. Pages have a policy of their own.
SECURITY_HEADERS = {
    "Server": "chainnode",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTTP_STATUS: dict[str, int] = {
    "foreign_host": 403,
    "foreign_origin": 403,
    "token_required": 401,
    "wrong_token": 401,
    "bad_authorization": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "certificate_refused": 401,
    "role_insufficient": 403,
    "wrong_content_type": 415,
    "wrong_content_encoding": 415,
    "body_too_large": 413,
    "query_too_long": 414,
    "body_too_slow": 408,
    "rate_limited": 429,
    "busy": 503,
    "gateway_full": 503,
    "not_a_websocket": 426,
    "too_many_websockets": 503,
}

log = structlog.get_logger("rpc")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TRACE_ID: web.RequestKey[str] = web.RequestKey("trace_id", str)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
ANSWER: web.RequestKey[Answer] = web.RequestKey("answer", Answer)
REFUSAL: web.RequestKey[RpcError] = web.RequestKey("refusal", RpcError)


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """What the operator chose, as the node's configuration has it; `token_hashes` are SHA-256 (`access.token_hash`)."""

    host: str = "127.0.0.1"
    port: int = 7401
    on_loopback: bool = True
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token_hashes: tuple[bytes, ...] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    body_bytes_max: int = BODY_BYTES_MAX
    connections_max: int = 512
    requests_max: int = 256
    requests_per_second_max: int = 2_000
    requests_per_second_of_roles: dict[str, int] = field(default_factory=dict)
    public: bool = False
    websockets_max: int = WEBSOCKETS_MAX
    websocket_requests_max: int = WEBSOCKET_REQUESTS_MAX
    subscriptions_max: int = SUBSCRIPTIONS_MAX
    explorer: bool = True
    explorer_origins: tuple[str, ...] = ()


class RpcServer:
    """Listens, answers, and stops; `start` and `stop` belong to the node's task group."""

    def __init__(
        self,
        settings: RpcSettings,
        services: Services,
        methods: dict[str, AnyMethod],
        observer: CallObserver | None = None,
    ) -> None:
        assert settings.on_loopback or settings.tls is not None, "a listener off loopback has TLS"
        self._settings = settings
        self._services = services
        self._dispatcher = Dispatcher(methods, services, observer)
        self._scheme = "http" if settings.tls is None else "https"
        self._door = Door(
            hosts=(settings.host, *settings.hosts),
            origins=settings.origins,
            token_hashes=settings.token_hashes,
            on_loopback=settings.on_loopback,
            scheme=self._scheme,
            tokens=services.tokens,
            public=settings.public,
        )
        self._heads = Heads(self._door)
        self._rate = RateLimit(settings.requests_per_second_max, settings.requests_per_second_of_roles)
        self._running = Running(settings.requests_max)
        self._websockets = WebSockets(
            self._dispatcher,
            services,
            self._rate,
            self._running,
            WebSocketLimits(
                settings.body_bytes_max,
                settings.websockets_max,
                settings.websocket_requests_max,
                SubscriptionLimits(settings.subscriptions_max),
            ),
        )
        self._connections: BoundedConnections | None = None
        self._explorer = Explorer(services, observer, settings.explorer_origins) if settings.explorer else None
        self._login: Login | None = None
        if self._explorer is not None and settings.tls is not None:  # in the clear a cookie would be anybody's
            self._login = Login(self._door, self._explorer, services, lambda request: request[TRACE_ID])

    def application(self) -> web.Application:
        """Return the aiohttp application: POST /, the WebSocket /ws and what plain GET serves."""
        app = web.Application(middlewares=[self._guard])
        app.on_shutdown.append(self._websockets.close)
        app.router.add_post("/", self._call)
        app.router.add_get(WEBSOCKET_PATH, self._converse, allow_head=False)
        app.router.add_options("/", self._preflight)
        add_resources(app, self._services)
        Lists(self._services, lambda request: {**SECURITY_HEADERS, TRACE_HEADER: request[TRACE_ID]}).add_to(app)
        if self._explorer is not None:
            self._explorer.add_to(app)
        if self._login is not None:
            self._login.add_to(app)
        return app

    async def start(self) -> None:
        """Listen; raises OSError where the address is taken."""
        # Bodies are never inflated: a few kilobytes could become gigabytes.
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            lingering_time=LINGERING_TIME_S,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        quick = Service(
            self._dispatcher,
            self._heads,
            self._rate,
            self._running,
            lambda refused: HTTP_STATUS.get(refused, 200),
            "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items()).encode(),
            KEEPALIVE_TIMEOUT_S,
            self._settings.body_bytes_max,
        )
        self._connections = BoundedConnections(runner, self._settings.connections_max, quick)
        await self._connections.start(self._settings.host, self._settings.port, self._settings.tls)
        log.info("rpc_listening", address=self.address, tls=self._settings.tls is not None)

    async def stop(self) -> None:
        """Take no more connections, let running requests end for a few seconds, then close."""
        if self._connections is not None:
            await self._connections.stop()
            self._connections = None

    @property
    def address(self) -> str:
        """The URL of the listener, with the port that it got where the settings ask for any."""
        assert self._connections is not None, "not started"
        host, port = self._connections.address
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give every request its trace id, its checks at the door, its headers and its line in the log."""
        if self._connections is not None:
            self._connections.asked(request.protocol)
        started = time.perf_counter()
        request[TRACE_ID] = trace_id = _trace_id(request)
        allowed_origin: str | None = None
        try:
            self._door.check_host(request.headers.getall("Host", []))
            followed = self._explorer is not None and self._explorer.is_link(request)
            allowed_origin = self._door.check_origin(
                request.headers.getall("Origin", []),
                None if followed else request.headers.get("Sec-Fetch-Site"),
                request.host,
            )
            if request.method == "OPTIONS":  # a browser's preflight carries no token
                response = await handler(request)
            else:
                from_own_page = "Origin" in request.headers and allowed_origin is None
                response = await self._admitted(request, handler, from_own_page=from_own_page)
        except RpcError as error:
            response = self._refused(request, error)
        except ChainError as error:
            if isinstance(error, StorageError):
                log.error("rpc_store_failed", path=request.path[:100], trace_id=trace_id, error=str(error))
            response = self._refused(request, from_chain_error(error))
        except web.HTTPException as error:
            response = self._refused(request, _http_refusal(error, request), status=error.status)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Exception:
            log.exception("rpc_request_failed", path=request.path[:100], trace_id=trace_id)
            response = self._refused(request, internal_error(), status=500)
        if not response.prepared:
            response.headers[TRACE_HEADER] = trace_id
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)  # pages say themselves what they may run
            if allowed_origin is not None:
                response.headers["Access-Control-Allow-Origin"] = allowed_origin
                response.headers["Vary"] = "Origin"
        self._log(request, response, time.perf_counter() - started)
        return response

    async def _admitted(self, request: web.Request, handler: Handler, *, from_own_page: bool) -> web.StreamResponse:
        """Run the handler for a caller with the right token, within the limits of rate and concurrency."""
        resource = request.match_info.route.resource
        route = "" if resource is None else resource.canonical
        is_open = self._login is not None and route in OPEN_ROUTES
        try:
            rights = ANYBODY if is_open else self._rights_of(request, from_own_page=from_own_page)
        except RpcError:  # whoever is refused here is counted by its address: it has no other name
            self._rate.take(request.remote or "", 1, int(time.monotonic() * 1_000), ANYBODY.role)
            raise
        request[CALLER] = Caller(request[TRACE_ID], rights, remote=request.remote or "")
        self._take(request, 1)
        if request.method in ("GET", "HEAD") and not is_open:
            rights.check_access(access_of(route, request.match_info.get("path", "")))
        if request.path == WEBSOCKET_PATH:  # its requests are counted, not the connection that brings them
            return await handler(request)
        self._running.enter()
        try:
            return await handler(request)
        finally:
            self._running.leave()

    def _rights_of(self, request: web.Request, *, from_own_page: bool) -> Rights:
        """Return the caller's rights: of its token where it brings one, else of its client certificate, else of its
        log-in, else of anybody.
        """
        authorizations = request.headers.getall("Authorization", [])
        certificates = self._services.certificates
        if not authorizations and certificates is not None and request.transport is not None:
            shown_der = certificate_of(request.transport)
            if shown_der is not None:
                return certificates.find(shown_der, time.time())
        if not authorizations and self._login is not None:
            rights = self._login.rights_of(request, from_own_page=from_own_page)
            if rights is not None:
                return rights
        return self._door.rights_of(authorizations, time.time())

    def _take(self, request: web.Request, calls: int) -> None:
        rights = request[CALLER].rights
        self._rate.take(rights.client or request.remote or "", calls, int(time.monotonic() * 1_000), rights.role)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        """Answer POST /."""
        caller = request[CALLER]
        _check_content(request)
        # Whoever may not submit has nothing large to say.
        limit = self._settings.body_bytes_max if caller.rights.may_submit else READ_BODY_BYTES_MAX
        limit = min(limit, self._settings.body_bytes_max)
        size = request.content_length or 0
        if caller.rights.may_submit and SUBMISSION_BYTES_MIN <= size <= limit:
            body = await self._read_submission(request, limit, size)
        else:
            body = await _read_body(request, limit)
        answer = await self._dispatcher.answer_body(body, caller, partial(self._take, request))
        status = HTTP_STATUS.get(answer.refused, 200)
        request[ANSWER] = answer
        if answer.body is None:
            return web.Response(status=204)
        return web.Response(body=answer.body, status=status, content_type=JSON_TYPE)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        """Answer the requests of a WebSocket connection until it ends."""
        headers = {**SECURITY_HEADERS, TRACE_HEADER: request[TRACE_ID]}
        return await self._websockets.serve(request, request[CALLER], headers)

    async def _read_submission(self, request: web.Request, limit: int, size: int) -> bytes:
        """Return the body of what can only be a submission; one for which there is no room is not even parsed.

        It is read all the same: its sender could not see the refusal otherwise, and would have to connect again.
        """
        gateway = self._services.gateway
        try:
            gateway.check_room()
        except RpcError:
            await _throw_away(request)
            raise
        # Base64 and JSON take up to twice the room of the events that they hold.
        with gateway.expecting(size // 2):
            return await _read_body(request, limit)

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        """Tell a browser whether a page of an allowed origin may call; any other was refused before this."""
        del request
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "Content-Type, Authorization",
                "Access-Control-Max-Age": "600",
            },
        )

    def _refused(self, request: web.Request, error: RpcError, status: int | None = None) -> web.StreamResponse:
        """Return the refusal as a JSON-RPC error or a page; the connection ends where its body was not read."""
        request[REFUSAL] = error
        code = status or HTTP_STATUS.get(error.reason) or GET_STATUS.get(error.code, 400)
        if self._explorer is not None and self._explorer.answers(request):
            helps = self._login is not None and code in (401, 403) and error.reason != "foreign_host"
            login_to = request.path_qs if helps and request.path != LOGIN_PATH else None
            response = self._explorer.refusal(request, error, code, request[TRACE_ID], login_to)
        else:
            answer = self._dispatcher.refuse(error, Caller(request[TRACE_ID], ANYBODY))
            response = web.Response(body=answer.body, status=code, content_type=JSON_TYPE)
        response.headers["Cache-Control"] = "no-store"  # what is not there yet may be there in a moment
        if code == 426:
            response.headers["Upgrade"] = "websocket"
        if code == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="chainnode"'
        if error.retry_after_ms is not None:
            response.headers["Retry-After"] = str(-(-error.retry_after_ms // 1_000))
        if request.can_read_body and not request.content.is_eof():
            response.force_close()
        return response

    def _log(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        """Write the access line: names and figures only, never parameters, tokens or results."""
        answer, refusal = request.get(ANSWER), request.get(REFUSAL)
        if not is_logged(answer, refusal):
            return
        fields: dict[str, object] = {
            "trace_id": request[TRACE_ID],
            "remote": request.remote,
            "http": request.method[:16],
            "status": response.status,
        }
        log_call(answer, refusal, seconds, fields, path=request.path)


# A refusal of a plain GET, by JSON-RPC code.
GET_STATUS: dict[Code, int] = {
    Code.NOT_FOUND: 404,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL_ERROR: 500,
    Code.LIMIT_EXCEEDED: 413,
    Code.NOT_PERMITTED: 403,
}


def _trace_id(request: web.Request) -> str:
    """Return the caller's W3C trace id where it sent one, else a new one: 32 hex digits."""
    match = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return match[1] if match else secrets.token_hex(16)


def _check_content(request: web.Request) -> None:
    """Refuse what an HTML form or a script without preflight can send: any type but application/json."""
    types = request.headers.getall("Content-Type", [])
    charset = request.charset if len(types) == 1 else None
    if len(types) != 1 or request.content_type != JSON_TYPE or (charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise RpcError(
            Code.INVALID_REQUEST,
            "wrong_content_type",
            "the content type is not taken",
            expected=JSON_TYPE,
            got=", ".join(types) or "none",
        )
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise RpcError(
            Code.INVALID_REQUEST,
            "wrong_content_encoding",
            "compressed bodies are not taken",
            expected="identity",
            got=encoding,
        )


async def _read_body(request: web.Request, limit: int) -> bytes:
    """Return the body of at most `limit` bytes, within its time."""

    def too_large(got: object) -> RpcError:
        return RpcError(
            Code.LIMIT_EXCEEDED,
            "body_too_large",
            "the body is too large",
            expected=f"at most {limit} bytes",
            got=got,
            hint="send less at a time; submissions with a token may be larger",
        )

    if request.content_length is not None and request.content_length > limit:
        raise too_large(f"{request.content_length} bytes")
    if request.content.is_eof():  # as a small body is that came with its headers
        body = request.content.read_nowait()
        if len(body) > limit:
            raise too_large(f"{len(body)} bytes")
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise too_large(f"more than {limit} bytes")
                parts.append(part)
    except TimeoutError:
        raise RpcError(
            Code.INVALID_REQUEST,
            "body_too_slow",
            "the body came too slowly",
            expected=f"within {BODY_TIMEOUT_S} s",
            got=f"{size} bytes",
        ) from None
    return b"".join(parts)


async def _throw_away(request: web.Request) -> None:
    """Read what is left of a body, for a while, and forget it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGERING_TIME_S):
            async for _ in request.content.iter_any():
                pass


def _http_refusal(error: web.HTTPException, request: web.Request) -> RpcError:
    """Return what aiohttp's router refuses, as an error of this API."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return RpcError(
            Code.INVALID_REQUEST,
            "method_not_allowed",
            "this HTTP method is not taken here",
            expected=" or ".join(sorted(error.allowed_methods)),
            got=request.method[:16],
        )
    if isinstance(error, web.HTTPNotFound):
        return RpcError(
            Code.NOT_FOUND, "no_such_path", "no such path", expected="a path of the documentation", got=request.path
        )
    return RpcError(Code.INVALID_REQUEST, "bad_request", "not a request that is taken here", got=error.status)
