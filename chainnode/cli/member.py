"""`chainnode member`: how members, their sources and officers come and go.

Proposals and votes are those of `chainnode validator`. One thing needs no vote: an officer stops a source of its own
member at once (`member retire`), through any node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows
from chainnode.cli.submit import timeout_option, wait_option
from chainnode.cli.validator import (
    approve,
    officer_option,
    propose_action,
    proposing,
    reject,
    send_event,
    status,
    withdraw,
)

COLUMNS = ("id", "name", "roles", "agents", "sources", "officers", "validators", "excluded")


@click.group(cls=Group)
def member() -> None:
    """Members: list them; propose to admit or exclude one; their sources and officers."""


@click.group(cls=Group)
def propose() -> None:
    """Propose a change of the members, of their sources or of their officers."""


member.add_command(propose)
for command in (status, approve, reject, withdraw):
    member.add_command(command)


@member.command("list")
def list_() -> None:
    """Show the members with their roles, codes, sources and officers, also those that were excluded."""
    client = settings().client()
    rows = client.members()
    if settings().machine:
        show({"members": rows})
        return
    for row in rows:
        removed = sum(source["removed"] for source in row["sources"])
        row["sources"] = f"{len(row['sources']) - removed}" + (f", {removed} removed" if removed else "")
        row["officers"] = len(row["officers"])
        row |= {key: ", ".join(row[key]) for key in ("roles", "agents", "validators")}
    show_rows(rows, columns=COLUMNS, wrap="members")


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def add(file: Path, **options: Any) -> int:
    """Propose to admit the member of FILE: its config/member.json, as `chainnode init` writes it."""
    from chainnode.founding import read_entry
    from chainnode.joining import check_ca_of

    action = {"type": "add_member", "member": read_entry(file)["member"]}
    check_ca_of(settings().client(), action)
    return propose_action(action, **options)


@propose.command()
@click.argument("member_id", metavar="MEMBER")
@proposing
def exclude(member_id: str, **options: Any) -> int:
    """Propose that MEMBER leaves for good; its validators must have left before."""
    return propose_action({"type": "exclude_member", "member": member_id}, **options)


@propose.command("add-source")
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def add_source(file: Path, **options: Any) -> int:
    """Propose a further signing key: FILE is the config/source.json that `chainnode keys rotate` writes."""
    from chainnode.joining import read_source_entry

    return propose_action({"type": "add_source", **read_source_entry(file)}, **options)


@propose.command("remove-source")
@click.argument("key")
@proposing
def remove_source(key: str, **options: Any) -> int:
    """Propose that the signing key KEY (hex) stops; its own member's officer needs no vote: `member retire`."""
    return propose_action({"type": "remove_source", "key": hash_of(key, "a public key")}, **options)


@propose.command()
@click.argument("member_id", metavar="MEMBER")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=ROLE...")
@proposing
def officers(member_id: str, keys: tuple[str, ...], **options: Any) -> int:
    """Propose all officers of MEMBER from then on, each as its public key in hex and its role."""
    from primitives.errors import UsageError

    rows = []
    for item in keys:
        key, found, role = item.partition("=")
        if not found:
            raise UsageError("not an officer", expected="KEY=ROLE, such as 0123abcd…=governance", got=item)
        rows.append({"key": hash_of(key, "a public key"), "role": role})
    return propose_action({"type": "set_officers", "member": member_id, "officers": rows}, **options)


@member.command()
@click.argument("key")
@officer_option
@wait_option
@timeout_option
def retire(key: str, officer: Path, wait: str, timeout_s: float) -> int:
    """Stop the signing key KEY (hex) at once, by its own member's officer; it never comes back."""
    from chainnode.identity import read_key
    from ledger.governance_bodies import RetireSource, retirement_statement
    from primitives.ids import Hash

    source = bytes.fromhex(hash_of(key, "a public key"))
    signer = read_key(officer, "officer")
    client = settings().client(timeout_s=timeout_s, token=True)
    chain_id = Hash(bytes.fromhex(client.call("net_status")["chain_id"]))
    say(f"from the next block on nothing that {key[:16]} signs is taken")
    signature = signer.signing_key.sign(retirement_statement(chain_id, source))
    return send_event(client, RetireSource(source, signer.source, signature), "retirement", wait, timeout_s)
