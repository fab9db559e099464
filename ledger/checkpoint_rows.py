"""Stable checkpoints in the store: a row for each, the whole signed note under the log's size, the oldest dropped.

Who looks one up is `ledger.reader`; when they are stable is the replica's to say.
"""

from ledger import rows
from ledger.store import Put, StagedStore, Store
from ledger.views import CheckpointView
from primitives.errors import ProofError, StorageError
from primitives.notes import parse_checkpoint, parse_note

CHECKPOINTS_KEPT = 128


def checkpoint_view(data: bytes) -> CheckpointView:
    """Return a checkpoint's row; StorageError where the disk gave back other bytes than were written."""
    try:
        text = data.decode()
        checkpoint = parse_checkpoint(parse_note(text).text)
    except (UnicodeDecodeError, ProofError) as error:
        raise StorageError(
            "row of the store damaged",
            where="checkpoint",
            got=error,
            hint="run `chainnode fsck`, then restore or catch up",
        ) from None
    return CheckpointView(checkpoint.size, checkpoint.root, text)


def checkpoint_rows(store: Store | StagedStore, note: str) -> list[Put]:
    """Return the rows that store a stable checkpoint (the whole note) and drop the oldest beyond CHECKPOINTS_KEPT."""
    size = parse_checkpoint(parse_note(note).text).size
    start, stop = rows.all_of(b"c")
    kept = [key for key, _ in store.iterate(start, stop)]
    excess = max(0, len(kept) + 1 - CHECKPOINTS_KEPT)
    return [(rows.checkpoint_key(size), note.encode()), *((key, None) for key in kept[:excess])]
