"""`chainnode localnet`: a real network of processes on this machine."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import DEFAULT_LOCALNET
from chainnode.cli.main import Group
from chainnode.cli.output import line, progress, say, show_rows

if TYPE_CHECKING:
    from chainnode.localnet import Localnet, LocalNode

COLUMNS = ("name", "role", "pid", "rpc", "ops", "explorer")
STATUS_COLUMNS = ("name", "role", "pid", "state", "height", "view", "leader", "peers", "rpc")
LOG_POLL_S = 0.2

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(DEFAULT_LOCALNET),
    show_default=True,
    envvar="CHAINNODE_LOCALNET",
    show_envvar=True,
    help="Where the network lives.",
)


@click.group(cls=Group)
def localnet() -> None:
    """A real network of processes on this machine: banks that vote, and keys for the other members."""


@localnet.command()
@directory_option
@click.option("--nodes", type=click.IntRange(1, 31), default=None, help="Banks, each with a validator. [default: 4]")
@click.option(
    "--base-port", type=int, default=None, help="First port; each node takes ten. [default: a free one from 7400]"
)
@click.option("--detach", is_flag=True, help="Return when all are ready; `localnet down` ends them.")
@click.option("--demo", "with_demo", is_flag=True, help="Run the demonstration on a network of its own, and end.")
def up(directory: Path, nodes: int | None, base_port: int | None, detach: bool, with_demo: bool) -> int:
    """Start the network, founding it first where there is none; running nodes are left alone."""
    if with_demo:
        from chainnode.demo import run_demo

        return run_demo(None, keep=False)
    from chainnode.localnet import Localnet
    from chainnode.localnet_pairing import announce_pairing_keys

    net = Localnet(directory)
    with net.held():
        _found(net, nodes, base_port)
        names = [node.name for node in net.load().nodes]
        with progress("starting", len(names)) as bar:
            started = net.start()
            _wait(net, names, bar)
            bar.describe("announcing pairing keys")
            announce_pairing_keys(net)
    say(f"{len(started)} of {len(names)} nodes started, all ready; keys for --as in {net.keys}")
    found = net.load().nodes
    show_rows([node.row() for node in found], columns=COLUMNS, wrap="nodes")
    say(f"explorer: {found[0].explorer}")
    if not detach:
        _stay(net)
    return 0


def _found(net: Localnet, nodes: int | None, base_port: int | None) -> None:
    from primitives.errors import UsageError

    if net.exists:
        file = net.load()
        if nodes is not None and nodes != len(file.nodes):
            raise UsageError(
                "this localnet has another number of nodes",
                where=str(net.directory),
                expected=len(file.nodes),
                got=nodes,
                hint="choose another --dir",
            )
        if base_port is not None and base_port != file.base_port:
            raise UsageError(
                "this localnet has other ports", where=str(net.directory), expected=file.base_port, got=base_port
            )
        return
    count = nodes or 4
    with progress("founding", count) as bar:
        net.found(count, base_port=base_port, now_ms=time.time_ns() // 1_000_000, step=lambda _: bar.advance())


def _wait(net: Localnet, names: list[str], bar: Any) -> None:  # Any: output.Progress, imported for typing only
    from chainnode.localnet import wait_until_ready

    bar.describe("waiting until ready")
    wait_until_ready(net, names, step=lambda _: bar.advance())


def _stay(net: Localnet) -> None:
    """Stay until interrupted, then end the nodes."""
    say("running; Ctrl-C ends the network (--detach would leave it running)")
    try:
        while any(node.pid for node in net.load().nodes):
            time.sleep(1)
        say("all nodes have ended")
    except KeyboardInterrupt:
        say("ending the nodes")
    finally:
        net.stop()


@localnet.command()
@directory_option
def down(directory: Path) -> None:
    """End the nodes that this directory has recorded, and no other process."""
    from chainnode.localnet import Localnet

    net = Localnet(directory)
    net.load()
    with net.held():
        running = [node.name for node in net.load().nodes if node.pid]
        late = net.stop()
    for name in late:
        say(f"{name} did not end in time and was killed")
    say(f"{len(running)} nodes ended" if running else "no node was running")
    show_rows([node.row() for node in net.load().nodes], columns=("name", "role", "pid"), wrap="nodes")


@localnet.command()
@directory_option
def status(directory: Path) -> int:
    """Show each node: its process, height and view. Status 5 unless all run and are ready."""
    from chainnode.localnet import Localnet

    rows = [_status_row(node) for node in Localnet(directory).load().nodes]
    show_rows(rows, columns=STATUS_COLUMNS, wrap="nodes")
    return 0 if all(row["state"] == "ready" for row in rows) else 5


def _status_row(node: LocalNode) -> dict[str, Any]:
    from chainnode.localnet import is_ready, net_status

    row = node.row()
    found = net_status(node) if row["pid"] else None
    state = "stopped" if row["pid"] is None else "starting" if found is None else "running"
    if found is not None and is_ready(node):
        state = "ready"
    row["role"] = (found or row)["role"]
    keys = ("height", "epoch", "view", "leader", "peers", "catching_up")
    return {**row, "state": state, **{key: (found or {}).get(key) for key in keys}}


@localnet.command()
@directory_option
@click.argument("name")
def kill(directory: Path, name: str) -> int:
    """Kill node NAME as a crash would (SIGKILL)."""
    from chainnode.localnet import Localnet

    net = Localnet(directory)
    net.node(name)
    with net.held():
        killed = net.kill(name)
    say(f"{name} killed" if killed else f"{name} was not running")
    return 0 if killed else 1


@localnet.command()
@directory_option
@click.argument("name")
def start(directory: Path, name: str) -> None:
    """Start node NAME again and wait until it is ready."""
    from chainnode.localnet import Localnet

    net = Localnet(directory)
    net.node(name)
    with net.held(), progress(f"starting {name}", 1) as bar:
        started = net.start([name])
        _wait(net, [name], bar)
    say(f"{name} started and ready" if started else f"{name} was running")
    show_rows([net.node(name).row()], columns=COLUMNS, wrap="nodes")


@localnet.command("add-node")
@directory_option
@click.option("--member", default="bank-a", show_default=True, help="The bank whose further node it is.")
@click.option("--name", help="The node's name. [default: the bank's, numbered]")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1, 3600), default=60.0, help="Seconds to wait. [default: 60]"
)
@click.option("--observer", is_flag=True, help="It follows and serves without a vote; its log key is declared.")
@click.option(
    "--snapshot", type=click.Path(path_type=Path), metavar="FILE", help="Begin from this snapshot, not at the genesis."
)
def add_node(
    directory: Path, member: str, name: str | None, timeout_s: float, observer: bool, snapshot: Path | None
) -> None:
    """Start a further node, have the banks vote for it, and wait until it is a validator."""
    from chainnode.cli.snapshot import refused_snapshot
    from chainnode.localnet import Localnet
    from chainnode.localnet_join import add_node as add_validator
    from chainnode.localnet_join import add_observer

    net = Localnet(directory)
    net.load()
    add = add_observer if observer else add_validator
    held = refused_snapshot(snapshot) if snapshot is not None else nullcontext()
    with held, net.held(), progress("adding", None) as bar:
        now_ms = time.time_ns() // 1_000_000
        node = add(net, member, name=name, now_ms=now_ms, timeout_s=timeout_s, step=bar.describe, snapshot=snapshot)
    say(f"{node.name} follows and serves" if observer else f"{node.name} is a validator")
    show_rows([node.row()], columns=COLUMNS, wrap="nodes")


@localnet.command()
@directory_option
@click.argument("name")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 100_000), default=40, show_default=True, help="Last lines to show."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
def logs(directory: Path, name: str, lines: int, follow: bool) -> None:
    """Show the log of node NAME: JSON lines."""
    from chainnode.home import Home
    from chainnode.localnet import Localnet, tail

    path = Home(Path(Localnet(directory).node(name).home)).log
    for text in tail(path, lines):
        click.echo(text)
    if not follow:
        return
    with path.open("rb") as file:
        file.seek(0, 2)
        while True:
            data = file.read()
            if data:
                click.echo(data.decode("utf-8", "replace"), nl=False)
            else:
                time.sleep(LOG_POLL_S)


@localnet.command()
@directory_option
def keys(directory: Path) -> None:
    """List the key files for --as, by member and role."""
    from chainnode.identity import read_key
    from chainnode.localnet import Localnet

    net = Localnet(directory)
    net.load()
    for path in sorted(net.keys.glob("*.key")):
        key = read_key(path)
        row = {"member": key.member, "role": key.role, "public": key.public, "file": str(path)}
        line(row, f"{key.member:<12} {key.role:<12} {path}")
