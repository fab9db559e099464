"""`chainnode genesis`: make, show and hash what the members agree on before the first block."""

from __future__ import annotations

import time
from pathlib import Path

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show
from primitives.errors import UsageError

file_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group(cls=Group)
def genesis() -> None:
    """Make, show and hash the consortium's genesis."""


@genesis.command()
@click.argument("entries", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--chain", required=True, help="The chain's name: lower-case letters, digits, dots and hyphens.")
@click.option("--time", "time_text", help="Time of the first block, RFC 3339. [default: now]")
@click.option("--policy", "figures", multiple=True, metavar="FIGURE=N", help="A figure of the policy, repeatable.")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="The file to write.")
def create(
    entries: tuple[Path, ...], chain: str, time_text: str | None, figures: tuple[str, ...], target: Path
) -> None:
    """Make a genesis of the members' ENTRIES (config/member.json of each home), in this order."""
    from chainnode.files import write_file
    from chainnode.founding import assemble_genesis, read_entry
    from ledger.genesis_json import genesis_to_json
    from ledger.times import parse_time

    policy = dict(map(figure_of, figures))
    now_ms = time.time_ns() // 1_000_000 if time_text is None else int(parse_time(time_text, where="--time"))
    made = assemble_genesis(chain, [read_entry(path) for path in entries], now_ms=now_ms, policy=policy)
    write_file(target, genesis_to_json(made), replace=False)
    say(f"genesis written to {target}; every member compares its hash before joining")
    show({"file": str(target), "chain": made.chain, "chain_id": made.chain_id.hex()})


def figure_of(text: str) -> tuple[str, int]:
    """Return name and value of a figure of the policy that is given as FIGURE=N."""
    name, found, value = text.partition("=")
    if not found or not value.strip().isascii() or not value.strip().isdigit():
        raise UsageError("not a figure of the policy", expected="FIGURE=N, such as checkpoint_slot_ms=200", got=text)
    return name.strip(), int(value)


def _path(file: Path | None) -> Path:
    return file if file is not None else settings().require_home().genesis


@genesis.command("show")
@file_argument
def show_genesis(file: Path | None) -> None:
    """Show a genesis FILE, or the home's: members, validators, policy."""
    from chainnode.founding import read_genesis
    from ledger.genesis_json import genesis_to_object
    from ledger.policy import policy_figures
    from ledger.times import format_time

    found = read_genesis(_path(file))
    if settings().machine:
        show({"chain_id": found.chain_id.hex(), **genesis_to_object(found)})
        return
    time = format_time(found.time_ms)
    show({"chain": found.chain, "chain_id": found.chain_id.hex(), "origin": found.origin, "time": time})
    click.echo("members")
    for member in found.members:
        click.echo(f"  {member.id:<14} {', '.join(member.roles):<22} {len(member.sources)} keys  {member.name}")
    click.echo("validators")
    for validator in found.validators:
        click.echo(f"  {validator.name:<14} {validator.address:<22} {validator.vote_key.hex()}")
    click.echo("policy")
    for figure, value in policy_figures(found.policy).items():
        click.echo(f"  {figure:<32} {value}")


@genesis.command("hash")
@file_argument
def hash_genesis(file: Path | None) -> None:
    """Print the chain's id: the hash of a genesis FILE's content, or of the home's."""
    from chainnode.founding import read_genesis

    found = read_genesis(_path(file))
    show({"chain_id": found.chain_id.hex()} if settings().machine else found.chain_id.hex())
