"""`snapshot`: the state of the ledger at a checkpoint in one file, from which another node begins.

Here: asking a node for one and fetching it, and what is done with the file. Not here: what is in it
(`ledger.snapshots`), the file (`chainnode.snapshot_file`), putting it into a home (`chainnode.snapshot_restore`).
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import progress, say, show
from primitives.errors import InputError, StorageError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.snapshot_file import SnapshotFile

POLL_S = 0.2

Json = dict[str, Any]  # Any: JSON of a node

existing = click.Path(path_type=Path)


@click.group(cls=Group)
def snapshot() -> None:
    """Make, verify, show and restore snapshots."""


@snapshot.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Write over a file that is there.")
@click.option("--timeout", "timeout_s", type=float, default=3_600.0, show_default=True, help="Seconds to wait for it.")
def create(file: Path, replace: bool, timeout_s: float) -> None:
    """Have a node make a snapshot of its ledger at the newest checkpoint, and write it to FILE.

    The node goes on meanwhile. It keeps the newest in data/snapshots of its home.
    """
    from chainnode.cli.exits import VerificationFailed

    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UsageError("not a file's name", where=str(file), expected="a new file in a directory that is there")
    if file.exists() and not replace:
        raise UsageError("file exists already", where=str(file), hint="use --replace to write over it")
    client = settings().client(token=True)
    made = _made(client, timeout_s)
    with refused_snapshot(file), _written(file) as (target, beside):
        _fetch(client, made, target)
        target.flush()
        with _opened(beside) as found:
            if found.id.hex() != made["id"]:
                raise VerificationFailed("the file is another than the node made", expected=made["id"], got=found.id)
            found.check_digests()
            described = {**_described(found), "file": str(file)}
    say(f"snapshot of block {described['height']} written to {file}")
    show(described)


@snapshot.command()
@click.argument("file", type=existing)
@click.option("--genesis", type=existing, help="The chain's genesis. [default: that of --home]")
def verify(file: Path, genesis: Path | None) -> None:
    """Verify a snapshot offline, to its last row: under the genesis alone, without trusting who made it."""
    from chainnode.founding import read_genesis

    place = genesis or settings().require_home().genesis
    with refused_snapshot(file), _opened(file) as found, progress("verifying", len(found.manifest.chunks)) as bar:
        last = found.verify(read_genesis(place), step=lambda _done, _of: bar.advance())
        described = _described(found)
    names = [last.validators.validators[index].name for index, _, _ in last.cosignatures]
    show({"verified": True, **described, "cosigned_by": names})


@snapshot.command("show")
@click.argument("file", type=existing)
def show_(file: Path) -> None:
    """Show what a snapshot says it is. Nothing of it is verified: see `verify`."""
    with refused_snapshot(file), _opened(file) as found:
        show(_described(found))


@snapshot.command()
@click.argument("file", type=existing)
def restore(file: Path) -> None:
    """Put a snapshot into the home of --home, which has no store yet, after verifying all of it.

    Then `start` the node: it fetches the blocks that follow from its peers. Made with `chainnode init --genesis`.
    """
    from chainnode.snapshot_restore import restore_home

    home = settings().require_home()
    home.check()
    config = settings().load_config(home).config
    with refused_snapshot(file), progress("restoring", None) as bar:
        done = restore_home(home, config, file, step=lambda at, of: bar.describe(f"chunk {at} of {of}"))
    say(f"the node begins at block {done.height}; run `chainnode start --home {shlex.quote(str(home.root))}`")
    show({"height": done.height, "snapshot": done.snapshot, "store": str(done.store)})


def _made(client: NodeClient, timeout_s: float) -> Json:
    """Return the status of a snapshot that the node made, once it is ready."""
    from chainnode.client import TimedOut, Unhealthy

    end = time.monotonic() + timeout_s
    status: Json = client.call("admin_createSnapshot")
    with progress("the node makes it", 100) as bar:
        shown = 0
        while status["state"] == "making":
            if time.monotonic() >= end:
                raise TimedOut("the snapshot is not ready in time", expected=f"within {timeout_s:g} s")
            time.sleep(POLL_S)
            status = client.call("admin_getSnapshot")
            bar.advance(status["percent"] - shown)
            shown = status["percent"]
    if status["state"] != "ready":
        raise Unhealthy("the node made no snapshot", got=status["message"] or status["state"])
    return status


def _fetch(client: NodeClient, made: Json, target: BinaryIO) -> None:
    """Write a snapshot's file part by part."""
    size, done = int(made["size_bytes"]), 0
    with progress("fetching", size) as bar:
        while done < size:
            part = client.call("admin_readSnapshot", name=made["name"], offset=done)
            try:
                data = base64.b64decode(part["data"], validate=True)
            except binascii.Error as error:
                raise InputError("the node's answer is not base64", got=error) from None
            if not data or done + len(data) > size:
                raise InputError("part of another snapshot", expected=f"{size} bytes in all", got=done + len(data))
            target.write(data)
            done += len(data)
            bar.advance(len(data))


@contextmanager
def _written(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a file, and where it lies until it is whole and gets its name."""
    from chainnode.files import PRIVATE_FILE_MODE, sync_directory

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        with os.fdopen(fd, "wb") as file:
            yield file, beside
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError("file cannot be written", where=str(path), got=error.strerror or error) from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _opened(path: Path) -> SnapshotFile:
    from chainnode.snapshot_file import SnapshotFile

    return SnapshotFile(path)


@contextmanager
def refused_snapshot(path: Path) -> Iterator[None]:
    """End with the status for what does not verify, and the file's name."""
    from chainnode.cli.exits import VerificationFailed
    from ledger.snapshots import SnapshotRefused

    try:
        yield
    except SnapshotRefused as error:
        raise VerificationFailed(
            error.what,
            where=f"{path}{': ' + error.where if error.where else ''}",
            expected=error.expected,
            got=error.got,
            hint=error.hint,
        ) from None


def _described(found: SnapshotFile) -> Json:
    from ledger.times import format_time

    manifest = found.manifest
    return {
        "file": str(found.path),
        "id": found.id.hex(),
        "chain_id": manifest.chain_id.hex(),
        "height": manifest.height,
        "time": format_time(manifest.header.time_ms),
        "epoch": manifest.header.epoch,
        "state_root": manifest.header.state_root.hex(),
        "log_size": manifest.header.first_index + manifest.header.event_count + 1,
        "members": manifest.members,
        "state_rows": manifest.state_rows,
        "chunks": len(manifest.chunks),
        "size_bytes": found.size_bytes,
    }
