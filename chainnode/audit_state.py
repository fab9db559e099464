"""What an auditor remembers between two runs, in one file that appears whole: policy, handovers, checkpoints.

The newest checkpoint of all nodes, the last one of each, and those that could not be compared yet. Whatever is read is
judged by the policy again. Not here: what was told (`chainnode.audit_findings`), how far entries were followed
(`chainnode.audit_entries`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chainnode.files import NotFound, read_file, write_file
from chainnode.ingest.json_text import parse_object
from chainnode.monitoring import Seen, Trust, step_of
from chainnode.watching import handover_of
from ledger.handovers import HANDOVERS_BYTES_MAX, HANDOVERS_MAX, Handover
from ledger.trust_policy import POLICY_SIZE_MAX
from primitives.encoding import encode
from primitives.errors import InputError
from primitives.notes import NOTE_BYTES_MAX

NODES_MAX: Final = 64
STATE_BYTES_MAX: Final = 2 * (POLICY_SIZE_MAX + 2 * (NODES_MAX + 1) * NOTE_BYTES_MAX + HANDOVERS_BYTES_MAX)
STATE_BRACKETS_MAX: Final = 64
_FIELDS: Final = {"policy", "handovers", "source", "note", "nodes", "kept"}


@dataclass(frozen=True, slots=True)
class Heads:
    """The newest checkpoint and the last one of each node, all of one history.

    `kept` has those of nodes that the policy accepts and that nobody could compare yet: they may prove a lie.
    """

    newest: Seen | None = None
    nodes: dict[str, Seen] = field(default_factory=dict)
    kept: dict[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A state file as it stands there, before anything of it is judged."""

    policy: str
    handovers: list[Handover]
    source: str
    note: str
    nodes: dict[str, str]
    kept: dict[str, str]


class StateFile:
    """The file in a state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Trust, Heads] | None:
        """Return what is remembered, None where nothing is. Raises InputError where it does not verify."""
        try:
            data = read_file(self.path, size_max=STATE_BYTES_MAX)
        except NotFound:
            return None
        try:
            held = parse_audit_state(data, where=str(self.path))
            trust = Trust(held.policy)
            known = dict(enumerate(held.handovers, trust.next_epoch or 0))
            newest = trust.accept(held.note, held.source, known.get)
            nodes, kept = (
                {name: trust.accept(note, name, known.get) for name, note in notes.items()}
                for notes in (held.nodes, held.kept)
            )
            return trust, Heads(newest, nodes, kept)
        except InputError as error:
            hint = "move the directory away to begin anew, and ask who changed it"
            raise step_of(error, str(self.path), hint) from None

    def write(self, trust: Trust, heads: Heads) -> None:
        """Remember these heads; on the disk on return."""
        assert heads.newest is not None, "there is nothing to remember before the first checkpoint"
        row: dict[str, Any] = {
            "policy": trust.policy_text,
            "handovers": [base64.b64encode(encode(each)).decode() for each in trust.handovers],
            "source": heads.newest.source,
            "note": heads.newest.note,
            "nodes": {name: seen.note for name, seen in heads.nodes.items()},
            "kept": {name: seen.note for name, seen in heads.kept.items()},
        }
        write_file(self.path, json.dumps(row, ensure_ascii=False, indent=1).encode() + b"\n")


def parse_audit_state(data: bytes, *, where: str) -> Remembered:
    """Return what a state file says; InputError where it is something else."""
    row = parse_object(data, where=where, size_max=STATE_BYTES_MAX, brackets_max=STATE_BRACKETS_MAX)
    row = {"kept": {}, **row}  # one that was written before these were kept
    handovers = row.get("handovers")
    texts = [row.get(name) for name in ("policy", "source", "note")]
    if row.keys() != _FIELDS or not all(isinstance(text, str) for text in texts):
        raise InputError("not an auditor's state", where=where, expected=", ".join(sorted(_FIELDS)))
    if not isinstance(handovers, list) or len(handovers) > HANDOVERS_MAX:
        raise InputError("not an auditor's state", where=where, expected=f"at most {HANDOVERS_MAX} handovers")
    if not _are_notes(row["nodes"]) or not _are_notes(row["kept"]):
        raise InputError("not an auditor's state", where=where, expected=f"notes of at most {NODES_MAX} nodes")
    handed = [handover_of(item, where) for item in handovers]
    return Remembered(row["policy"], handed, row["source"], row["note"], dict(row["nodes"]), dict(row["kept"]))


def _are_notes(value: object) -> bool:
    return isinstance(value, dict) and len(value) <= NODES_MAX and all(isinstance(n, str) for n in value.values())
