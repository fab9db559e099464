"""A member's secret pairing keys as files, and what they agree on with the keys that the chain lists.

Here: making, finding and erasing the files, one a key (`keys/pairing/HEX.secret`, 0600), and asking a node what was
announced. Not here: the derivation (`chainnode.ingest.agreement`), commands (`chainnode.cli.pairing`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from chainnode.client import NodeClient
from chainnode.files import make_private_directory, sync_directory, write_file
from chainnode.identity import BadKeyFile, read_hex_secret
from chainnode.ingest.agreement import Agreements, public_of
from ledger.pairing_keys import PairingKey
from primitives.errors import StorageError, UsageError

SECRET_KEY_BYTES = 32
SUFFIX = ".secret"
FILES_MAX = 4_096


def new_pairing_key(folder: Path) -> bytes:
    """Make a secret key with a file of its own in `folder`, and return its public key."""
    make_private_directory(folder)
    secret = os.urandom(SECRET_KEY_BYTES)
    public = public_of(secret)
    write_file(_path(folder, public), secret.hex().encode() + b"\n", mode=0o600, replace=False)
    return public


def pairing_keys_in(folder: Path) -> dict[bytes, bytes]:
    """Return the secret keys of a folder by public key; none where there is no such folder.

    Raises `BadKeyFile` where a file is not that of the key that it is named after, `UnsafeFile` where others can read
    it.
    """
    if not folder.is_dir():
        return {}
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if len(paths) > FILES_MAX:
        raise UsageError("too many pairing keys", where=str(folder), expected=f"at most {FILES_MAX}", got=len(paths))
    found = {}
    for path in paths:
        secret = read_hex_secret(path)
        if public_of(secret).hex() != path.name.removesuffix(SUFFIX):
            raise BadKeyFile("not the secret part of the key that it is named after", where=str(path))
        found[public_of(secret)] = secret
    return found


def erase_pairing_key(folder: Path, public: bytes) -> Path:
    """Overwrite a secret key's file and remove it; returns where it lay. Raises `UsageError` where there is none."""
    path = _path(folder, public)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageError("no such pairing key here", where=str(folder), got=public.hex()) from None
    try:
        os.pwrite(fd, bytes(os.fstat(fd).st_size), 0)
        os.fsync(fd)
        path.unlink()
        sync_directory(folder)
    except OSError as error:
        raise StorageError("key cannot be erased", where=str(path), got=error.strerror or error) from None
    finally:
        os.close(fd)
    return path


def announced_keys(client: NodeClient) -> dict[str, tuple[PairingKey, ...]]:
    """Return the pairing keys that each member announced, ascending by day, as a node has them."""
    found: dict[str, list[PairingKey]] = {}
    for row in client.pages("payment_pairingKeys", "keys"):
        found.setdefault(row["member"], []).append(PairingKey(bytes.fromhex(row["key"]), row["from_day"]))
    return {member: tuple(sorted(keys, key=lambda each: each.from_day)) for member, keys in found.items()}


def agreements_of(
    chain_id: bytes, member: str, folder: Path, announced: Mapping[str, tuple[PairingKey, ...]]
) -> Agreements:
    """Return what a member agrees on by the secret keys of a folder."""
    return Agreements(chain_id, member, announced, pairing_keys_in(folder))


def _path(folder: Path, public: bytes) -> Path:
    return folder / f"{public.hex()}{SUFFIX}"
