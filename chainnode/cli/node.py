"""One node: `start`, `status`, `config`, `fsck`; making its home is `init` (`chainnode.cli.init`)."""

from __future__ import annotations

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
