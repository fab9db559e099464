"""Who may knock: Host and Origin allow-lists, bearer tokens, a rate for each client address, and how many at a time.

Here: pure decisions on header values; time is passed in. Not here: HTTP (`rpc.server`). Attacks met: a web page that
posts to a node on loopback (Origin), a name that is re-bound to 127.0.0.1 (Host), guessing a token byte by byte
(constant-time comparison of hashes), one client that starves the others (rate).
Source: architecture §7; the WHATWG's Fetch standard for Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from rpc.errors import Code, RpcError
from rpc.rights import ANYBODY, ON_LOOPBACK, Rights, Role, token_required

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CLIENTS_MAX = 10_000
NAMES_KEPT = 64
TOKEN_BYTES_MAX = 512
BURST_MS = 1_000
BUSY_RETRY_MS = 1_000


def token_hash(token: str) -> bytes:
    """Return the 32-byte SHA-256 under which a token is kept."""
    return sha256(token.encode()).digest()


@lru_cache(NAMES_KEPT)
def host_name(host: str) -> str | None:
    """Return the name in a Host header or address, lower case and without port and brackets; None if malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
        return None
    return parts.hostname


class Tokens(Protocol):
    """The tokens with roles that the node's operator made."""

    def find(self, digest: bytes) -> Rights | None:
        """Return the rights of the token with this SHA-256, also those that have ended; None for an unknown one."""
        ...


class Door:
    """Decides on a request's Host, Origin and token. It holds no state but the rights of the operator's own token."""

    def __init__(
        self,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        token_hashes: Iterable[bytes],
        on_loopback: bool,
        scheme: str,
        tokens: Tokens | None = None,
        public: bool = False,
    ) -> None:
        names = {name for name in map(host_name, hosts) if name is not None}
        self._hosts = frozenset(names | LOOPBACK_NAMES if on_loopback else names)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._token_hashes = tuple(token_hashes)
        self._tokens = tokens
        self._operator = Rights("the node's own token", Role.OPERATOR, client="token")
        self._anonymous = ON_LOOPBACK if on_loopback else ANYBODY if public else None
        self._scheme = scheme

    def check_host(self, hosts: list[str]) -> None:
        """Raise -32004 unless there is exactly one Host header and it names this node."""
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or name not in self._hosts:
            raise RpcError(
                Code.NOT_PERMITTED,
                "foreign_host",
                "the Host header does not name this node",
                expected=" or ".join(sorted(self._hosts)),
                got=", ".join(hosts) or "none",
                hint="add the name to rpc.hosts",
            )

    def check_origin(self, origins: list[str], fetch_site: str | None, host: str) -> str | None:
        """Return the foreign but allowed origin that a browser must be told of, else None.

        Raises -32004 for a page of another origin. Without Origin it is no page's script that calls, or a plain GET.
        """
        if not origins:
            if fetch_site in ("cross-site", "same-site"):
                raise self._foreign_origin(f"Sec-Fetch-Site: {fetch_site}")
            return None
        if len(origins) == 1:
            origin = origins[0].lower()
            if origin == f"{self._scheme}://{host.lower()}":
                return None
            if origin in self._origins:
                return origins[0]
        raise self._foreign_origin(", ".join(origins))

    def _foreign_origin(self, got: str) -> RpcError:
        return RpcError(
            Code.NOT_PERMITTED,
            "foreign_origin",
            "pages of this origin may not call",
            expected=" or ".join(sorted(self._origins)) or "no other origin",
            got=got,
            hint="add the origin to rpc.origins",
        )

    def rights_of(self, authorizations: list[str], now_s: float) -> Rights:
        """Return what the caller may do; -32004 for a token that is wrong or over, and for none where one is needed."""
        if not authorizations:
            if self._anonymous is None:
                raise token_required("this listener is not on loopback")
            return self._anonymous
        scheme, _, token = authorizations[0].partition(" ")
        if len(authorizations) != 1 or scheme.lower() != "bearer" or not token.strip():
            raise RpcError(
                Code.NOT_PERMITTED,
                "bad_authorization",
                "not a bearer token",
                expected="Authorization: Bearer TOKEN",
                got=f"{len(authorizations)} headers" if len(authorizations) != 1 else "another form",
            )
        rights = self._find(token.strip())
        if rights is None:
            # Neither the token nor its length is repeated: answers end up in logs.
            raise RpcError(
                Code.NOT_PERMITTED,
                "wrong_token",
                "the token is not known",
                expected="the token in the file that rpc.token_file names, or one of `chainnode token list`",
                got="another token",
            )
        rights.check(now_s)
        rights.used_s = now_s
        return rights

    def _find(self, token: str) -> Rights | None:
        if len(token) > TOKEN_BYTES_MAX:
            return None
        digest = sha256(token.encode(errors="surrogateescape")).digest()
        found = False
        for known in self._token_hashes:  # all of them, so that the time does not tell which one nearly fitted
            found |= hmac.compare_digest(known, digest)
        if found:
            return self._operator
        return None if self._tokens is None else self._tokens.find(digest)


class RateLimit:
    """A bucket for each client, known by its token or else its address: so many calls a second, and as many at once
    after a second's rest. `per_role` are the rates of some roles, in place of `per_second`.
    """

    def __init__(self, per_second: int, per_role: Mapping[str, int] | None = None) -> None:
        self._per_second = per_second
        self._per_role = dict(per_role or {})
        # Client to (calls left in thousandths, time of that count); oldest use first, at most CLIENTS_MAX.
        self._buckets: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, client: str, calls: int, now_ms: int, role: str = "") -> None:
        """Count calls of a client; raises -32005 with the time after which they would be taken.

        A batch larger than the whole bucket passes when the bucket is full, and leaves a debt.
        """
        per_second = self._per_role.get(role, self._per_second) if self._per_role else self._per_second
        full = per_second * BURST_MS
        left, then_ms = self._buckets.pop(client, (full, now_ms))
        left = min(full, left + max(0, now_ms - then_ms) * per_second)
        need = calls * 1_000
        taken = left >= min(need, full)
        self._buckets[client] = (left - need if taken else left, now_ms)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        if not taken:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "rate_limited",
                "too many calls from this client",
                expected=f"at most {per_second} a second",
                got=f"{calls} more",
                retryable=True,
                retry_after_ms=-(-(min(need, full) - left) // per_second),
            )


class Running:
    """The requests that are being answered, of all connections together: at most `requests_max`."""

    def __init__(self, requests_max: int) -> None:
        self._requests_max = requests_max
        self._count = 0

    def enter(self) -> None:
        """Count a request that begins; raises -32005 where so many run already. `leave` belongs to it."""
        if self._count >= self._requests_max:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "busy",
                "too many requests at a time",
                expected=f"at most {self._requests_max}",
                got="one more",
                retryable=True,
                retry_after_ms=BUSY_RETRY_MS,
            )
        self._count += 1

    def leave(self) -> None:
        """Count a request that has ended."""
        self._count -= 1
