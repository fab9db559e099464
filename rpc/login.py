"""Logging in to the explorer off loopback: a form that takes a token, and a cookie that reads for a while.

Here: `/login`, `/logout`, and which requests the cookie counts for. Not here: sessions (`rpc.sessions`), pages.

The cookie is Secure, HttpOnly and SameSite=Strict and bound to this host by its name's prefix. It counts for pages and
plain GET; for `POST /` and `/ws` only where the browser says that a page of this node asks (Origin), and there too it
only reads. So a page elsewhere can neither use it nor see what it shows.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from rpc.access import Door
from rpc.errors import Code, RpcError
from rpc.explorer.asking import Page
from rpc.explorer.mount import Explorer
from rpc.ports import Privileged, Services
from rpc.rights import Rights
from rpc.sessions import COOKIE, Sessions

LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
# Who is not in yet sees the way in, and the style sheets and scripts of the wheel.
OPEN_ROUTES = frozenset((LOGIN_PATH, LOGOUT_PATH, "/static/{path}"))
FORM_BYTES_MAX = 4_096
FORM_TYPE = "application/x-www-form-urlencoded"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Login:
    """The way in for people; `trace_id_of` names a request in the audit log."""

    def __init__(
        self, door: Door, explorer: Explorer, services: Services, trace_id_of: Callable[[web.Request], str]
    ) -> None:
        self._door = door
        self._explorer = explorer
        self._services = services
        self._trace_id_of = trace_id_of
        self._sessions = Sessions()

    def add_to(self, app: web.Application) -> None:
        """Add the paths."""
        app.router.add_get(LOGIN_PATH, self._form)
        app.router.add_post(LOGIN_PATH, self._log_in)
        app.router.add_post(LOGOUT_PATH, self._log_out)

    def rights_of(self, request: web.Request, *, from_own_page: bool) -> Rights | None:
        """Return the rights of a request's cookie, None where it has none that counts for this request."""
        cookie = request.cookies.get(COOKIE)
        plain = request.method in ("GET", "HEAD") and request.path != "/ws"
        if cookie is None or not (plain or from_own_page):
            return None
        return self._sessions.find(cookie, time.time())

    async def _form(self, request: web.Request) -> web.StreamResponse:
        """Show the form, or who is in."""
        rights = self.rights_of(request, from_own_page=True)
        return self._page(rights, None, _own_path(request.query.get("to", "/")), request)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        """Take a token and give a cookie."""
        token, target = await _fields(request)
        try:
            rights = self._door.rights_of([f"Bearer {token}"], time.time())
        except RpcError as error:
            self._tell(request, "nobody", "", error.reason)
            return self._page(None, error, target, request)
        cookie, session = self._sessions.begin(rights, time.time())
        self._tell(request, rights.who, rights.role, "ok")
        response = web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})
        left_s = max(1, int(session.ends_s - time.time()))
        response.set_cookie(COOKIE, cookie, max_age=left_s, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = web.Response(status=303, headers={"Location": LOGIN_PATH, "Cache-Control": "no-store"})
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    def _page(self, rights: Rights | None, error: RpcError | None, target: str, request: web.Request) -> web.Response:
        values = {"rights": rights, "error": error, "target": target}
        page = Page("login.html", "login.title", values, status=200 if error is None else 401)
        response = self._explorer.bare_page(request, page)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _tell(self, request: web.Request, who: str, role: str, outcome: str) -> None:
        if self._services.audit is not None:
            remote, trace_id = request.remote or "", self._trace_id_of(request)
            self._services.audit.called(Privileged(who, role, remote, "login", outcome, trace_id))


async def _fields(request: web.Request) -> tuple[str, str]:
    """Return the token of a form, and the path to go on to."""
    if request.content_type != FORM_TYPE:
        raise RpcError(
            Code.INVALID_REQUEST, "wrong_content_type", "not a form", expected=FORM_TYPE, got=request.content_type
        )
    if (request.content_length or FORM_BYTES_MAX + 1) > FORM_BYTES_MAX:
        raise RpcError(
            Code.LIMIT_EXCEEDED, "body_too_large", "the form is too large", expected=f"at most {FORM_BYTES_MAX} bytes"
        )
    form = await request.post()
    token, target = form.get("token", ""), form.get("to", "/")
    return (token.strip() if isinstance(token, str) else ""), _own_path(target if isinstance(target, str) else "/")


def _own_path(text: str) -> str:
    """Return a path of this node; `/` for what could lead elsewhere."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= FORM_BYTES_MAX
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"
