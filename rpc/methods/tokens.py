"""admin_createToken, admin_listTokens, admin_revokeToken: what the node's operator lets others in with.

Not here: what roles may do (`rpc.rights`), where tokens are kept (`chainnode.tokens`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rpc.errors import Code, unavailable
from rpc.methods.heights import tip_of
from rpc.ports import Services, TokenControl, TokenRow
from rpc.registry import waiting_method
from rpc.rights import Access, Role
from rpc.types import AsOf, NoParams, Params, Result, Time, time_text

VALID_S_MAX = 10 * 366 * 24 * 3_600
VALID_S_DEFAULT = 90 * 24 * 3_600
TokenName = Annotated[
    str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,63}\Z", description="The token's name, in small letters.")
]
MemberText = Annotated[
    str, msgspec.Meta(pattern=r"\A[a-z0-9-]{0,32}\Z", description="The member whose it is, for the list.")
]
ValidSeconds = Annotated[
    int, msgspec.Meta(ge=0, le=VALID_S_MAX, description="For how many seconds it is valid; 0: until it is revoked.")
]


class CreateToken(Params, frozen=True):
    """A token's name, its role, for how many seconds it is valid (90 days; 0: until revoked), and whose it is."""

    name: TokenName
    role: Annotated[Role, msgspec.Meta(description="What it may do.")]
    valid_s: ValidSeconds = VALID_S_DEFAULT
    member: MemberText = ""


class RevokeToken(Params, frozen=True):
    """A token's name."""

    name: TokenName


class TokenResult(Result, frozen=True):
    """A token without its secret: `state` is valid, expired or revoked."""

    name: str
    role: str
    member: str
    state: str
    created: Time
    expires: Time | None
    last_used: Time | None


class NewTokenResult(Result, frozen=True):
    """A new token: its secret is told here and never again."""

    token: str
    described: TokenResult
    as_of: AsOf


class RevokedResult(Result, frozen=True):
    """The token that was ended."""

    described: TokenResult
    as_of: AsOf


class TokensResult(Result, frozen=True):
    """All tokens that the node knows, the oldest first; those that ended too, up to 256 in all."""

    tokens: list[TokenResult]
    as_of: AsOf


@waiting_method(
    "admin_createToken",
    params=CreateToken,
    result=NewTokenResult,
    access=Access.OPERATE,
    errors=(Code.UNAVAILABLE,),
)
async def create_token(services: Services, params: CreateToken) -> NewTokenResult:
    """Make a token of a role, and tell its secret once; for operators."""
    valid_ms = params.valid_s * 1_000 or None
    made = _tokens(services).create(params.name, params.role, member=params.member, valid_ms=valid_ms)
    return NewTokenResult(made.token, _result(made.row), int(tip_of(services).height))


@waiting_method(
    "admin_listTokens", params=NoParams, result=TokensResult, access=Access.OPERATE, errors=(Code.UNAVAILABLE,)
)
async def list_tokens(services: Services, params: NoParams) -> TokensResult:
    """The tokens of this node with their roles, ends and last uses, without their secrets; for operators."""
    del params
    return TokensResult([_result(row) for row in _tokens(services).list()], int(tip_of(services).height))


@waiting_method(
    "admin_revokeToken",
    params=RevokeToken,
    result=RevokedResult,
    access=Access.OPERATE,
    errors=(Code.UNAVAILABLE,),
)
async def revoke_token(services: Services, params: RevokeToken) -> RevokedResult:
    """End a token for good: its connections close, and nothing is answered to it any more; for operators."""
    return RevokedResult(_result(_tokens(services).revoke(params.name)), int(tip_of(services).height))


def _result(row: TokenRow) -> TokenResult:
    return TokenResult(
        row.name,
        row.role,
        row.member,
        row.state,
        time_text(row.created_ms),
        time_text(row.expires_ms) if row.expires_ms else None,
        time_text(row.used_ms) if row.used_ms else None,
    )


def _tokens(services: Services) -> TokenControl:
    if services.tokens is None:
        raise unavailable("no_tokens", "this node keeps no tokens", retryable=False)
    return services.tokens


METHODS = (create_token, list_tokens, revoke_token)
