"""One node: `init`, `start`, `status`, `config`, `fsck`."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.config import LoadedConfig

READY_WITHIN_S = 5.0

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting for this run, such as rpc.listen=127.0.0.1:9000.",
)


def _take(overrides: tuple[str, ...]) -> None:
    for item in overrides:
        key, found, value = item.partition("=")
        if not found:
            raise UsageError("not a setting", expected="KEY=VALUE, such as log.level=debug", got=item)
        settings().config_flags[key.strip()] = value.strip()


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
@click.option("--joins", is_flag=True, help="Genesis does not know this node's keys: the members will vote on it.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="HOME",
    help="Take the member's CA from this home: the chain knows one CA of each member.",
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
    joins: bool,
    ca: Path | None,
) -> None:
    """Make a node's home, or join a home that was made to its chain.

    First `chainnode init --home D --name bank-a`: keys, settings, and config/member.json, which the members exchange.
    Then `chainnode genesis create`, and `chainnode init --home D --genesis genesis.json` with everybody's.
    """
    from chainnode.founding import found_home, host_of, join_chain, member_entry, read_genesis
    from chainnode.identity import new_key, write_key

    home = settings().require_home()
    if genesis is None and name is None:
        raise UsageError("nothing to do", expected="--name for a new home, --genesis to join a chain")
    if name is not None:
        member = member or name
        listen = {"p2p.listen": address}
        found_home(home, name=name, member=member, settings=listen, now_ms=_now_ms(), validator=not observer)
        if ca is not None:
            from chainnode.home import Home
            from chainnode.joining import take_ca

            take_ca(home, Home(ca).ca_certificate, Home(ca).ca_key)
        if not observer and ca is None:
            officer = new_key("officer", member=member, role="governance")
            write_key(home.keys / "officer.key", officer)
            say("keys/officer.key signs the member's votes on governance: keep it away from the node")
            entry = member_entry(
                home,
                name=name,
                member=member,
                title=title or member,
                roles=roles or ("bank",),
                address=address,
                agents=agents,
                officers=[{"key": officer.public, "role": officer.role}],
            )
            home.entry.write_text(json.dumps(entry, indent=2) + "\n")
        say(f"home made in {home.root}")
    if genesis is not None:
        loaded = settings().load_config(home).config
        chain = read_genesis(genesis)
        hosts = [host_of(loaded.p2p.listen)]
        join_chain(
            home,
            chain,
            name=loaded.node.name,
            member=loaded.node.member,
            hosts=hosts,
            now_ms=_now_ms(),
            joins_later=joins,
        )
        start = f"chainnode start --home {shlex.quote(str(home.root))}"
        say(f"joined to chain {chain.chain} ({chain.chain_id.hex()}); run `{start}`")
    show({"home": str(home.root), "entry": str(home.entry) if home.entry.exists() else None})


@click.command()
@set_option
def start(overrides: tuple[str, ...]) -> None:
    """Run the node of --home in the foreground; its log goes to stderr as JSON lines."""
    _take(overrides)
    home = settings().require_home()
    home.check()
    from chainnode.main import first_of
    from chainnode.main import start as run

    try:
        run(home, settings().config_flags)
    except BaseExceptionGroup as group:
        raise first_of(group) from None


@click.command()
def status() -> int:
    """Show where a node stands. Status 5 while it is catching up or, with --home, says that it is not ready."""
    found = settings().client().call("net_status")
    why = _not_ready()
    if why is not None:
        found = {**found, "ready": not why}
    show(found)
    if why:
        say(why)
    return 5 if why or found.get("catching_up") else 0


def _not_ready() -> str | None:
    """Return what the node of --home says against being ready, empty for nothing, None where that is not known."""
    from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable

    options = settings()
    if options.home is None or options.endpoint is not None:
        return None
    client = NodeClient(options.load_config(options.require_home()).config.ops.listen, timeout_s=READY_WITHIN_S)
    try:
        client.get("/readyz")
    except CallRefused as refused:
        return str(refused)
    except (Unreachable, TimedOut):
        return None
    finally:
        client.close()
    return ""


@click.group(cls=Group)
def config() -> None:
    """Show and check a node's settings."""


@config.command("show")
@set_option
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def config_show(overrides: tuple[str, ...], origin: bool) -> None:
    """Show the settings as they are in force: flag over environment over file over default."""
    from chainnode.config import flatten, render_toml

    _take(overrides)
    loaded = _loaded()
    values = flatten(loaded.config)
    if origin:
        rows = [{"key": key, "value": value, "origin": loaded.origins[key]} for key, value in values.items()]
        show_rows(rows, columns=("key", "value", "origin"), wrap="settings")
    elif settings().machine:
        show(values)
    else:
        click.echo(render_toml(values), nl=False)


@config.command("check")
@set_option
def config_check(overrides: tuple[str, ...]) -> None:
    """Check the settings, and the home where one is named; prints nothing but a word where all is well."""
    _take(overrides)
    loaded = _loaded()
    home = settings().home
    if home is not None:
        from chainnode.founding import read_genesis
        from chainnode.identity import load_node_keys, read_token

        place = settings().require_home()
        place.check()
        load_node_keys(place)
        read_token(place.resolve(loaded.config.rpc.token_file))
        read_genesis(place.genesis)
    show({"ok": True, "home": str(home) if home else None})


def _loaded() -> LoadedConfig:
    import os

    from chainnode.config import load_config

    if settings().home is None:
        return load_config(None, os.environ, settings().config_flags)
    return settings().load_config(settings().require_home())


@click.command()
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read moved bodies from this archive too, repeatable.",
)
@click.option(
    "--from",
    "start",
    metavar="HEIGHT|checkpoint",
    help="Prove this block (of the newest checkpoint) and its state, and execute those above. [default: the genesis]",
)
def fsck(archives: tuple[Path, ...], start: str | None) -> int:
    """Verify the store of a stopped node: every block, certificate, root and proof; names the first bad block."""
    from chainnode.cli.exits import Missing
    from chainnode.cli.output import progress
    from chainnode.fsck import CHECKPOINT, check_home

    if start is not None and start != CHECKPOINT and not (start.isascii() and start.isdigit() and len(start) < 16):
        raise UsageError("no block to begin at", where="--from", expected="a height, or checkpoint", got=start)
    for place in archives:
        if not place.is_dir():
            raise Missing("no archive is here", where=str(place), expected="a directory with segments")
    home = settings().require_home()
    home.check()
    with progress("verifying", 0) as bar:

        def step(done: int, of: int) -> None:
            if not bar_begun:
                bar_begun.append(done)
                bar.restart(of - done + 1)
            bar.advance()

        bar_begun: list[int] = []
        report = check_home(
            home,
            settings().load_config(home).config,
            step=step,
            archives=archives,
            start=start,
        )
    show(report.as_row())
    return 3 if report.problem else 0
