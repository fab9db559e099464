"""`audit entry` and `audit verify-entry`: that an event stands in the log, proved from a mirror and no node.

Here: reading the mirror, and messages. Not here: the proof (`ledger.entry_proofs`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.mirror import TIMEOUT_S, judged, open_sources
from chainnode.cli.output import progress, say, show, show_verdict
from primitives.errors import InputError, ProofError

if TYPE_CHECKING:
    from chainnode.log_source import LogSource
    from ledger.entry_proofs import EntryVerdict
    from ledger.handovers import Handover

HEADER_KIND = 0


@click.command()
@click.argument("event_id")
@click.option("--mirror", "place", required=True, metavar="DIR|URL", help="Where the log's tiles and entries lie.")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write the proof here. [default: stdout]")
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy it is for.")
def entry(event_id: str, place: str, target: Path | None, from_epoch: int) -> None:
    """Prove from a mirror that EVENT_ID (or a block's hash) stands in the log, as a C2SP .tlog-proof.

    It does not say what became of the event: that is in the receipt, which a node gives (`chainnode prove`). A mirror
    has no index: its hashes are looked through, the newest first.
    """
    from chainnode.cli.exits import Missing

    leaf = bytes.fromhex(event_id_of(event_id))
    if not Path(place).is_dir() and not any(mark in place for mark in ("//", ":")):
        raise Missing("no mirror is here", where=place, expected="a directory, or a URL such as http://127.0.0.1:8080")
    where = f"file://{Path(place).absolute()}" if Path(place).is_dir() else place
    with open_sources((where,), TIMEOUT_S) as sources, judged(), progress("tiles", None) as bar:
        text = _proof(sources[0], leaf, from_epoch, bar.advance)
    if target is None:
        click.echo(text, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, text.encode())
    say(f"proof written to {target}; verify it with `chainnode audit verify-entry {target} --policy POLICY`")
    if settings().machine:
        show({"event_id": event_id, "file": str(target)})


def _proof(source: LogSource, leaf: bytes, from_epoch: int, advance: Any) -> str:  # Any: a bar's method
    from chainnode.cli.exits import Missing
    from chainnode.log_source import read_tile
    from ledger.entry_proofs import find_leaf, make_entry_proof
    from ledger.log_tiles import TILE_WIDTH
    from ledger.signed_trees import SignedTree, TileSource
    from ledger.tile_paths import CHECKPOINT_PATH, Tile, check_bundle, parse_bundle
    from primitives.notes import NOTE_BYTES_MAX, parse_checkpoint, parse_note

    def read(tile: Tile) -> bytes | None:
        advance()
        return read_tile(source, tile)

    def refuse(name: str, error: ProofError) -> None:
        del name
        raise error

    data = source.get(CHECKPOINT_PATH, NOTE_BYTES_MAX)
    if data is None:
        raise Missing("no log is there", where=source.name, expected="a checkpoint")
    note = data.decode("utf-8", "replace")
    tree = SignedTree(parse_checkpoint(parse_note(note).text), [TileSource(source.name, read)], refuse)
    index = find_leaf(tree, leaf) if tree.size else None
    if index is None:
        raise Missing("the log has no such entry", where=source.name, got=leaf.hex())
    hashes, bundle = tree.bundle(index // TILE_WIDTH, check_bundle)
    found = parse_bundle(bundle, len(hashes) // len(leaf))[index % TILE_WIDTH]
    return make_entry_proof(tree, note, index, found, _handovers(source, from_epoch))


def _handovers(source: LogSource, epoch: int) -> list[Handover]:
    """Return the changes of validators from an epoch on that are there; whoever verifies the proof judges them."""
    from chainnode.monitoring import fetch_handover
    from ledger.handovers import HANDOVERS_MAX

    found: list[Handover] = []
    while len(found) < HANDOVERS_MAX and (one := fetch_handover(source, epoch + len(found))) is not None:
        found.append(one)
    return found


@click.command("verify-entry")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), required=True, help="The trusted policy.")
@click.option("--event", "event_id", help="It must be of this event (or of the block with this hash).")
def verify_entry(file: Path, policy_file: Path, event_id: str | None) -> None:
    """Verify offline that the entry in FILE stands in the log. Status 3 where it does not hold."""
    from chainnode.cli.proofs import file_text, policy_text, refused
    from ledger.entry_proofs import verify_entry as verified

    wanted = None if event_id is None else event_id_of(event_id)
    policy, proof = policy_text(policy_file), file_text(file)
    try:
        verdict = verified(proof, policy)
        if wanted not in (None, verdict.leaf.hex()):
            raise ProofError("proof of another entry", expected=wanted, got=verdict.leaf)
    except InputError as error:
        raise refused(str(file), error, error.hint or "do not rely on it") from None
    row = _row(verdict)
    if settings().machine:
        show({"verified": True, **row})
        return
    size = verdict.checked.checkpoint.size
    show_verdict(f"{row['what']} stands at {verdict.index} in the log of {size} entries")
    show({name: value for name, value in row.items() if name != "what"})


def _row(verdict: EntryVerdict) -> dict[str, Any]:
    from ledger.events import Event
    from ledger.registry import KINDS
    from primitives.block import BlockHeader
    from primitives.encoding import decode

    kind, data = verdict.entry[0], verdict.entry[1:]
    checked = verdict.checked
    row: dict[str, Any] = {"leaf": verdict.leaf.hex(), "index": verdict.index, "origin": checked.checkpoint.origin}
    if kind == HEADER_KIND:
        header = decode(BlockHeader, data, size_max=len(data))
        row |= {"what": f"the header of block {header.height}", "height": header.height, "events": header.event_count}
    else:
        event = decode(Event, data, size_max=len(data))
        name = KINDS[kind].name if kind in KINDS else str(kind)
        row |= {"what": f"{name} of {event.member}", "kind": name, "member": event.member}
    return row | {
        "log_size": checked.checkpoint.size,
        "epoch": checked.epoch,
        "cosigners": list(checked.cosigners),
    }
