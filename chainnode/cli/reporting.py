"""Who reports, as the global options say: from --home, or from what lies beside the --as key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainnode.cli.context import settings
from chainnode.cli.output import say

if TYPE_CHECKING:
    from chainnode.ingest.context import IngestContext
    from chainnode.ingest.privacy import EventKeyOf
    from chainnode.reporting import Announced, ReporterFiles


def reporter_files() -> ReporterFiles:
    """Return the files of the member for whom the global options act."""
    from chainnode.reporting import ReporterFiles, files_of_home

    options = settings()
    if options.as_key is not None:
        member, folder = options.require_key().member, options.as_key.parent
        return ReporterFiles(
            member=member,
            genesis=folder.parent / "genesis.json",
            secret=folder / f"{member}-reporter.secret",
            pairs=folder / f"{member}-pairs.json",
            cards=folder / f"{member}-cards.json",
            pairing=folder / f"{member}-pairing",
            private=folder / f"{member}-private",
        )
    home = options.require_home()
    home.check()
    return files_of_home(home, options.load_config(home).config.node.member)


def make_ingest_context(
    *, clear_amounts: bool, received_ms: int, offline: bool = False, event_key_of: EventKeyOf | None = None
) -> IngestContext:
    """Return who reports and with which secrets.

    `offline` takes the secrets that were handed over by hand where no node says what was announced.
    """
    from chainnode.reporting import reporter_context

    files = reporter_files()
    return reporter_context(
        files,
        _announced(files, offline=offline),
        clear_amounts=clear_amounts,
        received_ms=received_ms,
        event_key_of=event_key_of,
    )


def _announced(files: ReporterFiles, *, offline: bool) -> Announced | None:
    """Return which pairing keys were announced; None where the member has none, so that nobody is asked."""
    from chainnode.client import Unreachable
    from chainnode.pairing import announced_keys

    if not files.pairing.is_dir() or not files.genesis.exists():
        return None
    try:
        return announced_keys(settings().client(token=True))
    except Unreachable:
        if not offline:
            raise
        say("no node says which pairing keys were announced: shown with the secrets of pairs.json")
        return None
