"""Making a node's home, and a chain out of what its members bring: `init`, `genesis create`, localnet.

Here: keys, certificates and settings of a new home, a member's entry for genesis, the genesis of several entries, and
joining a home to a chain. Not here: rules of a genesis (`ledger.genesis`), processes (`localnet`).

A home is made in two steps, because genesis needs every validator's public keys, and a node's TLS certificate needs the
chain's id, which is the hash of genesis: `found_home`, then `join_chain`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509

from chainnode.config import CONFIG_SIZE_BYTES_MAX, render_toml, split_address
from chainnode.files import PRIVATE_FILE_MODE, read_file, read_secret, write_file
from chainnode.home import Home
from chainnode.identity import Use, new_key, read_key, write_key, write_token
from chainnode.source_outbox import SourceOutbox
from chainnode.wal import WriteAheadLog
from ledger.accreditations import USUAL_STANDARD, AccreditedRole
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.certificate_records import add_months
from ledger.genesis import GENESIS_SIZE_MAX, Genesis, GenesisError
from ledger.genesis_json import genesis_from_json, genesis_to_json
from ledger.rules import RULES_NEWEST, RULES_SCHEME
from p2p.certificates import (
    PrivateKey,
    certificate_pem,
    issue_client_certificate,
    issue_node_certificate,
    load_private_key,
    make_member_ca,
    names_of,
    node_uri,
    private_key_pem,
)
from p2p.config import TlsFiles
from primitives.errors import InputError, UsageError
from primitives.ids import TimeMs

ENTRY_BYTES_MAX = 256 * 1024
PEM_BYTES_MAX = 64 * 1024
REPORTER_SECRET_BYTES = 32
FIRST_ACCREDITATION_MONTHS = 36
_TEMPLATES = (Path(__file__).parent / "node.toml", Path(__file__).parents[1] / "configs" / "node.toml")

Json = dict[str, Any]  # Any: JSON values


def found_home(
    home: Home,
    *,
    name: str,
    member: str,
    settings: Mapping[str, Any],
    now_ms: TimeMs | int,
    validator: bool = True,
    own_ca: bool = True,
) -> None:
    """Make a home with new keys, the member's CA, a token and settings. Raises `HomeExists`, `StorageError`.

    Without `own_ca` its TLS certificate has to come from where the member's CA is.
    """
    home.create()
    uses: tuple[Use, ...] = ("vote", "cosign", "log", "source") if validator else ("log", "source")
    for use in uses:
        write_key(home.keys / f"{use}.key", new_key(use, member=member, role="gateway" if use == "source" else ""))
    if own_ca:
        ca_key, ca_certificate = make_member_ca(member, int(now_ms))
        write_file(home.ca_key, private_key_pem(ca_key), mode=PRIVATE_FILE_MODE)
        write_file(home.ca_certificate, certificate_pem(ca_certificate).encode(), mode=PRIVATE_FILE_MODE)
    write_token(home.token)
    write_reporter_secret(home.reporter)
    write_file(home.config, settings_text({"node.name": name, "node.member": member, **settings}).encode())


def settings_text(values: Mapping[str, Any]) -> str:
    """Return the commented settings file with these values set in it."""
    template = next((path.read_text() for path in _TEMPLATES if path.is_file()), None)
    return render_toml(values) if template is None else _with_settings(template, values)


def write_settings(home: Home, values: Mapping[str, Any]) -> None:
    """Set values in a home's file of settings as `init` made it, and leave all else there as it is."""
    text = read_file(home.config, size_max=CONFIG_SIZE_BYTES_MAX).decode()
    write_file(home.config, _with_settings(text, values).encode())


def _with_settings(text: str, values: Mapping[str, Any]) -> str:
    """Return a settings file with values set in it, each where the file has it, commented out or not."""
    lines = text.splitlines()
    for key, value in values.items():
        section, _, name = key.partition(".")
        start = lines.index(f"[{section}]")
        place = next(i for i in range(start, len(lines)) if re.match(rf"#? ?{re.escape(name)} = ", lines[i]))
        lines[place] = render_toml({key: value}).splitlines()[-1]
    return "\n".join(lines) + "\n"


def member_entry(
    home: Home,
    *,
    name: str,
    member: str,
    title: str,
    roles: Sequence[str],
    address: str,
    agents: Sequence[str] = (),
    sources: Sequence[Json] = (),
    officers: Sequence[Json] = (),
) -> Json:
    """Return what a founding member brings to genesis, with the validator of this home: public parts only."""
    own = {"key": read_key(home.source_key, "source").public, "roles": list(roles)}
    entry = plain_member(
        member,
        title,
        roles,
        agents=agents,
        sources=[own, *sources],
        officers=officers,
        ca_certificate=read_file(home.ca_certificate, size_max=PEM_BYTES_MAX).decode(),
    )
    keys = {f"{use}_key": read_key(home.keys / f"{use}.key", use).public for use in ("vote", "cosign", "log")}
    return {"member": entry, "validator": {"name": name, "member": member, **keys, "address": address}}


def plain_member(
    member: str,
    title: str,
    roles: Sequence[str],
    *,
    agents: Sequence[str] = (),
    sources: Sequence[Json] = (),
    officers: Sequence[Json] = (),
    ca_certificate: str = "",
) -> Json:
    """Return a member of genesis; without a CA it runs no node."""
    return {
        "id": member,
        "name": title,
        "roles": list(roles),
        "ca_certificate": ca_certificate,
        "agents": list(agents),
        "sources": list(sources),
        "officers": list(officers),
    }


def read_entry(path: Path) -> Json:
    """Return a member's entry from its file. Raises `InputError` where it is not one."""
    data = read_file(path, size_max=ENTRY_BYTES_MAX)
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        entry = None
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("member"), dict)
        or entry.keys() - {"member", "validator", "accreditations"}
    ):
        raise InputError(
            "not a member's entry",
            where=str(path),
            expected="JSON with member and validator, as `chainnode init` writes it",
        )
    return entry


class OtherGenesis(GenesisError):
    """A genesis is not the one whose hash was told by another way."""

    reason = "other_genesis"


def assemble_genesis(
    chain: str, entries: Sequence[Json], *, now_ms: TimeMs | int, policy: Mapping[str, int], rules: int = RULES_NEWEST
) -> Genesis:
    """Return the genesis of these entries, in their order, judged by all its rules (`GenesisError`).

    `rules` is the version that its chain begins with. By the third and later, whose evidence counts from the first
    block on is `founding_accreditations`.
    """
    founding = {
        "chain": chain,
        "time_ms": int(now_ms),
        "members": [entry["member"] for entry in entries],
        "validators": [entry["validator"] for entry in entries if entry.get("validator")],
        "policy": dict(policy),
        "rules": rules,
    }
    if rules >= RULES_SCHEME:
        founding["accreditations"] = founding_accreditations(entries, now_ms=int(now_ms))
    return genesis_from_json(json.dumps(founding).encode())


def founding_accreditations(entries: Sequence[Json], *, now_ms: int) -> list[Json]:
    """Return the accreditations that entries name as theirs.

    Laboratories and inspectors whose entry names none have one for all categories of the catalogue, for three years:
    founders who want less say so in the entry, and sign off what genesis then has.
    """
    found = []
    for entry in entries:
        member, named = entry["member"], entry.get("accreditations")
        if named is None:
            roles = member.get("roles")
            held = roles if isinstance(roles, list) else []  # what is none of this is judged with all of genesis
            named = [_first_accreditation(role, now_ms) for role in AccreditedRole if role in held]
        if not isinstance(named, list) or not all(isinstance(item, dict) for item in named):
            raise InputError(
                "not a member's accreditations",
                where=f"accreditations of {member.get('id')}",
                expected="a list of objects with role, categories, valid_from_ms, valid_until_ms and standard",
            )
        found += [{**item, "member": member.get("id")} for item in named]
    return found


def _first_accreditation(role: AccreditedRole, now_ms: int) -> Json:
    return {
        "role": role.value,
        "categories": [category.number for category in PUBLISHED_CATALOGUES[-1].categories],
        "valid_from_ms": now_ms,
        "valid_until_ms": add_months(now_ms, FIRST_ACCREDITATION_MONTHS),
        "standard": USUAL_STANDARD[role],
    }


def read_genesis(path: Path) -> Genesis:
    """Return a genesis file's content. Raises `NotFound` or `GenesisError`, naming the file."""
    try:
        return genesis_from_json(read_file(path, size_max=GENESIS_SIZE_MAX))
    except GenesisError as error:
        place = "" if error.where in (None, "genesis") else f" {error.where}"
        raise GenesisError(
            f"{error.what}{place}",
            where=str(path),
            expected=error.expected,
            got=error.got,
            hint=error.hint or "get the file from another member: its hash is the chain's id",
        ) from None


def check_genesis_hash(genesis: Genesis, pinned: str, *, where: str) -> None:
    """Raise `OtherGenesis` where a genesis has another hash, in hex, than the one that was told by another way."""
    found = genesis.chain_id.hex()
    if found != pinned:
        raise OtherGenesis(
            "genesis of another chain",
            where=where,
            expected=f"hash {pinned}",
            got=found,
            hint="get the file from another member, and the hash from somebody whom you trust",
        )


def join_chain(
    home: Home,
    genesis: Genesis,
    *,
    name: str,
    member: str,
    hosts: Sequence[str],
    now_ms: int,
    joins_later: bool = False,
    tls: Path | None = None,
) -> None:
    """Give a home its genesis, the TLS certificate of this chain, and an empty write-ahead log where it votes.

    With `joins_later` genesis need not know its keys: the members make it a validator by their votes. `tls` is a
    directory with the certificate and key that were issued where the member's CA is. Raises `UsageError` where the home
    belongs to a chain already, genesis has other keys for this node, or the certificate is another node's.
    """
    if home.genesis.exists():
        raise UsageError("this home belongs to a chain already", where=str(home.genesis))
    if not joins_later:
        _check_own_keys(home, genesis, name)
    place = TlsFiles(home.tls_key, home.tls_certificate)
    if tls is not None:
        take_tls(place, tls, node_uri(genesis.chain_id, member, name))
    else:
        issue_tls(home, place, name=name, member=member, chain_id=genesis.chain_id, hosts=hosts, now_ms=now_ms)
    if home.vote_key.exists():
        # Made now, so that a missing log later means that votes were lost.
        WriteAheadLog(home.wal, genesis.chain_id).close()
    if home.source_key.exists():
        # Likewise: a missing outbox later means that nobody knows which numbers this key has signed.
        source = read_key(home.source_key, "source").signing_key
        SourceOutbox(home.outbox, chain_id=genesis.chain_id, member=member, key=source).close()
    write_file(home.genesis, genesis_to_json(genesis))


def issue_tls(
    home: Home, place: TlsFiles, *, name: str, member: str, chain_id: bytes, hosts: Sequence[str], now_ms: int
) -> int:
    """Write a new TLS key and certificate by the CA of a home; return when it ends, in milliseconds.

    Raises `UsageError` where the home has no key of a CA.
    """
    ca_key, ca_certificate = _own_ca(home)
    key, certificate = issue_node_certificate(
        ca_key, ca_certificate, node_name=name, member=member, chain_id=chain_id, hosts=list(hosts), now_ms=now_ms
    )
    return _write_issued(place, key, certificate)


def issue_client(
    home: Home, place: TlsFiles, *, name: str, member: str, role: str, chain_id: bytes, now_ms: int, days: int
) -> int:
    """Write a key and certificate for a client of RPC by the CA of a home; as `issue_tls`."""
    ca_key, ca_certificate = _own_ca(home)
    key, certificate = issue_client_certificate(
        ca_key, ca_certificate, name=name, member=member, role=role, chain_id=chain_id, now_ms=now_ms, days=days
    )
    return _write_issued(place, key, certificate)


def _own_ca(home: Home) -> tuple[PrivateKey, x509.Certificate]:
    if not home.ca_key.exists():
        raise UsageError(
            "no key of the member's CA", where=str(home.ca_key), hint="run this where it is, or put it here for this"
        )
    ca_key = load_private_key(read_secret(home.ca_key, size_max=PEM_BYTES_MAX))
    return ca_key, x509.load_pem_x509_certificate(read_file(home.ca_certificate, size_max=PEM_BYTES_MAX))


def _write_issued(place: TlsFiles, key: PrivateKey, certificate: x509.Certificate) -> int:
    write_file(place.key, private_key_pem(key), mode=PRIVATE_FILE_MODE)
    write_file(place.certificate, certificate_pem(certificate).encode(), mode=PRIVATE_FILE_MODE)
    return int(certificate.not_valid_after_utc.timestamp() * 1_000)


def take_tls(place: TlsFiles, directory: Path, uri: str) -> None:
    """Copy a TLS key and certificate out of a directory; `UsageError` unless it is for the node of this URI."""
    given = TlsFiles(directory / place.key.name, directory / place.certificate.name)
    pem, key = read_file(given.certificate, size_max=PEM_BYTES_MAX), read_secret(given.key, size_max=PEM_BYTES_MAX)
    found = names_of(pem)
    if uri not in found:
        raise UsageError(
            "TLS certificate of another node or chain",
            where=str(given.certificate),
            expected=uri,
            got=", ".join(found) or "no name",
            hint="have it issued by `chainnode keys issue-tls` in the home that holds the member's CA",
        )
    write_file(place.key, key, mode=PRIVATE_FILE_MODE)
    write_file(place.certificate, pem, mode=PRIVATE_FILE_MODE)


def _check_own_keys(home: Home, genesis: Genesis, name: str) -> None:
    """Refuse a genesis in which this validator has keys that this home does not hold."""
    mine = next((validator for validator in genesis.validators if validator.name == name), None)
    if mine is None:
        if home.vote_key.exists():
            raise UsageError(
                "genesis does not name this validator",
                got=name,
                hint="make the home with --observer, or join with --joins",
            )
        return
    for use in ("vote", "cosign", "log"):
        expected = getattr(mine, f"{use}_key").hex()
        path = home.keys / f"{use}.key"
        if read_key(path).public != expected:
            raise UsageError("genesis has another key for this node", where=str(path), expected=expected)


def write_reporter_secret(path: Path) -> None:
    """Write the secret that a bank holds alone, from which the salts of its statements are derived (hex, 0600)."""
    write_file(path, os.urandom(REPORTER_SECRET_BYTES).hex().encode() + b"\n", mode=PRIVATE_FILE_MODE, replace=False)


def host_of(address: str) -> str:
    """Return the host of `host:port`."""
    return split_address(address)[0]
