"""Log-ins of browsers: a random cookie that stands for reading rights, until it or its token ends or somebody leaves.

Here: the table of sessions, in memory alone: a restart ends them. Not here: HTTP (`rpc.login`).

A session only ever reads, whatever its token may do: a page that somebody tricks into asking can change nothing.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from rpc.rights import Rights, Role

SESSIONS_MAX: Final = 1_000
SESSION_S: Final = 8 * 3_600
COOKIE: Final = "__Host-session"
COOKIE_CHARACTERS_MAX: Final = 128
_READERS: Final = {Role.REGULATOR: Role.REGULATOR, Role.PUBLIC: Role.PUBLIC}


@dataclass(frozen=True, slots=True)
class _Session:
    rights: Rights
    granted_by: Rights

    def ended(self) -> None:
        """End with what granted it."""
        self.rights.end("session_over")


class Sessions:
    """The sessions of a listener, by the SHA-256 of their cookie; the oldest goes where there are too many."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, granted_by: Rights, now_s: float) -> tuple[str, Rights]:
        """Return a new cookie, and the rights that it stands for: at most as long as those that it came from."""
        cookie = secrets.token_urlsafe(32)
        rights = Rights(
            f"{granted_by.who}, in a browser",
            _READERS.get(granted_by.role, Role.AUDITOR),
            member=granted_by.member,
            client=granted_by.client,
            ends_s=min(now_s + SESSION_S, granted_by.ends_s),
        )
        session = _Session(rights, granted_by)
        granted_by.watchers.add(session.ended)
        self._open[_key(cookie)] = session
        for key in [key for key, held in self._open.items() if held.rights.ends_s <= now_s]:
            self._forget(key)
        if len(self._open) > SESSIONS_MAX:
            self._forget(next(iter(self._open)))
        return cookie, rights

    def find(self, cookie: str, now_s: float) -> Rights | None:
        """Return the rights of a session that lasts; None for any other cookie."""
        session = self._open.get(_key(cookie)) if len(cookie) <= COOKIE_CHARACTERS_MAX else None
        if session is None or session.rights.ends_s <= now_s:
            return None
        session.rights.used_s = session.granted_by.used_s = now_s
        return session.rights

    def end(self, cookie: str) -> None:
        """End a session."""
        self._forget(_key(cookie))

    def _forget(self, key: bytes) -> None:
        session = self._open.pop(key, None)
        if session is not None:
            session.granted_by.watchers.discard(session.ended)
            session.ended()


def _key(cookie: str) -> bytes:
    return sha256(cookie.encode(errors="surrogateescape")).digest()
