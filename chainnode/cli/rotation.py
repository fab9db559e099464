"""`chainnode keys renew-tls`, `issue-tls`, `client-certificate`, `rotate-ca`, …: what ends or was lost, made anew.

Keys of a validator: `chainnode validator renew-keys`. A source's: `chainnode keys rotate`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.output import say, show
from chainnode.cli.validator import propose_action, proposing

CLIENT_ROLES = ("operator", "submitter", "officer", "auditor", "regulator")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.command("renew-tls")
@click.option(
    "--ca", type=click.Path(path_type=Path), metavar="HOME", help="Take the member's CA from this home first."
)
def renew_tls(ca: Path | None) -> None:
    """Give the node of --home a new TLS certificate, by its member's CA; a running node shows it within seconds.

    Where a new root CA waits (`keys rotate-ca`) and is approved, it takes the present one's place first.
    """
    from chainnode.founding import host_of
    from chainnode.home import Home
    from chainnode.joining import take_ca
    from chainnode.rotation import promote_ca, waits_for_ca
    from chainnode.rotation import renew_tls as renew
    from ledger.times import format_time

    home = settings().require_home()
    home.check()
    config = settings().load_config(home).config
    if ca is not None:
        take_ca(home, Home(ca).ca_certificate, Home(ca).ca_key)
    if waits_for_ca(home):
        rows = {row["id"]: row for row in settings().client().members()}
        taken = promote_ca(home, rows.get(config.node.member, {}).get("ca_certificate", ""))
        say("the new root CA is in force" if taken else "the new root CA is not approved yet: the present one issues")
    hosts = [host_of(config.p2p.listen)]
    ends_ms = renew(home, name=config.node.name, member=config.node.member, hosts=hosts, now_ms=_now_ms())
    say("a running node shows it within seconds, on links that are made from then on")
    show({"certificate": str(home.tls_certificate), "ends": format_time(ends_ms)})


@click.command("issue-tls")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The node that it is for.")
@click.option("--host", "hosts", multiple=True, required=True, help="Where that node is found, repeatable.")
def issue_tls(directory: Path, name: str, hosts: tuple[str, ...]) -> None:
    """Write tls.key and tls.crt for another node of the member to DIRECTORY, by the CA of --home, which stays here.

    The node takes them by `chainnode init --tls DIRECTORY`, or in the place of its own under keys/ while it runs.
    """
    from chainnode.files import make_private_directory
    from chainnode.founding import issue_tls as issue
    from chainnode.founding import read_genesis
    from ledger.times import format_time
    from p2p.config import TlsFiles
    from primitives.errors import UsageError

    home = settings().require_home()
    home.check()
    place = TlsFiles(directory / home.tls_key.name, directory / home.tls_certificate.name)
    for path in (place.key, place.certificate):
        if path.exists():
            raise UsageError("exists already", where=str(path), hint="choose another directory")
    make_private_directory(directory)
    member, chain_id = settings().load_config(home).config.node.member, read_genesis(home.genesis).chain_id
    ends_ms = issue(home, place, name=name, member=member, chain_id=chain_id, hosts=hosts, now_ms=_now_ms())
    say(f"hand {directory} to the node and to nobody else: it holds the node's TLS key")
    show({"certificate": str(place.certificate), "node": name, "member": member, "ends": format_time(ends_ms)})


@click.command("rotate-ca")
def rotate_ca() -> None:
    """Make a new root CA for the member of --home, and config/ca.json for `member propose ca`; nothing changes yet."""
    from chainnode.rotation import rotate_ca as rotate

    home = settings().require_home()
    home.check()
    member = settings().load_config(home).config.node.member
    path = rotate(home, member, _now_ms())
    say(f"propose it: `chainnode member propose ca {path}`; once approved, `chainnode keys renew-tls` on every node")
    show({"file": str(path), "member": member})


@click.command("ca-entry")
def ca_entry() -> None:
    """Write config/ca.json of the CA that --home has, for a home that was made anew after all was lost."""
    from chainnode.rotation import write_ca_entry

    home = settings().require_home()
    home.check()
    member = settings().load_config(home).config.node.member
    path = write_ca_entry(home, member, home.ca_certificate)
    say(f"another member proposes it: `chainnode member propose ca {path} --drop-old`")
    show({"file": str(path), "member": member})


@click.command("rotate-officer")
@click.argument("old")
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--member", "member_id", help="Whose officer it is. [default: that of the key, or of --home]")
@proposing
def rotate_officer(old: str, new: Path, member_id: str | None, **options: Any) -> int:
    """Propose the key in NEW, made where it is missing, in the place of the officer's key OLD (hex); roles stay."""
    from chainnode.cli.submit import member_of_settings
    from chainnode.identity import new_key, read_key, write_key
    from primitives.errors import UsageError

    replaced = hash_of(old, "a public key")
    rows = {row["id"]: row for row in settings().client().members()}
    member = member_id or next(
        (name for name, row in rows.items() if any(item["key"] == replaced for item in row["officers"])),
        member_of_settings(),
    )
    officers = {item["key"]: item["role"] for item in rows.get(member, {}).get("officers", ())}
    if replaced not in officers:
        raise UsageError("no officer has this key", where=f"member {member}", got=replaced[:16])
    if not new.exists() and not options["dry_run"]:
        write_key(new, new_key("officer", member=member, role=officers[replaced]))
        say(f"key written to {new}: keep it away from the node")
    if not new.exists():
        raise UsageError("no such key file", where=str(new), hint="without --dry-run it is made")
    fresh = read_key(new, "officer").public
    kept = [{"key": key, "role": role} for key, role in officers.items() if key != replaced]
    action = {
        "type": "set_officers",
        "member": member,
        "officers": [*kept, {"key": fresh, "role": officers[replaced]}],
    }
    return propose_action(action, **options)


@click.command("client-certificate")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(CLIENT_ROLES), help="What its bearer may do at nodes.")
@click.option("--days", type=click.IntRange(1, 3_650), default=90, show_default=True, help="How long it lasts.")
@click.option("--out", "directory", type=click.Path(path_type=Path), default=Path(), help="Where to. [default: here]")
def client_certificate(name: str, role: str, days: int, directory: Path) -> None:
    """Write NAME.key and NAME.crt by the CA of --home: a client certificate, for nodes that ask for one.

    It counts where the chain knows the CA, for what the chain lets its member grant, and no longer than both.
    """
    from chainnode.founding import issue_client, read_genesis
    from ledger.times import format_time
    from p2p.config import TlsFiles
    from primitives.errors import UsageError

    home = settings().require_home()
    home.check()
    place = TlsFiles(directory / f"{name}.key", directory / f"{name}.crt")
    for path in (place.key, place.certificate):
        if path.exists():
            raise UsageError("exists already", where=str(path), hint="choose another name or directory")
    member, chain_id = settings().load_config(home).config.node.member, read_genesis(home.genesis).chain_id
    ends_ms = issue_client(
        home, place, name=name, member=member, role=role, chain_id=chain_id, now_ms=_now_ms(), days=days
    )
    say(f"hand both files to who is to call; a browser takes them by `openssl pkcs12 -export -inkey {place.key} -in …`")
    show({"certificate": str(place.certificate), "key": str(place.key), "role": role, "ends": format_time(ends_ms)})


COMMANDS = (renew_tls, issue_tls, client_certificate, rotate_ca, ca_entry, rotate_officer)
