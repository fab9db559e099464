"""Who reports and with which secrets: a member's files, and the context that they give for reading its messages.

Here: which files, and what follows from them. Not here: whose they are (global options of the command line, or a
node's home) and which pairing keys were announced (the chain).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chainnode.files import read_file
from chainnode.founding import read_genesis
from chainnode.identity import read_hex_secret, read_pairs
from chainnode.ingest.card_network import FILE_SIZE_MAX, NO_CARD_NETWORK, CardNetwork, parse_card_network
from chainnode.ingest.context import IngestContext, make_context
from chainnode.pairing import agreements_of
from ledger.pairing_keys import PairingKey
from primitives.errors import UsageError
from primitives.ids import TimeMs

if TYPE_CHECKING:
    from chainnode.home import Home
    from chainnode.ingest.privacy import EventKeyOf

Announced = Mapping[str, tuple[PairingKey, ...]]
"""Each member's pairing keys, ascending by day."""


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


def files_of_home(home: Home, member: str) -> ReporterFiles:
    """Return the files of the member whose node has this home."""
    return ReporterFiles(member, home.genesis, home.reporter, home.pairs, home.cards, home.pairing, home.private)


def reporter_context(
    files: ReporterFiles,
    announced: Announced | None,
    *,
    clear_amounts: bool,
    received_ms: int,
    event_key_of: EventKeyOf | None,
) -> IngestContext:
    """Return who reports and with which secrets; with `announced` None only with those that were handed over by hand.

    Without a reporter secret there is a context too: events in JSON form need none (`check_has_secrets`).
    """
    genesis = read_genesis(files.genesis) if files.genesis.exists() else None
    members = genesis.members if genesis is not None else ()
    agreed = None
    if genesis is not None and announced is not None and files.pairing.is_dir():
        agreed = agreements_of(genesis.chain_id, files.member, files.pairing, announced).secret_with
    return make_context(
        files.member,
        {agent: each.id for each in members for agent in each.agents},
        read_hex_secret(files.secret) if files.secret.exists() else bytes(32),
        read_pairs(files.pairs),
        is_switch=any(each.id == files.member and "switch" in each.roles for each in members),
        clear_amounts=clear_amounts,
        card_network=_card_network(files.cards),
        received_ms=TimeMs(received_ms),
        agreed=agreed,
        event_key_of=event_key_of,
    )


def check_has_secrets(context: IngestContext) -> None:
    """Raise `UsageError` where the member has no secret of its own: its payments cannot be stated."""
    if not any(context.secrets.reporter):
        raise UsageError(
            "payments need the member's secrets",
            hint="submit them with --home, or keep MEMBER-reporter.secret and MEMBER-pairs.json beside the key",
        )


def _card_network(path: Path) -> CardNetwork:
    """Return what the bank wrote down about its card network; an empty one where there is no such file."""
    if not path.exists():
        return NO_CARD_NETWORK
    return parse_card_network(read_file(path, size_max=FILE_SIZE_MAX), where=str(path))
