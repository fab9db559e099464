"""What a node brings to become a validator of a running chain, and new keys for one that lost its disk.

Here: the file `config/validator.json` with the proofs that a home holds its keys, taking over a member's CA, putting
used keys away, and asking a node how safe a change would be at this moment. Not here: rules
(`ledger.governance_rules`), printing (`chainnode.cli`), making a home (`chainnode.founding`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainnode.client import NodeClient
from chainnode.files import PRIVATE_FILE_MODE, make_private_directory, read_file, read_secret, write_file
from chainnode.founding import ENTRY_BYTES_MAX, PEM_BYTES_MAX, read_genesis
from chainnode.home import Home
from chainnode.identity import new_key, read_key, write_key
from chainnode.source_outbox import SourceOutbox
from chainnode.wal import WriteAheadLog
from consensus.messages import WINDOW
from ledger.genesis import check_ca
from ledger.governance_bodies import key_statement, source_statement
from ledger.log_keys import LOG_USE
from ledger.nodes import USES
from p2p.tls import usable_cas
from primitives.errors import ChainError, InputError, UsageError
from primitives.ids import Hash

Json = dict[str, Any]  # Any: JSON values

ENTRY_KEYS = ("name", "member", "address", "keys")
OUTLOOK_WITHIN_S = 4.0
"""Several times the interval at which peers say where they stand."""
POLL_S = 0.1
CA_ENTRY_KEYS = ("member", "ca_certificate")
CATALOGUE_KEYS = ("version", "effective_from", "source", "categories")
SOURCE_ENTRY_KEYS = ("member", "key", "roles", "proof")
LOG_KEY_ENTRY_KEYS = ("name", "member", "key", "proof")


class UnsafeChange(ChainError):
    """The chain would stand still with the nodes as they are now, so nothing was sent."""

    reason = "unsafe_change"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a change would leave: the next set's size and quorum, and which of it are up and where the chain is."""

    n: int
    quorum: int
    live: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def safe(self) -> bool:
        """Whether order would go on at once."""
        return len(self.live) >= self.quorum

    def sentence(self) -> str:
        """Return the outlook for a person."""
        missing = f"; not up or behind: {', '.join(self.silent)}" if self.silent else ""
        return f"{len(self.live)} of the next {self.n} validators are up, {self.quorum} decide{missing}"


def entry_path(home: Home) -> Path:
    """Return where a home keeps what it brings to become a validator."""
    return home.config.parent / "validator.json"


def validator_entry(home: Home, *, name: str, member: str, address: str) -> Json:
    """Return what a home brings: names, address, public keys, and each key's proof for this very chain."""
    chain_id = read_genesis(home.genesis).chain_id
    keys: Json = {}
    for use in USES:
        key = read_key(home.keys / f"{use}.key", use)  # type: ignore[arg-type]  # USES are uses of keys
        proof = key.signing_key.sign(key_statement(chain_id, use, name, member, key.source))
        keys |= {f"{use}_key": key.public, f"{use}_proof": proof.hex()}
    return {"name": name, "member": member, "address": address, "keys": keys}


def read_validator_entry(path: Path) -> Json:
    """Return the content of such a file. Raises `InputError` where it is none."""
    return _read_entry(path, ENTRY_KEYS, "a validator's entry", "chainnode validator entry")


def _read_entry(path: Path, keys: Iterable[str], what: str, writer: str) -> Json:
    try:
        entry = json.loads(read_file(path, size_max=ENTRY_BYTES_MAX))
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or set(entry) != set(keys):
        raise InputError(f"not {what}", where=str(path), expected=f"JSON as `{writer}` writes it")
    return entry


def source_entry_path(home: Home) -> Path:
    """Return where a home keeps what it brings to have its new source added."""
    return home.config.parent / "source.json"


def source_entry(home: Home, *, member: str, roles: Iterable[str]) -> Json:
    """Return what a home brings to have its source's key added: with its proof for this very chain."""
    key = read_key(home.source_key, "source")
    proof = key.signing_key.sign(source_statement(read_genesis(home.genesis).chain_id, member, key.source))
    return {"member": member, "key": key.public, "roles": list(roles), "proof": proof.hex()}


def read_source_entry(path: Path) -> Json:
    """Return the content of such a file. Raises `InputError` where it is none."""
    return _read_entry(path, SOURCE_ENTRY_KEYS, "a source's entry", "chainnode keys rotate")


def ca_entry_path(home: Home) -> Path:
    """Return where a home keeps what it brings to have its member's new root CA admitted."""
    return home.config.parent / "ca.json"


def read_ca_entry(path: Path) -> Json:
    """Return the content of such a file. Raises `InputError` where it is none."""
    return _read_entry(path, CA_ENTRY_KEYS, "a root CA's entry", "chainnode keys rotate-ca")


def read_catalogue_entry(path: Path) -> Json:
    """Return the content of a file with a version of the catalogue. Raises `InputError` where it is none."""
    return _read_entry(path, CATALOGUE_KEYS, "a version of the catalogue", "chainnode member catalogue --edit")


def log_key_entry_path(home: Home) -> Path:
    """Return where a home keeps what it brings to have its log key declared."""
    return home.config.parent / "log-key.json"


def log_key_entry(home: Home, *, name: str, member: str) -> Json:
    """Return what a home brings to have its log key declared: with its proof for this very chain."""
    key = read_key(home.log_key, "log")
    chain_id = read_genesis(home.genesis).chain_id
    proof = key.signing_key.sign(key_statement(chain_id, LOG_USE, name, member, key.source))
    return {"name": name, "member": member, "key": key.public, "proof": proof.hex()}


def read_log_key_entry(path: Path) -> Json:
    """Return the content of such a file. Raises `InputError` where it is none."""
    return _read_entry(path, LOG_KEY_ENTRY_KEYS, "a log key's entry", "chainnode keys log-entry")


def rotate_source(home: Home, member: str) -> Path:
    """Give a stopped node's home a new source key and an empty outbox; return where the used ones were put.

    What the old outbox holds and the chain does not have is never ordered once the old key is removed. Raises
    `HomeInUse` while the node runs.
    """
    home.make_data()
    with home.lock():
        chain_id = read_genesis(home.genesis).chain_id
        retired = retired_directory(home)
        for path in (home.source_key, home.outbox):
            if path.exists():
                path.rename(retired / path.name)
        key = new_key("source", member=member, role="gateway")
        write_key(home.source_key, key)
        SourceOutbox(home.outbox, chain_id=chain_id, member=member, key=key.signing_key).close()
    return retired


def retired_directory(home: Home) -> Path:
    """Make a directory in a home for keys that are used no more, and return it."""
    number = 1
    while (retired := home.keys / f"retired-{number}").exists():
        number += 1
    make_private_directory(retired)
    return retired


def take_ca(home: Home, ca_certificate: Path, ca_key: Path) -> None:
    """Put the member's own CA, which the chain knows, in the place of the one that a new home was made with."""
    write_file(home.ca_certificate, read_file(ca_certificate, size_max=PEM_BYTES_MAX), mode=PRIVATE_FILE_MODE)
    write_file(home.ca_key, read_secret(ca_key, size_max=PEM_BYTES_MAX), mode=PRIVATE_FILE_MODE)


def renew_keys(home: Home, member: str) -> Path:
    """Give a stopped node's home new keys and an empty write-ahead log; return where the used ones were put.

    What the old keys signed does not bind the new ones, and nobody takes the old ones' word once the chain knows the
    new. Raises `HomeInUse` while the node runs.
    """
    home.make_data()
    with home.lock():
        chain_id = read_genesis(home.genesis).chain_id
        retired = retired_directory(home)
        for use in USES:
            path = home.keys / f"{use}.key"
            if path.exists():
                path.rename(retired / path.name)
            write_key(path, new_key(use, member=member))  # type: ignore[arg-type]  # USES are uses of keys
        for path in (home.wal, home.learner_wal):
            if path.exists():
                path.rename(retired / path.name)
        WriteAheadLog(home.wal, Hash(chain_id)).close()
    return retired


def outlook(
    client: NodeClient, check: Mapping[str, Any], waits_for: Iterable[str] = (), *, within_s: float = 0.0
) -> Outlook | None:
    """Return who of the next set is up now, as the asked node sees it; None for a change that leaves the set alone.

    `check` is the answer of `gov_checkAction`; nodes of `waits_for` count as up: the change waits for their word. Peers
    say now and then where they stand, and a busy chain is far ahead by then: they have `within_s` seconds to be known
    to be where the chain was at the time of the question.
    """
    following = check["following"]
    if following is None:
        return None
    end = time.monotonic() + within_s
    status = client.call("net_status")
    while True:
        found = _outlook(client, status, following, frozenset(waits_for))
        if found.safe or time.monotonic() >= end:
            return found
        time.sleep(POLL_S)


def _outlook(
    client: NodeClient, status: Mapping[str, Any], following: Mapping[str, Any], waits_for: frozenset[str]
) -> Outlook:
    enough = int(status["height"]) - WINDOW
    up = {peer["name"] for peer in client.call("net_peers")["peers"] if _is_up(peer, enough)} | waits_for
    if status["role"] == "validator" and not status["catching_up"]:
        up.add(status["node"])
    names = following["validators"]
    return Outlook(
        int(following["n"]),
        int(following["quorum"]),
        tuple(name for name in names if name in up),
        tuple(name for name in names if name not in up),
    )


def _is_up(peer: Mapping[str, Any], enough: int) -> bool:
    if peer["votes"] is False:
        return False  # a learner that bears a validator's name; who has not told anything yet counts
    return bool(peer["connected"]) and peer["height"] is not None and int(peer["height"]) >= enough


def check_outlook(found: Outlook | None) -> None:
    """Raise `UnsafeChange` where fewer than the next quorum are up."""
    if found is not None and not found.safe:
        raise UnsafeChange(
            "the change would leave no quorum that is up",
            expected=f"{found.quorum} of {found.n} validators",
            got=found.sentence(),
            hint="bring them up first, or send it all the same with --force",
        )


def check_rules(check: Mapping[str, Any], hint: str | None = None) -> None:
    """Raise `UsageError` where the chain would refuse the action."""
    broken = check["broken"]
    if broken is not None:
        raise UsageError(
            f"the chain would refuse this: {broken['meaning'].rstrip('.')} (rule {broken['rule']})",
            got=broken["detail"] or None,
            hint=hint,
        )


def check_ca_of(client: NodeClient, action: Mapping[str, Any]) -> None:
    """Raise `InputError` where an action brings a root CA that nodes could not use.

    The chain judges the CA's form alone, so whoever proposes or approves has to ask here.
    """
    if action["type"] == "replace_ca":
        entry = {"id": action["member"], "ca_certificate": action["ca_certificate"]}
    elif action["type"] == "add_member" and action["member"].get("ca_certificate"):
        entry = action["member"]
    else:
        return
    check_ca(f"member {entry['id']}", entry["ca_certificate"])
    present = {row["id"]: row["ca_certificate"] for row in client.members() if not row["excluded"]}
    present = {member: pem for member, pem in present.items() if pem and member != entry["id"]}
    if entry["id"] not in usable_cas({**present, entry["id"]: entry["ca_certificate"]}):
        raise InputError(
            "root CA not usable", where=f"member {entry['id']}", expected="a subject that no other member's CA has"
        )


def check_release(client: NodeClient, action: Mapping[str, Any]) -> None:
    """Raise `UnsafeChange` where an action sets rules that the asked node's release does not know: it would stop.

    Every member asks its own node before it proposes or votes for, so rules pass only where enough nodes know them.
    """
    if action["type"] != "activate_rules":
        return
    known = client.call("ledger_getCapabilities")["rules"]
    if action["version"] not in known:
        raise UnsafeChange(
            "this node's release does not know these rules and would stop at their height",
            expected=f"rules version {' or '.join(map(str, known))}",
            got=action["version"],
            hint="install a release that knows them on this node first",
        )
