"""`chainnode keys`: key files of sources, officers and nodes."""

from __future__ import annotations

from pathlib import Path

import click

from chainnode.cli.main import Group
from chainnode.cli.output import records, say, show
from chainnode.cli.pairing import pairing
from chainnode.cli.rotation import COMMANDS
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option

USES = ("source", "officer", "vote", "cosign", "log")


@click.group(cls=Group)
def keys() -> None:
    """Make, show and replace key files; the secret part is never printed."""


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--use", type=click.Choice(USES), default="source", show_default=True, help="What the key is for.")
@click.option("--member", default="", help="The member that it signs for; sources need one.")
@click.option("--role", default="", help="A word that says what for, such as gateway.")
def new(file: Path, use: str, member: str, role: str) -> None:
    """Make a new Ed25519 key in FILE (mode 0600); an existing file is never overwritten."""
    from chainnode.identity import new_key, write_key
    from primitives.errors import UsageError

    if use in ("source", "officer") and not member:
        raise UsageError(f"a key for {use} needs its member", hint="name it with --member")
    key = new_key(use, member=member, role=role)  # type: ignore[arg-type]  # click.Choice admits these words alone
    write_key(file, key)
    say(f"key written to {file}")
    show({"file": str(file), "use": key.use, "member": key.member, "role": key.role, "public": key.public})


@keys.command()
@click.option("--role", "roles", multiple=True, help="A role of the member that the key may act under. [default: bank]")
def rotate(roles: tuple[str, ...]) -> None:
    """Put the source key and outbox of the stopped node of --home away, and make new ones."""
    import json

    from chainnode.cli.context import settings
    from chainnode.files import write_file
    from chainnode.joining import rotate_source, source_entry, source_entry_path

    home = settings().require_home()
    home.check()
    member = settings().load_config(home).config.node.member
    retired = rotate_source(home, member)
    entry = source_entry(home, member=member, roles=roles or ("bank",))
    path = source_entry_path(home)
    write_file(path, json.dumps(entry, indent=2).encode() + b"\n")
    say(f"the used key and outbox lie in {retired}; propose the new key: `chainnode member propose add-source {path}`")
    show({"file": str(path), "member": member, "key": entry["key"], "retired": str(retired)})


@keys.command("log-entry")
def log_entry() -> None:
    """Write config/log-key.json of --home: its log key with a proof, for `keys declare-log` of the member's gateway."""
    import json

    from chainnode.cli.context import settings
    from chainnode.files import write_file
    from chainnode.joining import log_key_entry, log_key_entry_path

    home = settings().require_home()
    home.check()
    node = settings().load_config(home).config.node
    entry = log_key_entry(home, name=node.name, member=node.member)
    path = log_key_entry_path(home)
    write_file(path, json.dumps(entry, indent=2).encode() + b"\n")
    say(f"written to {path}; declare it with `chainnode keys declare-log {path}` through a gateway of {node.member}")
    show({"file": str(path), "name": node.name, "member": node.member, "key": entry["key"]})


@keys.command("declare-log")
@click.argument("file", type=click.Path(path_type=Path))
@wait_option
@timeout_option
def declare_log(file: Path, wait: str, timeout_s: float) -> int:
    """Declare the log key in FILE of a node that serves without a vote: policies list it from then on."""
    import secrets

    from chainnode.cli.context import settings
    from chainnode.joining import read_log_key_entry
    from chainnode.submission import NewEvent
    from ledger.event_json import record_from_json
    from ledger.log_keys import DECLARE_LOG_KEY, SCHEMA, DeclareLogKey
    from primitives.encoding import encode
    from primitives.errors import UsageError

    entry = read_log_key_entry(file)
    member = member_of_settings()
    if entry.pop("member") != member:
        raise UsageError("log key of another member's node", where=str(file), expected=f"one of {member}")
    body = record_from_json(DeclareLogKey, entry, where=str(file))
    client = settings().client(timeout_s=timeout_s, token=True)
    event = NewEvent(DECLARE_LOG_KEY, SCHEMA, encode(body), f"log key of {entry['name']}", secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)


@keys.command()
@click.option("--within-days", type=click.IntRange(0, 36_500), default=90, show_default=True, help="How far ahead.")
def expiry(within_days: int) -> int:
    """Show what ends by itself: TLS certificates, root CAs, products. Status 5 where a link has a week left or less.

    Certificates of products count for the list alone: their holders renew them.
    """
    from chainnode.cli.context import settings
    from chainnode.cli.output import show_rows

    rows = settings().client().pages("net_expiry", "ends", within_days=within_days)
    show_rows(rows, columns=("ends", "days_left", "level", "kind", "name", "member", "where"), wrap="ends")
    late = [row for row in rows if row["level"] in ("ended", "urgent") and row["kind"] != "product_certificate"]
    for row in late:
        say(f"{row['kind'].replace('_', ' ')} of {row['name']}: {row['level']}, {row['days_left']} days left")
    return 5 if late else 0


@keys.command("show")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def show_keys(files: tuple[Path, ...]) -> None:
    """Show the public part of key FILES."""
    from chainnode.cli.output import show_rows
    from chainnode.identity import read_key

    found = [(path, read_key(path)) for path in files]
    rows = [
        {"file": str(path), "use": key.use, "member": key.member, "role": key.role, "public": key.public}
        for path, key in found
    ]
    show_rows(rows, columns=("use", "member", "role", "public", "file"), wrap="keys")


keys.add_command(pairing)
for command in COMMANDS:
    keys.add_command(command)
