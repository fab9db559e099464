"""Tokens with roles: made once, kept hashed, ended at once, in the file `keys/tokens.json`.

Here: the file, and the rights of its tokens in memory. Not here: what a role may do (`rpc.rights`), how a request
brings its token (`rpc.access`).

A token is 256 random bits, so its plain SHA-256 tells nothing of it and cannot be guessed at: a slow hash helps where a
person chose the secret. Whoever holds the home's lock writes the file: the running node, or the command line while none
runs. So there is one writer, nobody watches the file, and what a command ends has ended when the node answers it.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec

from chainnode.files import PRIVATE_FILE_MODE, read_secret, write_file
from primitives.errors import InputError, UsageError
from rpc.ports import NewToken, TokenRow
from rpc.rights import Rights, Role

TOKENS_MAX: Final = 256
TOKEN_PREFIX: Final = "cn_"  # noqa: S105  what finds tokens in places where none should be, and no secret
TOKEN_RANDOM_BYTES: Final = 32
FILE_BYTES_MAX: Final = 1 << 20


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """A token as the file has it; times in ms since 1970, 0 for never."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created_ms: int
    member: Annotated[str, msgspec.Meta(max_length=64)] = ""
    expires_ms: int = 0
    revoked_ms: int = 0
    used_ms: int = 0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[_Kept]


class TokenBook:
    """The tokens of one home; whoever makes one holds the home's lock. Implements `rpc.ports.TokenControl`."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        """Read the file. Raises `UnsafeFile` where others can read it, `InputError` where it is damaged."""
        self._path = path
        self._now_ms = now_ms
        self._kept = _read(path)
        self._digests = [bytes.fromhex(kept.sha256) for kept in self._kept]
        self._rights = [_rights(kept) for kept in self._kept]

    def find(self, digest: bytes) -> Rights | None:
        """Return the rights of the token with this SHA-256, also those that have ended; None for an unknown one."""
        found: Rights | None = None
        for known, rights in zip(self._digests, self._rights, strict=True):  # all of them, whichever it is
            if hmac.compare_digest(known, digest):
                found = rights
        return found

    def create(self, name: str, role: Role, *, member: str, valid_ms: int | None) -> NewToken:
        """Make a token and write it down; what it is, nobody can read again. Raises `UsageError` for a taken name."""
        if any(kept.name == name for kept in self._kept):
            raise UsageError(
                "the name of a token is taken", got=name, hint="names of ended tokens stay, for the record"
            )
        token = TOKEN_PREFIX + secrets.token_hex(TOKEN_RANDOM_BYTES)
        now = self._now_ms()
        digest = sha256(token.encode()).digest()
        kept = _Kept(name, role, digest.hex(), now, member, 0 if valid_ms is None else now + valid_ms)
        self._make_room(now)
        self._kept.append(kept)
        self._digests.append(digest)
        self._rights.append(_rights(kept))
        self.save()
        return NewToken(token, self._row(len(self._kept) - 1))

    def list(self) -> list[TokenRow]:
        """Return all tokens that are known, the oldest first."""
        return [self._row(place) for place in range(len(self._kept))]

    def revoke(self, name: str) -> TokenRow:
        """End a token for good, at once for all that it has open. Raises `UsageError` where there is none."""
        for place, kept in enumerate(self._kept):
            if kept.name == name:
                if not kept.revoked_ms:
                    kept.revoked_ms = self._now_ms()
                self._rights[place].end("token_revoked")
                self.save()
                return self._row(place)
        raise UsageError("no such token", got=name, hint="`chainnode token list` shows them")

    def save(self) -> None:
        """Write the file, with when each token was last used."""
        if not self._kept and not self._path.exists():
            return
        for kept, rights in zip(self._kept, self._rights, strict=True):
            kept.used_ms = max(kept.used_ms, int(rights.used_s * 1_000))
        write_file(self._path, msgspec.json.format(msgspec.json.encode(_File(self._kept))), mode=PRIVATE_FILE_MODE)

    def _make_room(self, now_ms: int) -> None:
        """Forget the token that ended first where there are as many as may be; `UsageError` where all still count."""
        if len(self._kept) < TOKENS_MAX:
            return
        ended = [(_end_ms(kept), place) for place, kept in enumerate(self._kept) if _end_ms(kept) <= now_ms]
        if not ended:
            raise UsageError("too many tokens", expected=f"at most {TOKENS_MAX}", hint="revoke those that nobody needs")
        _, place = min(ended)
        for rows in (self._kept, self._digests, self._rights):
            del rows[place]

    def _row(self, place: int) -> TokenRow:
        kept, rights = self._kept[place], self._rights[place]
        used_ms = max(kept.used_ms, int(rights.used_s * 1_000))
        now = self._now_ms()
        state = "revoked" if kept.revoked_ms else "expired" if _end_ms(kept) <= now else "valid"
        return TokenRow(kept.name, kept.role, kept.member, state, kept.created_ms, kept.expires_ms, used_ms)


def _read(path: Path) -> list[_Kept]:
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(read_secret(path, size_max=FILE_BYTES_MAX), type=_File).tokens
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            "not a file of tokens", where=str(path), got=str(error), hint="move it away; its tokens then end"
        ) from None


def _end_ms(kept: _Kept) -> float:
    ends = [end for end in (kept.expires_ms, kept.revoked_ms) if end]
    return min(ends) if ends else math.inf


def _rights(kept: _Kept) -> Rights:
    rights = Rights(f"token {kept.name}", kept.role, member=kept.member, client=f"token {kept.name}")
    if kept.revoked_ms:
        rights.end("token_revoked")
    elif kept.expires_ms:
        rights.ends_s = kept.expires_ms / 1_000
    return rights
