"""New TLS certificates and a new root CA for a home, also while its node runs.

Here: files. A new CA lies beside the present one until the chain knows it, and the first certificate that is renewed
after that is its. Not here: keys of validators and sources (`chainnode.joining`), votes (`chainnode.cli`), how a node
takes over a certificate that was put in place (`chainnode.node`). Source: docs/membership.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from chainnode.files import PRIVATE_FILE_MODE, read_file, write_file
from chainnode.founding import PEM_BYTES_MAX, issue_tls, read_genesis
from chainnode.home import Home
from chainnode.joining import ca_entry_path, retired_directory
from p2p.certificates import certificate_pem, make_member_ca, private_key_pem
from p2p.config import TlsFiles
from primitives.errors import UsageError


def next_ca(home: Home) -> tuple[Path, Path]:
    """Return where a home keeps the certificate and key of a CA that the chain does not know yet."""
    return home.keys / "ca-next.crt", home.keys / "ca-next.key"


def rotate_ca(home: Home, member: str, now_ms: int) -> Path:
    """Make another root CA for a home's member beside the present one; return its entry, for `member propose ca`.

    Raises `UsageError` where one waits already.
    """
    certificate_path, key_path = next_ca(home)
    if certificate_path.exists():
        raise UsageError(
            "another root CA waits already",
            where=str(certificate_path),
            hint="have it approved, then `chainnode keys renew-tls`; or move it and its key away",
        )
    key, certificate = make_member_ca(member, now_ms)
    write_file(key_path, private_key_pem(key), mode=PRIVATE_FILE_MODE)
    write_file(certificate_path, certificate_pem(certificate).encode(), mode=PRIVATE_FILE_MODE)
    return write_ca_entry(home, member, certificate_path)


def write_ca_entry(home: Home, member: str, certificate: Path) -> Path:
    """Write config/ca.json, which is public, of a CA's certificate; return its path."""
    pem = read_file(certificate, size_max=PEM_BYTES_MAX).decode()
    path = ca_entry_path(home)
    write_file(path, json.dumps({"member": member, "ca_certificate": pem}, indent=2).encode() + b"\n")
    return path


def waits_for_ca(home: Home) -> bool:
    """Say whether a home has a root CA that it made to take the present one's place."""
    return next_ca(home)[0].exists()


def promote_ca(home: Home, known: str) -> bool:
    """Put the next CA in the place of the present one if it is the CA that the chain knows; say whether it is.

    The CA before goes to the home's retired keys: certificates of it end with it.
    """
    certificate_path, key_path = next_ca(home)
    if read_file(certificate_path, size_max=PEM_BYTES_MAX).decode() != known:
        return False
    retired = retired_directory(home)
    for path, following in ((home.ca_certificate, certificate_path), (home.ca_key, key_path)):
        if path.exists():
            path.rename(retired / path.name)
        following.rename(path)
    return True


def renew_tls(home: Home, *, name: str, member: str, hosts: Sequence[str], now_ms: int) -> int:
    """Issue a new TLS key and certificate to a home's node by its member's CA; return when it ends, in milliseconds.

    Raises `UsageError` where the home has no key of a CA.
    """
    place = TlsFiles(home.tls_key, home.tls_certificate)
    chain_id = read_genesis(home.genesis).chain_id
    return issue_tls(home, place, name=name, member=member, chain_id=chain_id, hosts=hosts, now_ms=now_ms)
