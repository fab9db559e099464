"""Who may do what: roles, what each may call or see, and the rights of one caller, which can end while it is connected.

Here: the one table of roles, and values; no clock, no files. Not here: how a caller proves who it is (`rpc.access`),
where tokens are kept (`chainnode.tokens`). The tables of docs/api.md are made from what stands here.

A method, a path of plain GET and a page each have one `Access`; a role has some of them. Rights end by themselves at a
time, or at once when somebody ends them: whoever holds them compares `ends_s` with the clock at every use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from rpc.errors import Code, RpcError


class Access(Enum):
    """Who may call a method or see a page, besides what the listener asks of everybody."""

    PUBLIC = "public"
    READ = "read"
    GOVERN = "govern"
    SUBMIT = "submit"
    OPERATE = "operate"


class Role(StrEnum):
    """What a caller is to this node."""

    OPERATOR = "operator"
    SUBMITTER = "submitter"
    OFFICER = "officer"
    AUDITOR = "auditor"
    REGULATOR = "regulator"
    PUBLIC = "public"


# GOVERN is a method that an officer may call with governance alone, and a submitter with anything: see `Method.govern`.
MAY: Final[dict[Role, tuple[Access, ...]]] = {
    Role.OPERATOR: tuple(Access),
    Role.SUBMITTER: (Access.PUBLIC, Access.READ, Access.GOVERN, Access.SUBMIT),
    Role.OFFICER: (Access.PUBLIC, Access.READ, Access.GOVERN),
    Role.AUDITOR: (Access.PUBLIC, Access.READ),
    Role.REGULATOR: (Access.PUBLIC, Access.READ),
    Role.PUBLIC: (Access.PUBLIC,),
}

# Plain GET and pages by the listener's routes; what does not stand here is for readers. What is public says what a
# product's certificate is worth and that the log is one: no payments, no members' business (docs/security.md).
PUBLIC_PATHS: Final = frozenset(
    (
        "/certificate/{number}",
        "/certificate/{number}/history.tlog-proof",
        "/certificate/{number}/mark.png",
        "/certificate/{number}/mark.svg",
        "/certificate/{number}/status.tlog-proof",
        "/certificates",
        "/certificates.{form}",
        "/checkpoint",
        "/checkpoints",
        "/checkpoints/{file}",
        "/consistency",
        "/handovers/{epoch}",
        "/inspection/{draw}",
        "/inspections",
        "/openrpc.json",
        "/policy",
        "/static/{path}",
        "/verify",
    )
)
TILE_PATH: Final = "/tile/{path}"


def access_of(route: str, tile: str = "") -> Access:
    """Return the access of a GET by its route; of tiles those of hashes are public, entries are not."""
    is_public = route in PUBLIC_PATHS or (route == TILE_PATH and tile[:1].isdigit())
    return Access.PUBLIC if is_public else Access.READ


def roles_with(access: Access) -> list[Role]:
    """Return the roles that have an access, in their order."""
    return [role for role, has in MAY.items() if access in has]


@dataclass(slots=True, eq=False)
class Rights:
    """What one caller may do, and until when: shared by all that the caller has open, so that ending them ends all.

    `who` is for the operator's logs. `client` is what the rate counts by, empty for the caller's address. `ends_s` is
    seconds since 1970, `used_s` when they were last used, `ended` why they are over. `watchers` are told of their end.
    """

    who: str
    role: Role
    anonymous: bool = False
    member: str = ""
    client: str = ""
    ends_s: float = math.inf
    ended: str = ""
    used_s: float = 0.0
    may: tuple[Access, ...] = field(init=False)
    may_submit: bool = field(init=False)
    watchers: set[Callable[[], None]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.may = MAY[self.role]
        # Whoever may not submit has nothing large to say.
        self.may_submit = Access.GOVERN in self.may

    def end(self, reason: str) -> None:
        """End them now: whatever remembers them finds them over, and open connections are told."""
        self.ends_s, self.ended = 0.0, reason
        for watcher in list(self.watchers):
            watcher()

    def check(self, now_s: float) -> None:
        """Raise -32004 where they are over, naming why."""
        if self.ends_s <= now_s:
            raise over(self.ended or "token_expired")

    def check_access(self, access: Access) -> None:
        """Raise -32004 where they do not suffice: `token_required` for who said nothing of itself."""
        if access in self.may:
            return
        if self.anonymous:
            raise token_required("this needs a token")
        raise RpcError(
            Code.NOT_PERMITTED,
            "role_insufficient",
            "this role may not do that",
            expected=" or ".join(roles_with(access)),
            got=self.role,
            hint="an operator of this node makes tokens of other roles: chainnode token create NAME --role ROLE",
        )


# Whoever is on this machine may read, as an auditor does. Anybody else has to be somebody, or `rpc.public` be set.
ON_LOOPBACK: Final = Rights("on loopback", Role.AUDITOR, anonymous=True)
ANYBODY: Final = Rights("anybody", Role.PUBLIC, anonymous=True)

ENDS: Final[dict[str, str]] = {
    "token_expired": "the token has expired",
    "token_revoked": "the token was revoked",
    "session_over": "the log-in is over",
    "certificate_refused": "the client certificate counts no more",
}


def over(reason: str) -> RpcError:
    """Return the error for rights that have ended."""
    return RpcError(
        Code.NOT_PERMITTED,
        reason,
        ENDS[reason],
        expected="rights that last",
        got="rights that have ended",
        hint="ask the node's operator for new ones",
    )


def token_required(why: str) -> RpcError:
    """Return the error for a call that needs a token and came without one."""
    return RpcError(
        Code.NOT_PERMITTED,
        "token_required",
        why,
        expected="Authorization: Bearer TOKEN",
        got="no token",
        hint="the token is in the file that rpc.token_file names",
    )
