"""`archive`: bodies of old batches in segments beside the store: move, list, verify, put back.

Moving and listing go through the running node where one runs on the home, since LevelDB admits one process; otherwise
they open the store themselves. Verifying and adding read files alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import progress, say, show, show_rows
from primitives.errors import ChainError

if TYPE_CHECKING:
    from chainnode.archive_files import ArchiveDirectory, Archives
    from chainnode.cli.output import Progress
    from chainnode.config import NodeConfig
    from chainnode.home import Home
    from ledger.store_leveldb import LevelDBStore

POLL_S: Final = 0.2
COLUMNS: Final = (
    "first_height",
    "last_height",
    "batches",
    "events",
    "body_bytes",
    "segment_bytes",
    "moved",
    "by",
    "state",
)


@click.group(cls=Group)
def archive() -> None:
    """Bodies of old batches in segments beside the store."""


@archive.command()
@click.option("--height", type=click.IntRange(1), help="Move bodies of blocks up to this one. [default: all that may]")
@click.option("--older-than", "days", type=click.IntRange(1), metavar="DAYS", help="Move what is older than this.")
def create(height: int | None, days: int | None) -> int:
    """Move bodies of old batches from the node's store to its archive, and tell what that freed on the disk.

    Bodies of the newest 256 blocks stay, as do those above the newest stable checkpoint.
    """
    from chainnode.home import HomeInUse

    options = settings()
    if options.home is not None and options.endpoint is None:
        home = options.require_home()
        config = options.load_config(home).config
        home.check()
        try:
            if home.data.is_dir():
                with home.lock():
                    return _move_here(home, config, height, days)
        except HomeInUse:
            pass
    return _move_there(height, days)


def _move_here(home: Home, config: NodeConfig, height: int | None, days: int | None) -> int:
    """Move the bodies of a stopped node's store."""
    from chainnode.archive import Mover, size_on_disk
    from chainnode.archive_files import open_archives
    from chainnode.archive_keeper import order_height
    from chainnode.founding import read_genesis
    from ledger.archive_store import ArchivedStore
    from ledger.index_places import packed_of
    from ledger.packed_map import BUILD_AGAIN
    from ledger.reader import LedgerReader
    from ledger.store_leveldb import LevelDBStore

    genesis = read_genesis(home.genesis)
    archives = open_archives(home, config.ledger, genesis.chain_id)
    store, reached = _store(home, config), None
    try:
        if home.index.is_dir():
            index = LevelDBStore(home.index, remedy=BUILD_AGAIN)
            try:
                reached = packed_of(index)
            finally:
                index.close()
        reader = LedgerReader(ArchivedStore(store, archives), genesis)
        now_ms = time.time_ns() // 1_000_000
        upto = order_height(reader, None if reached is None else reached.height, height, days, now_ms)
        mover = Mover(
            store, reader, archives.directories[0], now_ms=lambda: now_ms, compact=store.compact,
            measure=lambda: size_on_disk(store.path),
        )  # fmt: skip
        with progress("moving", None) as bar:
            for step in mover.run(upto, "operator"):
                bar.describe(f"{step.doing} block {step.height} of {step.upto}")
    finally:
        store.close()
    show(mover.report.as_row())
    return 0


def _store(home: Home, config: NodeConfig) -> LevelDBStore:
    """Open a stopped node's store; `NotFound` where there is none, so that none is made."""
    from chainnode.files import NotFound
    from ledger.store_leveldb import LevelDBStore

    path = home.resolve(config.ledger.path)
    if not path.is_dir():
        raise NotFound("there is no store", where=str(path), hint="start the node: it fetches the chain from its peers")
    return LevelDBStore(path)


def _move_there(height: int | None, days: int | None) -> int:
    """Ask the running node to move bodies, and wait until it has."""
    client = settings().client(token=True)
    wanted = {"height": height, "older_than_days": days}
    client.call("admin_archive", **{name: value for name, value in wanted.items() if value is not None})
    with progress("moving", None) as bar:
        while (found := client.call("ledger_getArchive"))["running"]:
            bar.describe(f"{found['doing']} block {found['height']} of {found['upto']}")
            time.sleep(POLL_S)
    if found["problem"] or found["report"] is None:
        raise ChainError(f"bodies were not moved: {found['problem'] or 'the node was stopped'}")
    show({name: int(value) if float(value).is_integer() else value for name, value in found["report"].items()})
    return 0


@archive.command("list")
def list_() -> int:
    """List what was moved, when and by whom, and whether the archive still has it. Status 3 where some is missing."""
    from chainnode.home import HomeInUse

    options = settings()
    found: dict[str, Any] | None = None
    home = config = None
    if options.home is not None:
        home = options.require_home()
        config = options.load_config(home).config
        home.check()
        try:
            if options.endpoint is None and home.data.is_dir():
                with home.lock():
                    found = _recorded(home, config)
        except HomeInUse:
            pass
    if found is None:
        found = options.client().call("ledger_getArchive")
    archives = None if home is None or config is None else _archives(home, config)
    rows = [_row(item, archives) for item in reversed(found["segments"])]
    show_rows(rows, columns=COLUMNS, wrap="segments")
    if found["missing_height"]:
        say(f"bodies of block {found['missing_height']}, and maybe of others below, are in no archive here")
    return 3 if found["missing_height"] or any(row["state"] not in ("", "here") for row in rows) else 0


def _row(item: dict[str, Any], archives: Archives | None) -> dict[str, Any]:
    """Return a row of the list; what another node moved of the same blocks is as good as what this one did."""
    from ledger.times import format_time

    state = ""
    if archives is not None:
        lacking = archives.missing_height(int(item["first_height"]) - 1, int(item["last_height"]))
        state = f"missing at block {lacking}" if lacking else "here"
    return {**item, "moved": format_time(item["time_ms"]), "state": state}


def _recorded(home: Home, config: NodeConfig) -> dict[str, Any]:
    """Return what a stopped node's store says of its archive."""
    import msgspec

    from ledger.archive_store import archived_rows, moved_height
    from ledger.base import read_base

    archives, store = _archives(home, config), _store(home, config)
    try:
        found = [msgspec.structs.asdict(row) for row in archived_rows(store)]
        missing = archives.missing_height(int(read_base(store).height), int(moved_height(store)))
    finally:
        store.close()
    return {"segments": [{**row, "segment": row["segment"].hex()} for row in found], "missing_height": missing}


def _archives(home: Home, config: NodeConfig) -> Archives:
    from chainnode.archive_files import open_archives
    from chainnode.founding import read_genesis

    return open_archives(home, config.ledger, read_genesis(home.genesis).chain_id, say)


@archive.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), help="Verify that it is of this chain, from its genesis on."
)
@click.option("--policy", type=click.Path(path_type=Path), help="Verify its signed checkpoints by this policy.")
def verify(directory: Path, genesis: Path | None, policy: Path | None) -> int:
    """Verify an archive offline: every hash, every batch against its block and its source's signature.

    With --genesis that the blocks follow from it, with --policy that signed checkpoints cover them. Status 3 where
    something is wrong; the segment and the part are named.
    """
    from chainnode.archive_checking import check_archive
    from chainnode.founding import read_genesis

    policy_text = None if policy is None else policy.read_text("utf-8")
    chain = None if genesis is None else read_genesis(genesis)
    with progress("verifying", None) as bar:
        report = check_archive(directory, chain, policy_text, step=bar.describe)
    show(report.as_row())
    return 3 if report.problem else 0


@archive.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), help="The archive to add to. [default: the home's]")
@click.option("--genesis", type=click.Path(path_type=Path), help="The chain's genesis. [default: the home's]")
def add(source: Path, target: Path | None, genesis: Path | None) -> int:
    """Take over segments of another archive, such as a peer's or a backup, where they are missing or damaged here.

    Each is verified first. A running node reads them from then on. SOURCE may be the archive itself: its manifest is
    then written anew from its good segments, as it is where it is found damaged.
    """
    from chainnode.archive_files import ArchiveDirectory
    from chainnode.founding import read_genesis

    options = settings()
    if target is None or genesis is None:
        home = options.require_home()
        target = target or home.resolve(options.load_config(home).config.ledger.archive_path)
        genesis = genesis or home.genesis
    chain_id = read_genesis(genesis).chain_id
    own, other = ArchiveDirectory.at(target, chain_id), ArchiveDirectory.at(source, chain_id)
    with own.disk.lock(), progress("adding", None) as bar:
        row = _relisted(own, bar) if source.resolve() == target.resolve() else _take(own, other, bar)
    show(row)
    return 0


def _relisted(own: ArchiveDirectory, bar: Progress) -> dict[str, Any]:
    from chainnode.archive_checking import driven

    found = driven(own.relist(tell=say), lambda: bar.describe("verifying"))
    return {"archive": own.where, "added": 0, "already_there": len(found)}


def _take(own: ArchiveDirectory, other: ArchiveDirectory, bar: Progress) -> dict[str, Any]:
    from chainnode.archive_checking import driven
    from chainnode.files import NotFound
    from ledger.archive import ArchiveDamaged

    def tell() -> None:
        bar.advance()

    try:
        own.manifest()
    except ArchiveDamaged as error:
        say(f"{error}; it is made anew from the segments")
        driven(own.relist(tell=say), tell)
    try:
        entries = list(other.manifest().segments)
    except ArchiveDamaged as error:
        say(str(error))
        entries = []
    entries = entries or driven(other.described(tell=say), tell)
    added = kept = 0
    for entry in entries:
        bar.describe(entry.name)
        if driven(own.is_sound(entry), tell):
            kept += 1
            continue
        driven(own.take(other, entry), tell)
        added += 1
    if not entries:
        raise NotFound("no archive of this chain", where=other.where, expected="a manifest or segments")
    return {"archive": own.where, "added": added, "already_there": kept}
