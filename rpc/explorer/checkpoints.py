"""Pages of checkpoints: those that are kept, with who signed each, and their notes to keep."""

from __future__ import annotations

import re
from typing import Any

from ledger.trust_policy import cosigner_key, log_key
from primitives.errors import ProofError
from primitives.keys import SIGNATURE_BYTES
from primitives.notes import TIMESTAMP_BYTES, NoteKey, parse_note
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Download, Page, ask, path_to
from rpc.explorer.people import Signers
from rpc.methods.proofs import ListedCheckpoint, get_checkpoint, get_checkpoints
from rpc.ports import Services
from rpc.types import time_text

_FILE = re.compile(r"(0|[1-9][0-9]{0,15})\.note")

Row = dict[str, Any]  # Any: what a template shows


def checkpoints(asked: Asked) -> Page:
    """The stable checkpoints that are kept, the newest first."""
    cursor = asked.word("cursor")
    found = ask(get_checkpoints, asked.services, limit=ROWS_A_PAGE, cursor=cursor)
    signers = Signers(asked.services)
    values = {
        "origin": found.origin,
        "checkpoints": [_row(asked.services, item, signers) for item in found.checkpoints],
        "first": path_to("checkpoints") if cursor else None,
        "more": path_to("checkpoints", cursor=found.cursor) if found.cursor else None,
        "marked": asked.word("size") or "",
    }
    return Page("checkpoints.html", "checkpoints.title", values, as_of=found.as_of)


def note(asked: Asked) -> Download:
    """The note of a checkpoint, as a file."""
    match = _FILE.fullmatch(asked.parts["file"])
    if match is None:
        raise invalid_params("not a checkpoint", where="path", expected="SIZE.note", got=asked.parts["file"])
    found = ask(get_checkpoint, asked.services, size=int(match[1]))
    return Download(f"checkpoint-{found.size}.note", found.note)


def _row(services: Services, item: ListedCheckpoint, signers: Signers) -> Row:
    return {
        "size": item.size,
        "root": item.root,
        "height": item.height,
        "note": item.note,
        "signatures": signatures(services, item, signers),
    }


def signatures(services: Services, item: ListedCheckpoint, signers: Signers) -> list[Row]:
    """Return the lines of a checkpoint's note: whose they claim to be, as what, and from when.

    A line is a validator's where its key's id is; nothing is verified here, which is what the browser is for.
    """
    known = _keys(services, item, signers)
    try:
        lines = parse_note(item.note).signatures
    except ProofError:
        return []
    found = []
    for line in lines:
        is_cosignature = len(line.signature) == TIMESTAMP_BYTES + SIGNATURE_BYTES
        time_s = int.from_bytes(line.signature[:TIMESTAMP_BYTES], "big") if is_cosignature else None
        validator = known.get((line.name, line.key_id))
        role = ("cosigner" if validator else "witness") if is_cosignature else "log"
        found.append({"name": line.name, "validator": validator, "role": role, "time": _time(time_s)})
    return found


def _keys(services: Services, item: ListedCheckpoint, signers: Signers) -> dict[tuple[str, bytes], str]:
    """Return the names of validators by the name and id of their keys, of the epoch that a checkpoint is of."""
    found = None if item.height is None else signers.set_of(int(services.reads.epoch_at_size(item.size)))
    genesis, known = services.reads.genesis, dict[tuple[str, bytes], str]()
    for validator in () if found is None else found.validators:
        keys: tuple[NoteKey, ...] = (log_key(genesis, validator), cosigner_key(genesis, validator))
        known |= {(key.name, key.key_id): validator.name for key in keys}
    return known


def _time(time_s: int | None) -> str | None:
    """Return a cosignature's time as text; None where it is beyond what a calendar holds."""
    return time_text(time_s * 1_000) if time_s is not None and time_s < LAST_SECOND else None


LAST_SECOND = 253_402_300_800  # the year 10000
