"""Checkpoints that outside witnesses cosigned: which are kept, and which one a proof is best made under.

A witness cosigns a second or so after a checkpoint is stable, and not each of them. So the newest one of each witness
is kept in a row of its own, and a proof of anything that it covers is made under it, even where newer ones stand. Pure.
Not here: asking witnesses (`chainnode.witness_client`), whose word counts (a policy).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ledger import rows
from ledger.checkpoint_rows import checkpoint_view
from ledger.reader import LedgerReader
from ledger.store import Put, StagedStore, Store
from ledger.views import CheckpointView
from primitives.notes import Note, NoteKey, parse_checkpoint, parse_note

WITNESSES_MAX = 8
"""Witnesses of a node, and names that a proof can be asked to bear: their lines go with every proof."""


def witnessed_rows(note_text: str, witnesses: Iterable[NoteKey]) -> list[Put]:
    """Return the rows of a checkpoint's note that these witnesses have cosigned now."""
    note = note_text.encode()
    size = parse_checkpoint(parse_note(note_text).text).size
    return [
        (rows.checkpoint_key(size), note),
        *((rows.witness_key(key.key_id, key.name), note) for key in witnesses),
    ]


def forgotten_rows(store: Store | StagedStore, witnesses: Collection[NoteKey]) -> list[Put]:
    """Return the rows that drop what is kept of all witnesses but these."""
    kept = {rows.witness_key(key.key_id, key.name) for key in witnesses}
    return [(key, None) for key, _ in store.iterate(*rows.all_of(b"w")) if key not in kept]


def witnessed_by(reader: LedgerReader, witness: NoteKey) -> CheckpointView | None:
    """Return the newest checkpoint that a witness cosigned; None where there is none."""
    data = reader.store.get(rows.witness_key(witness.key_id, witness.name))
    return None if data is None else checkpoint_view(data)


def checkpoint_for_proof(
    reader: LedgerReader, size_min: int = 0, witnesses: Collection[str] = ()
) -> CheckpointView | None:
    """Return the checkpoint of at least `size_min` leaves that most witnesses cosigned, the newest of several.

    With `witnesses`, key names, only one that all of these have cosigned. None where there is none.
    """
    held = [(rows.parse_witness(key), checkpoint_view(data)) for key, data in _rows(reader)]
    known = [line for line, _ in held]
    newest = reader.checkpoint(size_min)
    if not known:
        return None if witnesses else newest
    views = [view for _, view in held if view.size >= size_min]
    best: tuple[tuple[int, int], CheckpointView] | None = None
    for view in [*views, *([] if newest is None else [newest])]:
        names = _names(parse_note(view.note), known)
        rank = (len(names), view.size)
        if set(witnesses) <= names and (best is None or rank >= best[0]):
            best = (rank, view)
    return None if best is None else best[1]


def _rows(reader: LedgerReader) -> Iterator[tuple[bytes, bytes]]:
    return reader.store.iterate(*rows.all_of(b"w"))


def _names(note: Note, known: Collection[tuple[bytes, str]]) -> set[str]:
    """Return the names of the known witnesses that have a line in a note."""
    lines = {(line.key_id, line.name) for line in note.signatures}
    return {name for key_id, name in known if (key_id, name) in lines}
