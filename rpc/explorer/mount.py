"""The explorer on the RPC listener: its paths, languages, caching, and refusals as pages.

Here: HTTP. Not here: what pages show (one module for each family), HTML (`rpc.explorer.rendering`), who may ask: the
listener's door is before every page (`rpc.server`). Pages run in a few threads, so that none holds up the node's votes.
A browser keeps nothing of a page without asking again, and the style sheets and scripts for good.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from aiohttp import web

from primitives.errors import ChainError
from rpc.errors import Code, RpcError, from_chain_error, unavailable
from rpc.explorer import (
    blocks,
    certificates,
    checkpoints,
    downloads,
    events,
    evidence,
    expiry,
    inspections,
    keeping,
    marks,
    members,
    misuse,
    overview,
    payments,
    proposals,
    rules,
    search,
    verifying,
)
from rpc.explorer.asking import Answer, Asked, Download, Maker, Page, Picture, Redirect
from rpc.explorer.language import LANGUAGES, choose_language
from rpc.explorer.rendering import THEMES, Frame, Renderer, compile_first_page
from rpc.explorer.statics import statics
from rpc.ports import CallObserver, Services
from rpc.resources import accepts_gzip

PAGES_AT_ONCE: Final = 2
PAGE_TIMEOUT_S: Final = 20
QUERY_CHARACTERS_MAX: Final = 2_048
COMPILE_AFTER_S: Final = 5
"""When the first page's templates are compiled: once a node is up, and before anybody looks."""

PACKED_FROM_BYTES: Final = 1_024
GZIP_LEVEL: Final = 5
COOKIE_AGE_S: Final = 365 * 24 * 3_600
LANGUAGE_COOKIE: Final = "language"
THEME_COOKIE: Final = "theme"
HTML_TYPE: Final = "text/html"
NEVER_KEPT: Final = "no-cache"
FOR_GOOD: Final = "public, max-age=31536000, immutable"

# Scripts and styles are files of ours; nothing that stands in a page itself is ever run.
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Nothing is told to other sites. With `no-referrer` browsers send a form with `Origin: null`, as if from elsewhere.
    "Referrer-Policy": "same-origin",
}


def headers_of(other_nodes: Sequence[str]) -> dict[str, str]:
    """Return the headers of pages whose scripts may ask these other nodes, by their origins."""
    name = "Content-Security-Policy"
    asked = " ".join(("connect-src 'self'", *other_nodes))
    return {**PAGE_HEADERS, name: PAGE_HEADERS[name].replace("connect-src 'self'", asked)}


# Path, the name under which its calls are counted, and what makes its page.
PAGES: Final[tuple[tuple[str, str, Maker], ...]] = (
    ("/", "overview", overview.overview),
    ("/blocks", "blocks", blocks.blocks),
    ("/block/{name}", "block", blocks.block),
    ("/event/{id}", "event", events.event),
    ("/certificates", "certificates", certificates.certificates),
    ("/certificate/{number}", "certificate", certificates.certificate),
    ("/certificate/{number}/status.tlog-proof", "status_proof", downloads.status_proof),
    ("/certificate/{number}/history.tlog-proof", "history_proof", downloads.history_proof),
    ("/certificate/{number}/mark.svg", "mark_svg", marks.mark_as_svg),
    ("/certificate/{number}/mark.png", "mark_png", marks.mark_as_png),
    ("/inspections", "inspections", inspections.inspections),
    ("/inspection/{draw}", "inspection", inspections.inspection),
    ("/misuse", "misuse", misuse.misuse),
    ("/payments", "payments", payments.payments),
    ("/payment/{name}", "payment", payments.payment),
    ("/members", "members", members.members),
    ("/member/{name}", "member", members.member),
    ("/member/{name}/completeness.tlog-proof", "completeness_proof", downloads.completeness_proof),
    ("/checkpoints", "checkpoints", checkpoints.checkpoints),
    ("/consistency", "consistency", checkpoints.consistency),
    ("/checkpoints/{file}", "checkpoint_note", checkpoints.note),
    ("/proposals", "proposals", proposals.proposals),
    ("/proposal/{id}", "proposal", proposals.proposal),
    ("/rules", "rules", rules.rules),
    ("/expiry", "expiry", expiry.expiry),
    ("/evidence", "evidence", evidence.evidence),
    ("/evidence/{id}", "one_evidence", evidence.one_evidence),
    ("/archive", "archive", keeping.archive),
    ("/search", "search", search.search),
    ("/verify", "verify", verifying.verify),
)
FILE_ENDINGS: Final = (".tlog-proof", ".note", ".svg", ".png")
FRAGMENTS: Final = {("overview", "live"): "_live.html"}
"""Parts of a page that may be asked for alone, by the page's name and `?fragment=`."""

_PATHS: Final = frozenset(path for path, _, _ in PAGES)
_SAFE_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
R = TypeVar("R")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Explorer:
    """The pages over one node's services."""

    def __init__(
        self, services: Services, observer: CallObserver | None = None, other_nodes: Sequence[str] = ()
    ) -> None:
        self._services = services
        self._headers = headers_of(other_nodes)
        self._observer = observer
        self._statics = statics()
        self._renderer = Renderer(self._statics)
        self._threads = asyncio.Semaphore(PAGES_AT_ONCE)

    def add_to(self, app: web.Application) -> None:
        """Add all paths of the explorer."""
        for path, name, make in PAGES:
            app.router.add_get(path, self._handler(name, make))
        app.router.add_get("/static/{path:.*}", self._static)
        app.cleanup_ctx.append(_compiling)

    # -- what the listener asks

    def answers(self, request: web.Request) -> bool:
        """Say whether a refusal of this request is to be a page: of our own paths, and where a browser asked."""
        if request.method not in ("GET", "HEAD"):
            return False
        for_programs = request.path.endswith(FILE_ENDINGS) or request.path.startswith("/static/")
        return (self._is_page(request) and not for_programs) or HTML_TYPE in request.headers.get("Accept", "")

    def is_link(self, request: web.Request) -> bool:
        """Say whether somebody followed a link to a page, from wherever: pages change nothing, and cannot be framed."""
        return (
            request.method in ("GET", "HEAD")
            and self._is_page(request)
            and request.headers.get("Sec-Fetch-Mode") == "navigate"
            and request.headers.get("Sec-Fetch-Dest") == "document"
        )

    def bare_page(self, request: web.Request, page: Page) -> web.Response:
        """Return a page that shows nothing of the node, for who may not see it."""
        html = self._renderer.html(page, self._frame(request, with_node=False))
        return self._response(request, html.encode(), page.status)

    def refusal(
        self, request: web.Request, error: RpcError, status: int, trace_id: str, login_to: str | None = None
    ) -> web.Response:
        """Return the page of a refusal; `login_to` is where to go on after logging in, where that would help."""
        values = {"error": error, "status": status, "trace_id": trace_id, "login_to": login_to}
        group = str(status) if status in (400, 401, 403, 404, 405, 414, 429, 503) else "500"
        page = Page("error.html", f"error.{group}.title", {**values, "group": group}, status=status)
        response = self.bare_page(request, page)
        response.headers["Cache-Control"] = "no-store"
        return response

    @staticmethod
    def _is_page(request: web.Request) -> bool:
        resource = request.match_info.route.resource
        return resource is not None and (resource.canonical in _PATHS or request.path.startswith("/static/"))

    # -- pages

    def _handler(self, name: str, make: Maker) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            started, code = time.perf_counter(), 0
            try:
                return await self._answer(request, name, make)
            except RpcError as error:
                code = int(error.code)
                raise
            except ChainError as error:
                code = int(from_chain_error(error).code)
                raise
            finally:
                if self._observer is not None:
                    self._observer.called(f"explorer.{name}", code, time.perf_counter() - started)

        return handle

    async def _answer(self, request: web.Request, name: str, make: Maker) -> web.StreamResponse:
        if len(request.query_string) > QUERY_CHARACTERS_MAX:
            raise RpcError(
                Code.INVALID_PARAMS,
                "query_too_long",
                "the query is too long",
                expected=f"at most {QUERY_CHARACTERS_MAX} characters",
                got=len(request.query_string),
            )
        origin = f"{request.scheme}://{request.host}".lower()
        asked = Asked(self._services, dict(request.match_info), dict(request.query), _OnLoop(), origin)
        frame = self._frame(request, with_node=True)
        fragment = FRAGMENTS.get((name, request.query.get("fragment", "")))
        try:
            async with asyncio.timeout(PAGE_TIMEOUT_S), self._threads:
                answer, html = await asyncio.to_thread(self._made, asked, frame, make, fragment)
        except TimeoutError:
            raise unavailable("timed_out", f"no answer within {PAGE_TIMEOUT_S} s") from None
        match answer:
            case Redirect():
                return web.Response(status=302, headers={"Location": answer.path, "Cache-Control": NEVER_KEPT})
            case Download():
                return _download(answer)
            case Picture():
                return self._picture(answer)
            case Page():
                response = self._response(request, html, answer.status)
                self._keep_choices(request, response, frame)
                return response

    def _made(self, asked: Asked, frame: Frame, make: Maker, fragment: str | None) -> tuple[Answer, bytes]:
        answer = make(asked)
        if not isinstance(answer, Page):
            return answer, b""
        return answer, self._renderer.html(answer, frame, fragment=fragment).encode()

    def _frame(self, request: web.Request, *, with_node: bool) -> Frame:
        query = request.query
        theme = query.get("theme") or request.cookies.get(THEME_COOKIE, "")
        return Frame(
            language=choose_language(
                query.get("lang"), request.cookies.get(LANGUAGE_COOKIE), request.headers.get("Accept-Language", "")
            ),
            theme=theme if theme in THEMES else THEMES[0],
            path=request.path if with_node else "/",
            query={name: value for name, value in query.items() if with_node and name != "fragment"},
            node=self._services.node.status() if with_node else None,
        )

    def _keep_choices(self, request: web.Request, response: web.Response, frame: Frame) -> None:
        """Keep the language and theme that a reader chose by a link, in cookies that hold nothing else."""
        secure = request.secure
        if request.query.get("lang") in LANGUAGES:
            _set_cookie(response, LANGUAGE_COOKIE, frame.language, secure=secure)
        if request.query.get("theme") in THEMES:
            _set_cookie(response, THEME_COOKIE, frame.theme, secure=secure)

    def _response(self, request: web.Request, body: bytes, status: int) -> web.Response:
        headers = {**self._headers, "Cache-Control": NEVER_KEPT, "Vary": "Accept-Encoding, Accept-Language, Cookie"}
        if len(body) >= PACKED_FROM_BYTES and accepts_gzip(request.headers.getall("Accept-Encoding", [])):
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, status=status, content_type=HTML_TYPE, charset="utf-8", headers=headers)

    # -- files

    def _picture(self, picture: Picture) -> web.Response:
        """Return a picture; an SVG that is opened by itself may load and run nothing."""
        name = _SAFE_NAME.sub("_", picture.name)
        headers = {**PAGE_HEADERS, "Cache-Control": NEVER_KEPT, "Content-Disposition": f'inline; filename="{name}"'}
        return web.Response(body=picture.data, content_type=picture.type, headers=headers)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        """Serve a style sheet or script."""
        found = self._statics.get(request.match_info["path"])
        if found is None:
            raise RpcError(Code.NOT_FOUND, "not_found", "the explorer has no such file", got=request.path)
        file, for_good = found
        headers = {**PAGE_HEADERS, "ETag": f'"{file.tag}"', "Vary": "Accept-Encoding"}
        headers["Cache-Control"] = FOR_GOOD if for_good else NEVER_KEPT
        if f'"{file.tag}"' in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = file.body
        if accepts_gzip(request.headers.getall("Accept-Encoding", [])):
            body = file.packed
            headers["Content-Encoding"] = "gzip"
        charset = None if file.type == "application/wasm" else "utf-8"
        return web.Response(body=body, content_type=file.type, charset=charset, headers=headers)


async def _compiling(app: web.Application) -> AsyncIterator[None]:
    """Compile the first page's templates while the listener is there, in a thread and a little after the start."""
    del app

    async def compile_soon() -> None:
        await asyncio.sleep(COMPILE_AFTER_S)
        await asyncio.to_thread(compile_first_page)

    task = asyncio.create_task(compile_soon(), name="explorer templates")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _OnLoop:
    """Runs functions of a page's thread on the loop that serves it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, function: Callable[[], R], /) -> R:
        async def run() -> R:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PAGE_TIMEOUT_S)


def _download(file: Download) -> web.Response:
    name = _SAFE_NAME.sub("_", file.name)
    headers = {"Cache-Control": NEVER_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=file.text, content_type="text/plain", charset="utf-8", headers=headers)


def _set_cookie(response: web.Response, name: str, value: str, *, secure: bool) -> None:
    response.set_cookie(name, value, max_age=COOKIE_AGE_S, httponly=True, samesite="Lax", secure=secure)
