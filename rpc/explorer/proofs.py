"""The steps by which a reader can believe an answer, for pages to list and for a browser to fill in.

The names of the steps are those of docs/proofs.md, which every verifier gives back where one fails. What stands here
beside them is what this node says: nothing is verified by listing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rpc.methods.blocks import BlockResult
from rpc.methods.events import EventResult


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its name, the keys of its texts (`step.GROUP.title` and `.text`), and the values to be checked."""

    name: str
    group: str
    values: tuple[tuple[str, str], ...] = ()


# What every proof begins with.
COMMON: Final = (
    Step("policy", "policy"),
    Step("proof", "proof"),
    Step("checkpoint", "checkpoint"),
    Step("log signature", "log_signature"),
    Step("cosignatures", "cosignatures"),
)


def event_steps(event: EventResult, block: BlockResult) -> list[Step]:
    """Return the steps of an event's receipt."""
    header = block.header
    return [
        *COMMON,
        Step("event", "event", (("event.id", event.id), ("event.log_index", str(event.log_index)))),
        Step("header", "header", (("block.hash", block.hash), ("block.height", str(header.height)))),
        Step("outcome", "outcome", (("header.outcomes_root", header.outcomes_root),)),
        Step("batch", "batch", (("event.batch_hash", event.batch_hash), ("header.batches_root", header.batches_root))),
        Step("source signature", "source_signature", (("event.source", event.source),)),
    ]


def status_steps(number: str, height: int, state_root: str | None) -> list[Step]:
    """Return the steps of a certificate's status proof."""
    return [
        *COMMON,
        Step("header", "header", (("block.height", str(height)),)),
        Step("state", "state", () if state_root is None else (("header.state_root", state_root),)),
        Step("next header", "next_header"),
        Step("time", "time"),
        Step("certificate", "certificate", (("certificate.number", number),)),
    ]


def history_steps(number: str, count: int, chain: str) -> list[Step]:
    """Return the steps of the proof of a certificate's history."""
    return [
        *COMMON,
        Step("header", "header"),
        Step("state", "state"),
        Step("next header", "next_header"),
        Step("certificate", "certificate", (("certificate.number", number),)),
        Step("event", "events_of_history", (("history.count", str(count)),)),
        Step("history", "history", (("history.hash", chain),)),
    ]


def completeness_steps(member: str) -> list[Step]:
    """Return the steps of the proof that a member submitted no more."""
    return [
        *COMMON,
        Step("header", "header"),
        Step("blocks", "blocks"),
        Step("range", "range", (("member.id", member),)),
        Step("batches", "batches"),
        Step("times", "times"),
    ]


def block_steps(block: BlockResult) -> list[Step]:
    """Return the steps by which a browser verifies a block's header."""
    header = block.header
    return [
        Step("policy", "policy"),
        Step("header", "block_header", (("block.hash", block.hash), ("block.height", str(header.height)))),
        Step("votes", "votes"),
    ]


def payment_steps() -> list[Step]:
    """Return the steps of a payment: one receipt for each statement."""
    return [Step("receipts", "receipts")]
