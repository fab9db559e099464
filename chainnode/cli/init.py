"""`chainnode init`: make a node's home, and join a home to its chain, by peers that are asked where some are named."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.output import say, show
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.home import Home
    from ledger.genesis import Genesis

AGAIN = "mend it and run this again: nothing was made"
LEFT_OUT = "; left out of the settings: give it as NAME@HOST:PORT"
LATER = "the home has joined its chain: name peers in p2p.peers of its settings, and start it"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.command()
@click.option("--name", help="The node's name, such as bank-a.")
@click.option("--member", help="The member whose node it is. [default: the name]")
@click.option("--title", help="The member's full name, for its entry. [default: the member]")
@click.option("--role", "roles", multiple=True, help="A role of the member, repeatable. [default: bank]")
@click.option("--agent", "agents", multiple=True, help="A BIC, LEI or CNAPS code of the member, repeatable.")
@click.option("--address", default="127.0.0.1:7400", show_default=True, help="Where peers find this node.")
@click.option("--observer", is_flag=True, help="A node that follows and serves, without a vote.")
@click.option(
    "--genesis", type=click.Path(path_type=Path), help="Join this chain: genesis, TLS certificate, empty log."
)
@click.option("--genesis-hash", metavar="HASH", help="Refuse a genesis file with another hash than this.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="[NAME[/MEMBER]@]HOST:PORT",
    help="A node to follow by, repeatable; each is asked, and one at least must let this node in.",
)
@click.option("--joins", is_flag=True, help="Genesis does not know this node's keys: the members will vote on it.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="HOME",
    help="Take the member's CA from this home: the chain knows one CA of each member.",
)
@click.option(
    "--tls",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the TLS certificate that `keys issue-tls` wrote where the member's CA is, and no CA.",
)
def init(
    name: str | None,
    member: str | None,
    title: str | None,
    roles: tuple[str, ...],
    agents: tuple[str, ...],
    address: str,
    observer: bool,
    genesis: Path | None,
    genesis_hash: str | None,
    peers: tuple[str, ...],
    joins: bool,
    ca: Path | None,
    tls: Path | None,
) -> None:
    """Make a node's home, or join a home that was made to its chain.

    First `chainnode init --home D --name bank-a`: keys, settings, and config/member.json, which the members exchange.
    Then `chainnode genesis create`, and `chainnode init --home D --genesis genesis.json` with everybody's.
    A node that only serves: --observer --name N --member M --tls DIR --genesis FILE --peer ADDRESS --peer ADDRESS.
    """
    home = settings().require_home()
    if genesis is None and name is None:
        raise UsageError("nothing to do", expected="--name for a new home, --genesis to join a chain")
    if genesis is None and (peers or genesis_hash is not None):
        raise UsageError("no chain to join", expected="--genesis beside --peer and --genesis-hash")
    if tls is not None and (genesis is None or ca is not None):
        raise UsageError("--tls gives a certificate for a chain", expected="it beside --genesis, and without --ca")
    chain = None if genesis is None else _chain(genesis, genesis_hash)  # before anything is made
    if name is not None:
        _make(home, name, member or name, address, is_validator=not observer, ca=ca, own_ca=tls is None)
        if not observer and ca is None and tls is None:
            _write_entry(home, name, member or name, title, roles or ("bank",), address, agents)
        say(f"home made in {home.root}")
    if chain is not None:
        try:
            _join(home, chain, peers, joins_later=joins, made_now=name is not None, tls=tls)
        except BaseException:
            if name is not None and (peers or tls is not None):
                # Made just above and of no use like this: it would keep the next attempt from its place.
                shutil.rmtree(home.root, ignore_errors=True)
            raise
    show({"home": str(home.root), "entry": str(home.entry) if home.entry.exists() else None, **_named(chain)})


def _chain(path: Path, pinned: str | None) -> Genesis:
    """Return the genesis of a file; `GenesisError` where its hash is another than the one that is pinned."""
    from chainnode.founding import check_genesis_hash, read_genesis

    chain = read_genesis(path)
    if pinned is not None:
        check_genesis_hash(chain, hash_of(pinned, "a genesis hash"), where=str(path))
    say(f"genesis of {chain.chain}: {chain.chain_id.hex()}" + ("" if pinned is None else ", as pinned"))
    return chain


def _named(chain: Genesis | None) -> dict[str, str]:
    return {} if chain is None else {"chain": chain.chain, "chain_id": chain.chain_id.hex()}


def _make(
    home: Home, name: str, member: str, address: str, *, is_validator: bool, ca: Path | None, own_ca: bool
) -> None:
    from chainnode.founding import found_home

    found_home(
        home,
        name=name,
        member=member,
        settings={"p2p.listen": address},
        now_ms=_now_ms(),
        validator=is_validator,
        own_ca=own_ca,
    )
    if ca is not None:
        from chainnode.home import Home as HomeOf
        from chainnode.joining import take_ca

        take_ca(home, HomeOf(ca).ca_certificate, HomeOf(ca).ca_key)


def _write_entry(
    home: Home, name: str, member: str, title: str | None, roles: Sequence[str], address: str, agents: Sequence[str]
) -> None:
    """Write what a founding or joining member brings, and its officers' keys."""
    from chainnode.founding import member_entry
    from chainnode.identity import new_key, write_key
    from ledger.certificate_bodies import APPROVALS
    from ledger.members import CERTIFICATION_ROLE, DECIDING_ROLES

    officer = new_key("officer", member=member, role="governance")
    write_key(home.keys / "officer.key", officer)
    say("keys/officer.key signs the member's votes on governance: keep it away from the node")
    deciding = [
        new_key("officer", member=member, role=CERTIFICATION_ROLE)
        for _ in range(APPROVALS if DECIDING_ROLES & set(roles) else 0)
    ]
    for number, key in enumerate(deciding, 1):
        write_key(home.keys / f"officer-{number}.key", key)
    if deciding:
        say("keys/officer-1.key and keys/officer-2.key sign its grants and revocations: give each to another person")
    entry = member_entry(
        home,
        name=name,
        member=member,
        title=title or member,
        roles=roles,
        address=address,
        agents=agents,
        officers=[{"key": key.public, "role": key.role} for key in (officer, *deciding)],
    )
    home.entry.write_text(json.dumps(entry, indent=2) + "\n")


def _join(
    home: Home, chain: Genesis, peers: Sequence[str], *, joins_later: bool, made_now: bool, tls: Path | None
) -> None:
    """Give a home its chain, and the peers that it is to follow by once one of them said that it lets the node in."""
    from chainnode.first_contact import ask_peers, check_contacts, peer_of
    from chainnode.founding import host_of, join_chain, write_settings

    asked = [peer_of(text) for text in peers]
    loaded = settings().load_config(home).config
    name, now_ms = loaded.node.name, _now_ms()
    join_chain(
        home,
        chain,
        name=name,
        member=loaded.node.member,
        hosts=[host_of(loaded.p2p.listen)],
        now_ms=now_ms,
        joins_later=joins_later,
        tls=tls,
    )
    if asked:
        contacts = ask_peers(home, chain, asked, name=name, now_ms=now_ms)
        for contact in contacts:
            say(contact.sentence() + ("" if contact.setting else LEFT_OUT))
        check_contacts(contacts, hint=AGAIN if made_now else LATER)
        found = [contact.setting for contact in contacts if contact.setting is not None]
        write_settings(home, {"p2p.peers": list(dict.fromkeys([*loaded.p2p.peers, *found]))})
    start = f"chainnode start --home {shlex.quote(str(home.root))}"
    say(f"joined to chain {chain.chain} ({chain.chain_id.hex()}); run `{start}`")
