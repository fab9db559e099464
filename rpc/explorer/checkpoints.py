"""Pages of checkpoints: those that are kept, who signed each, their notes, and the proof that one extends another."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from ledger.trust_policy import cosigner_key, log_key
from primitives.errors import ProofError
from primitives.keys import SIGNATURE_BYTES
from primitives.notes import TIMESTAMP_BYTES, NoteKey, parse_note
from rpc.errors import Code, RpcError, invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Download, Page, ask, path_to
from rpc.explorer.charts import chart
from rpc.explorer.people import Signers
from rpc.methods.proofs import ListedCheckpoint, get_checkpoint, get_checkpoints, get_consistency
from rpc.ports import Services
from rpc.types import time_text

_FILE = re.compile(r"(0|[1-9][0-9]{0,15})\.note")
_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")

Row = dict[str, Any]  # Any: what a template shows


def checkpoints(asked: Asked) -> Page:
    """The stable checkpoints that are kept, the newest first."""
    cursor = asked.word("cursor")
    found = ask(get_checkpoints, asked.services, limit=ROWS_A_PAGE, cursor=cursor)
    signers = Signers(asked.services)
    rows = [_row(asked.services, item, signers) for item in found.checkpoints]
    for row, before in pairwise(rows):
        row["before"] = before["size"]
    grown = [row for row in reversed(rows) if row["time"] is not None]
    values = {
        "origin": found.origin,
        "checkpoints": rows,
        "grown": grown,
        "chart": chart([row["size"] for row in grown]),
        "first": path_to("checkpoints") if cursor else None,
        "more": path_to("checkpoints", cursor=found.cursor) if found.cursor else None,
        "marked": asked.word("size") or "",
    }
    return Page("checkpoints.html", "checkpoints.title", values, as_of=found.as_of)


def consistency(asked: Asked) -> Page:
    """The proof that the log of one size begins with that of another: hashes, for the browser to verify."""
    old, new = (_size(asked, name) for name in ("old", "new"))
    found = ask(get_consistency, asked.services, old_size=old, new_size=new)
    sides = [
        {"size": size, "root": root, "note": _kept_note(asked.services, size, root)}
        for size, root in ((found.old_size, found.old_root), (found.new_size, found.new_root))
    ]
    asked_for = {"old_size": found.old_size, "new_size": found.new_size}
    call = {"jsonrpc": "2.0", "id": 1, "method": "ledger_getConsistency", "params": asked_for}
    values = {
        "sides": sides,
        "path": found.path,
        "grown": found.new_size - found.old_size,
        "whole": all(side["note"] is not None for side in sides),
        "command": f"curl -s NODE -H 'Content-Type: application/json' -d '{json.dumps(call)}'",
    }
    named = {"old": f"{found.old_size:,}", "new": f"{found.new_size:,}"}
    return Page("consistency.html", "consistency.title", values, named, as_of=found.as_of)


def _size(asked: Asked, name: str) -> int:
    text = asked.word(name) or ""
    if not _SIZE.fullmatch(text):
        raise invalid_params("not the size of a log", where=name, expected="a number", got=text or "nothing")
    return int(text)


def _kept_note(services: Services, size: int, root: str) -> str | None:
    """Return the signed note of a size, None where it is not kept, or is of another root."""
    try:
        found = ask(get_checkpoint, services, size=size)
    except RpcError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None
    return found.note if found.root == root else None


def note(asked: Asked) -> Download:
    """The note of a checkpoint, as a file."""
    match = _FILE.fullmatch(asked.parts["file"])
    if match is None:
        raise invalid_params("not a checkpoint", where="path", expected="SIZE.note", got=asked.parts["file"])
    found = ask(get_checkpoint, asked.services, size=int(match[1]))
    return Download(f"checkpoint-{found.size}.note", found.note)


def _row(services: Services, item: ListedCheckpoint, signers: Signers) -> Row:
    signed = signatures(services, item, signers)
    return {
        "size": item.size,
        "root": item.root,
        "height": item.height,
        "note": item.note,
        "signatures": signed,
        "time": max((line["time"] for line in signed if line["time"] is not None), default=None),
        "cosigners": sum(line["role"] == "cosigner" for line in signed),
        "witnesses": sum(line["role"] == "witness" for line in signed),
        "before": None,
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
