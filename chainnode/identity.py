"""Key files: who a node, a source or an officer is.

Here: the one-line JSON form of Ed25519 keys, making and reading them under the 0600 rule, and the keys of one node
together. Not here: TLS certificates (`p2p.certificates`), what a key may do (the chain's state).

    {"type":"ed25519","use":"vote","public":"<64 hex>","seed":"<64 hex>"}       and for sources and officers also
    "member" and "role", so that whoever is given the file knows for whom it signs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from chainnode.files import PRIVATE_FILE_MODE, NotFound, check_private, read_secret, write_file
from chainnode.home import Home
from primitives.errors import InputError
from primitives.ids import MemberId, SourceKey
from primitives.keys import SigningKey

REPLACE_KEY = "a key that does not read back cannot be mended: put another in its place and have it registered"
WRITE_ANOTHER = (
    "write a new secret there (`openssl rand -hex 32`, mode 0600), or name another file (rpc.token_file, --token-file)"
)
KEY_FILE_BYTES_MAX = 4_096
TOKEN_BYTES = 32
PAIR_SECRET_BYTES = 32

Use = Literal["vote", "cosign", "log", "source", "officer", "witness"]
Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BadKeyFile(InputError):
    """A key file is not what it must be; the message never quotes its content."""

    reason = "bad_key_file"


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One Ed25519 key as its file holds it; the representation leaves the seed out."""

    type: Literal["ed25519"]
    use: Use
    public: Hex32
    seed: Hex32
    member: Annotated[str, msgspec.Meta(max_length=64)] = ""
    role: Annotated[str, msgspec.Meta(max_length=64)] = ""

    def __repr__(self) -> str:
        return f"KeyFile(use={self.use!r}, member={self.member!r}, role={self.role!r}, public={self.public!r})"

    @property
    def signing_key(self) -> SigningKey:
        """The key itself."""
        return SigningKey(bytes.fromhex(self.seed))

    @property
    def source(self) -> SourceKey:
        """The public key, 32 bytes."""
        return SourceKey(bytes.fromhex(self.public))


class NodeKeys(msgspec.Struct, frozen=True):
    """The keys that a node signs with; an observer has no `vote` and `cosign`."""

    vote: SigningKey | None
    cosign: SigningKey | None
    log: SigningKey
    source: SigningKey | None

    def registrable(self) -> dict[str, bytes | None]:
        """Return the public keys that the chain knows of a validator, by their use."""
        found = {"vote": self.vote, "cosign": self.cosign, "log": self.log}
        return {use: None if key is None else key.public for use, key in found.items()}


def new_key(use: Use, *, member: MemberId | str = "", role: str = "", seed: bytes | None = None) -> KeyFile:
    """Return a new key from the system's randomness, or from 32 bytes given."""
    seed = os.urandom(32) if seed is None else seed
    public = SigningKey.generate(seed).public
    return KeyFile("ed25519", use, public.hex(), seed.hex(), str(member), role)


def write_key(path: Path, key: KeyFile) -> None:
    """Write a key file, 0600; one that exists is never overwritten (`UsageError`)."""
    write_file(path, msgspec.json.encode(key) + b"\n", mode=PRIVATE_FILE_MODE, replace=False)


def read_key(path: Path, *uses: Use) -> KeyFile:
    """Return a key file's content; with `uses`, only a key for one of them.

    Raises `NotFound`, `UnsafeFile` (others can read it) or `BadKeyFile`.
    """
    data = read_secret(path, size_max=KEY_FILE_BYTES_MAX)
    try:
        key = msgspec.json.decode(data, type=KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names the place and the types, never the value.
        raise BadKeyFile("not a key file", where=str(path), got=str(error), hint=REPLACE_KEY) from None
    if SigningKey(bytes.fromhex(key.seed)).public.hex() != key.public:
        raise BadKeyFile("the key's public part does not belong to its secret part", where=str(path), hint=REPLACE_KEY)
    if uses and key.use not in uses:
        raise BadKeyFile("a key for another use", where=str(path), expected=" or ".join(uses), got=key.use)
    return key


def load_node_keys(home: Home) -> NodeKeys:
    """Return the keys of a home; `vote` and `cosign` go together, `source` is there where the node is a gateway."""
    check_private(home.keys)
    vote = _optional(home.vote_key, "vote")
    cosign = _optional(home.cosign_key, "cosign")
    if (vote is None) != (cosign is None):
        missing = home.vote_key if vote is None else home.cosign_key
        raise BadKeyFile("a validator needs vote.key and cosign.key", where=str(missing), got="no such file")
    return NodeKeys(vote, cosign, read_key(home.log_key, "log").signing_key, _optional(home.source_key, "source"))


def _optional(path: Path, use: Use) -> SigningKey | None:
    return read_key(path, use).signing_key if path.exists() else None


def write_token(path: Path) -> None:
    """Write a new random token (hex, one line, 0600) that submitting in the member's name needs."""
    write_file(path, os.urandom(TOKEN_BYTES).hex().encode() + b"\n", mode=PRIVATE_FILE_MODE, replace=False)


def read_token(path: Path) -> str:
    """Return a token. Raises `NotFound`, `UnsafeFile`, or `BadKeyFile` where it is empty or not printable ASCII."""
    if not path.exists():
        raise NotFound("no such file", where=str(path), hint=WRITE_ANOTHER)
    token = read_secret(path, size_max=KEY_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    if not token or not all(0x21 <= ord(character) <= 0x7E for character in token):
        raise BadKeyFile("not a token", where=str(path), expected="one line of printable ASCII without spaces")
    return token


def write_pairs(path: Path, secrets: dict[str, bytes]) -> None:
    """Write the secrets shared with other members, 0600, replacing those of before."""
    write_file(
        path, msgspec.json.encode({name: value.hex() for name, value in sorted(secrets.items())}) + b"\n", mode=0o600
    )


def read_pairs(path: Path) -> dict[str, bytes]:
    """Return the secret shared with each other member; none where there is no such file."""
    if not path.exists():
        return {}
    data = read_secret(path, size_max=1 << 20)
    try:
        pairs = msgspec.json.decode(data, type=dict[str, Hex32])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadKeyFile("not a file of pair secrets", where=str(path), got=str(error)) from None
    return {name: bytes.fromhex(value) for name, value in pairs.items()}


def read_hex_secret(path: Path) -> bytes:
    """Return the 32 bytes of a file that holds them in hex. Raises `UnsafeFile`, `BadKeyFile`."""
    text = read_secret(path, size_max=KEY_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != PAIR_SECRET_BYTES:
        raise BadKeyFile("not a secret", where=str(path), expected=f"{PAIR_SECRET_BYTES} bytes in hex")
    return secret


class KeySigner:
    """The voting and cosigning keys of a validator; an observer's signs nothing."""

    def __init__(self, keys: NodeKeys) -> None:
        self._vote, self._cosign = keys.vote, keys.cosign

    @property
    def vote_key(self) -> bytes:
        """The voting key's public part; empty for an observer."""
        return b"" if self._vote is None else self._vote.public

    def sign_vote(self, statement: bytes) -> bytes:
        """Return the voting key's signature."""
        return _required(self._vote).sign(statement)

    def cosign(self, statement: bytes) -> bytes:
        """Return the cosigning key's signature."""
        return _required(self._cosign).sign(statement)


def _required(key: SigningKey | None) -> SigningKey:
    assert key is not None, "only a validator signs"
    return key
