"""Who reports and with which secrets, as the global options say: from --home, or from what lies beside the --as key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chainnode.cli.context import settings
from chainnode.cli.output import say

if TYPE_CHECKING:
    from chainnode.ingest.card_network import CardNetwork
    from chainnode.ingest.context import Agreed, IngestContext
    from chainnode.ingest.privacy import EventKeyOf


@dataclass(frozen=True, slots=True)
class ReporterFiles:
    """Where a member keeps what turns its messages into statements; any of them may be absent."""

    member: str
    genesis: Path
    secret: Path
    pairs: Path
    cards: Path
    pairing: Path
    private: Path


def reporter_files() -> ReporterFiles:
    """Return the files of the member for whom the global options act."""
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
    member = options.load_config(home).config.node.member
    return ReporterFiles(member, home.genesis, home.reporter, home.pairs, home.cards, home.pairing, home.private)


def make_ingest_context(
    *, clear_amounts: bool, received_ms: int, offline: bool = False, event_key_of: EventKeyOf | None = None
) -> IngestContext:
    """Return who reports and with which secrets.

    `offline` takes the secrets that were handed over by hand where no node says what was announced.
    """
    from chainnode.founding import read_genesis
    from chainnode.identity import read_hex_secret, read_pairs
    from chainnode.ingest.context import make_context
    from primitives.ids import TimeMs

    files = reporter_files()
    genesis = read_genesis(files.genesis) if files.genesis.exists() else None
    members = genesis.members if genesis is not None else ()
    return make_context(
        files.member,
        {agent: each.id for each in members for agent in each.agents},
        # Without secrets events in JSON form still pass; payments are refused when they are read.
        read_hex_secret(files.secret) if files.secret.exists() else bytes(32),
        read_pairs(files.pairs),
        is_switch=any(each.id == files.member and "switch" in each.roles for each in members),
        clear_amounts=clear_amounts,
        card_network=_card_network(files.cards),
        received_ms=TimeMs(received_ms),
        agreed=None if genesis is None else _agreed(genesis.chain_id, files, offline=offline),
        event_key_of=event_key_of,
    )


def _card_network(path: Path) -> CardNetwork:
    """Return what the bank wrote down about its card network; an empty one where there is no such file."""
    from chainnode.files import read_file
    from chainnode.ingest.card_network import FILE_SIZE_MAX, NO_CARD_NETWORK, parse_card_network

    if not path.exists():
        return NO_CARD_NETWORK
    return parse_card_network(read_file(path, size_max=FILE_SIZE_MAX), where=str(path))


def _agreed(chain_id: bytes, files: ReporterFiles, *, offline: bool) -> Agreed | None:
    """Return what the member agrees on with others; None where it has no pairing keys, so that nobody is asked."""
    from chainnode.client import Unreachable
    from chainnode.pairing import agreements_of, announced_keys

    if not files.pairing.is_dir():
        return None
    try:
        announced = announced_keys(settings().client(token=True))
    except Unreachable:
        if not offline:
            raise
        say("no node says which pairing keys were announced: shown with the secrets of pairs.json")
        return None
    return agreements_of(chain_id, files.member, files.pairing, announced).secret_with
