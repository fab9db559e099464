#!/usr/bin/env python3
"""Verify that a list of events is complete, offline: all of a member, or the whole history of a certificate.

    python verify_completeness.py FILE --policy POLICY --member ID         all events of a member in a range of heights
    python verify_completeness.py FILE --policy POLICY --certificate NO    all events that made a certificate's record

FILE holds one proof or several, a page each, as `chainnode audit completeness` and `chainnode cert history` write
them. It needs `verify_receipt.py` beside it and shares no code with the node. What is checked, and what is printed, is
as said there and in docs/proofs.md.
"""

import argparse
import sys
from itertools import pairwise
from typing import Any

from verify_receipt import (
    BATCH,
    BODY,
    EVENT,
    FILE_MAX,
    HASH,
    HEADER,
    INT,
    MEMBER,
    NAT,
    OUTCOME,
    OUTCOME_PROOF,
    OUTCOMES_A_LEAF,
    PATH,
    PLACE,
    RECORD,
    SIGNATURE,
    STATUS,
    TEXT,
    Policy,
    Record,
    Refused,
    answer,
    check_header,
    check_leaf,
    check_signature,
    check_status,
    decode,
    domain,
    hash_of,
    need,
    outcome_of,
    read_proof,
    sha256,
    step,
)

HISTORY_MAX = 16 << 20
MANY = 1 << 16
EMPTY_ROOT = sha256()
APPLIED = b"\x93\x00\xa0\xa0"  # [0, "", ""]
PAGE = "c2sp.org/tlog-proof@v1\n"

SOURCES = ("array", 0, FILE_MAX, {"source": HASH, "next_number": INT, "previous": HASH})
HEAD = {"member": TEXT, "size": INT, "root": HASH, "sources": SOURCES}
HEADS = ("array", 0, 2, {"head": HEAD, "index": NAT, "count": NAT, "path": PATH})
BATCH_PART: Any = {"header": BATCH, "height": NAT, "place": PLACE, "signature": ("maybe", SIGNATURE)}
BATCH_PART |= {"events": ("array", 0, 1024, BODY), "log_index": NAT, "before": PATH, "after": PATH}
REJECTED = ("array", 0, MANY, {"index": INT, "outcome": OUTCOME})
BLOCK_PART = {"header": HEADER, "path": PATH, "rejected": REJECTED}
COMPLETENESS: Any = {"version": INT, "member": MEMBER, "from_height": NAT, "to_height": NAT, "header": HEADER}
COMPLETENESS |= {"heads": HEADS, "first": NAT, "before": PATH, "after": PATH}
COMPLETENESS |= {"batches": ("array", 0, MANY, BATCH_PART), "blocks": ("array", 0, MANY, BLOCK_PART)}
COMPLETENESS |= {"handovers": STATUS["handovers"]}
HISTORY_EVENT: Any = {"event": BODY, "log_index": NAT, "path": PATH, "header": HEADER, "header_path": PATH}
HISTORY_EVENT |= {"outcome": OUTCOME_PROOF}
HISTORY: Any = {"version": INT, "status": STATUS, "first": NAT, "previous": HASH}
HISTORY |= {"events": ("array", 0, 256, HISTORY_EVENT), "later": ("array", 0, MANY, HASH)}


def subtrees(start: int, stop: int) -> list[tuple[int, int]]:
    """Return the complete subtrees (level, index) that make up leaves [start, stop), left to right."""
    parts = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def root_of_range(size: int, start: int, leaves: list[bytes], before: list[bytes], after: list[bytes]) -> bytes:
    """Return the root of a tree of `size` leaves from those from `start` on and the subtrees beside them."""
    need(0 <= start <= start + len(leaves) <= size < 1 << 63, "more leaves than there are")
    left, right = subtrees(0, start), subtrees(start + len(leaves), size)
    need((len(left), len(right)) == (len(before), len(after)), "another number of subtrees")
    middle = [((0, start + place), leaf) for place, leaf in enumerate(leaves)]
    stack: list[tuple[int, bytes]] = []
    for (level, index), value in [*zip(left, before, strict=True), *middle, *zip(right, after, strict=True)]:
        while index & 1 and stack and stack[-1][0] == level:
            value, level, index = sha256(b"\1", stack.pop()[1], value), level + 1, index >> 1
        stack.append((level, value))
    root = stack.pop()[1] if stack else EMPTY_ROOT
    while stack:
        root = sha256(b"\1", stack.pop()[1], root)
    return root


def verify_page(text: str, policy: Policy, member: str) -> dict[str, Any]:
    """Return what a page of a proof of completeness proves: all events of the member between two heights."""
    proof, checkpoint = read_proof(text, COMPLETENESS, 1, policy, FILE_MAX)
    header, low, high = proof.header, proof.from_height, proof.to_height
    with step("header"):
        need(proof.member == member, f"of another member: {proof.member}")
        need(checkpoint.index == header.first_index + header.event_count, "an index that is not the header's")
        check_header(checkpoint, header, checkpoint.path)
        need(low <= high <= header.height, "heights")
    blocks: dict[int, Record] = {}
    with step("blocks"):
        for block in proof.blocks:
            need(not blocks or block.header.height > max(blocks), "out of order")
            check_header(checkpoint, block.header, block.path)
            blocks[block.header.height] = block
    with step("range"):
        check_range(proof)
    events: list[dict[str, Any]] = []
    with step("batches"):
        outcomes: dict[int, list[Record]] = {}
        reached = 0
        for batch in proof.batches:
            need(batch.height in blocks, f"no block of height {batch.height}")
            block = blocks[batch.height]
            check_place(batch, block.header, member)
            if low <= batch.height <= high:
                need(batch.log_index >= reached, "batches that overlap in the log")
                reached = batch.log_index + len(batch.events)
                if batch.height not in outcomes:
                    outcomes[batch.height] = outcomes_of(block)
                events += events_of(batch, block.header, outcomes[batch.height], checkpoint)
    said = {"proved": "completeness", "member": member, "from_height": low, "to_height": high, "events": events}
    with step("times"):
        said["from_ms"], said["until_ms"] = times_of(proof, blocks, checkpoint)
    said["batch_count"] = sum(low <= batch.height <= high for batch in proof.batches)
    return said | {"chain_id": header.chain_id} | dict(checkpoint.said)


def check_range(proof: Record) -> None:
    """Refuse unless the batches are a whole range of the member's log that reaches beyond both heights."""
    head = own_head(proof)
    if head is None:
        return need(not (proof.batches or proof.first or proof.before or proof.after), "batches of who has none")
    leaves = [sha256(b"\0", batch.header.raw) for batch in proof.batches]
    root = root_of_range(head.size, proof.first, leaves, proof.before, proof.after)
    need(root == head.root, "not the batches of the member's log")
    heights = [batch.height for batch in proof.batches]
    need(heights == sorted(heights), "batches out of order")
    need(proof.first == 0 or (heights and heights[0] < proof.from_height), "batches before the first are left out")
    at_end = proof.first + len(heights) == head.size
    return need(at_end or (heights and heights[-1] > proof.to_height), "batches after the last are left out")


def own_head(proof: Record) -> Record | None:
    """Return the member's head; None where the heads beside its place prove that it has none."""
    for part in proof.heads:
        check_leaf(proof.header.batch_logs_root, part.count, part.index, sha256(b"\0", part.head.raw), part.path)
    if [part.head.member for part in proof.heads] == [proof.member]:
        found: Record = proof.heads[0].head
        return found
    if not proof.heads:
        need(proof.header.batch_logs_root == EMPTY_ROOT, "no head of a chain with batches")
        return None
    lower = [part for part in proof.heads if part.head.member < proof.member]
    upper = [part for part in proof.heads if part.head.member > proof.member]
    need(len(lower) <= 1 and len(upper) <= 1 and len(lower + upper) == len(proof.heads), "heads of another place")
    count = proof.heads[0].count
    free, taken = lower[0].index + 1 if lower else 0, upper[0].index if upper else count
    need(free == taken and all(part.count == count for part in proof.heads), "heads that are not side by side")
    return None


def check_place(batch: Record, header: Record, member: str) -> None:
    """Refuse unless a batch is one of this block, of this member and of this chain."""
    leaf = sha256(b"\0", domain("batch", batch.header.raw))
    check_leaf(header.batches_root, batch.place.count, batch.place.index, leaf, batch.place.path)
    need((batch.header.member, batch.header.chain_id) == (member, header.chain_id), "of another member or chain")


def outcomes_of(block: Record) -> list[Record]:
    """Return the outcomes of all events of a block: those that are listed were rejected, the others applied."""
    count = block.header.event_count
    need(count <= MANY, "more events than a block has")
    applied = decode(OUTCOME, APPLIED)
    rejected = {each.index: each.outcome for each in block.rejected}
    every = [rejected.get(index, applied) for index in range(count)]
    leaves = []
    for start in range(0, count, OUTCOMES_A_LEAF):
        part = every[start : start + OUTCOMES_A_LEAF]
        head = bytes([0x90 + len(part)]) if len(part) < 16 else b"\xdc" + len(part).to_bytes(2, "big")
        leaves.append(sha256(b"\0", head, *(outcome.raw for outcome in part)))
    need(root_of_range(len(leaves), 0, leaves, [], []) == block.header.outcomes_root, "outcomes of the block")
    return every


def events_of(batch: Record, header: Record, outcomes: list[Record], checkpoint: Record) -> list[dict[str, Any]]:
    """Return the events of a batch, each proved to be all of it, signed for, and in the log within its block."""
    events = [decode(EVENT, data) for data in batch.events]
    ids = [sha256(b"\0", bytes([event.kind]), event.raw) for event in events]
    root = root_of_range(len(ids), 0, ids, [], [])
    need((len(ids), root) == (batch.header.count, batch.header.root), "events that are not the batch's")
    need(batch.signature is not None, "a batch that is not signed")
    check_signature(batch.header.source, b"chainnode/v1/batch\0\x91" + batch.header.raw, batch.signature, "the source")
    found = root_of_range(checkpoint.size, batch.log_index, ids, batch.before, batch.after)
    need(found == checkpoint.root, "events that do not stand there in the log")
    first = batch.log_index - header.first_index
    need(0 <= first <= header.event_count - len(ids), "a batch outside of its block")
    return [
        {"event_id": identity, "applied": outcomes[index].code == 0, "rule": outcomes[index].rule}
        | {"detail": outcomes[index].detail, "height": header.height, "index": index, "time_ms": header.time_ms}
        | {"source": batch.header.source, "batch_number": batch.header.number, "event": event.raw}
        for index, (identity, event) in enumerate(zip(ids, events, strict=True), first)
    ]


def times_of(proof: Record, blocks: dict[int, Record], checkpoint: Record) -> tuple[int, int | None]:
    """Return the first time that the heights cover, and the first that they do not (None: that is not proved)."""
    low, high, header = proof.from_height, proof.to_height, proof.header
    need(low == 0 or low - 1 in blocks, "the block before the range is missing")
    from_ms = blocks[low - 1].header.time_ms + 1 if low else 0
    if high + 1 in blocks:
        return from_ms, blocks[high + 1].header.time_ms
    need(high == header.height, "the block after the range is missing")
    if checkpoint.size != header.first_index + header.event_count + 1:
        return from_ms, None
    return from_ms, max(checkpoint.said["cosigned_first_s"] * 1000, header.time_ms)


def verify_completeness(text: str, policy: Policy, member: str) -> dict[str, Any]:
    """Return what the pages of a proof of completeness prove together."""
    found = [verify_page(page, policy, member) for page in pages_of(text)]
    with step("pages"):
        for one, two in pairwise(found):
            need(two["origin"] == one["origin"], "of different logs")
            need(two["from_height"] == one["to_height"] + 1, f"a gap after height {one['to_height']}")
    said = found[-1] | {"from_height": found[0]["from_height"], "from_ms": found[0]["from_ms"]}
    said["batch_count"] = sum(page["batch_count"] for page in found)
    return said | {"events": [event for page in found for event in page["events"]]}


def verify_history_page(text: str, policy: Policy, number: str) -> dict[str, Any]:
    """Return what a page of a certificate's history proves: its events, and what surrounds them."""
    proof, checkpoint = read_proof(text, HISTORY, 1, policy, HISTORY_MAX)
    status = proof.status
    with step("extra data"):
        need(status.version == 2, "a status proof of another version")
    until_ms, is_newest = check_status(status, checkpoint)
    with step("certificate"):
        need(status.key == b"certificate/" + number.encode(), "a proof of another key")
        record = None if status.value is None else decode(RECORD, status.value)
        count, whole = (record.history.count, record.history.hash) if record else (0, bytes(32))
    events = []
    for place, part in enumerate(proof.events, proof.first):
        with step(f"event {place}"):
            events.append(history_event(part, checkpoint))
    with step("history"):
        need(proof.first + len(events) + len(proof.later) == count, "another number of events than the record counts")
        need(events or not count, "a page without events")
        reached = chained(proof.previous, [event["event_id"] for event in events])
        need(chained(reached, proof.later) == whole, "events that are not those of the record")
    said = {"proved": "history", "number": number, "exists": record is not None, "count": count, "first": proof.first}
    said |= {"previous": proof.previous, "reached": reached, "events": events, "header_hash": hash_of(status.header)}
    said |= {"rules": status.header.version}
    said |= {"height": status.header.height, "time_ms": status.header.time_ms, "until_ms": until_ms}
    return said | {"is_newest": is_newest, "chain_id": status.header.chain_id} | dict(checkpoint.said)


def history_event(part: Record, checkpoint: Record) -> dict[str, Any]:
    """Return an event that was applied at its place in the log."""
    check_header(checkpoint, part.header, part.header_path)
    event = decode(EVENT, part.event)
    identity = sha256(b"\0", bytes([event.kind]), part.event)
    check_leaf(checkpoint.root, checkpoint.size, part.log_index, identity, part.path)
    outcome = outcome_of(part.header, part.outcome, part.log_index - part.header.first_index)
    need(outcome.code == 0, "an event that was not applied there")
    said = {"event_id": identity, "event": part.event, "height": part.header.height, "log_index": part.log_index}
    return said | {"time_ms": part.header.time_ms}


def chained(previous: bytes, ids: list[bytes]) -> bytes:
    """Return the hash chain over further events' ids."""
    for identity in ids:
        previous = domain("certificate-history", b"\x92\xc4\x20", previous, b"\xc4\x20", identity)
    return previous


def verify_history(text: str, policy: Policy, number: str) -> dict[str, Any]:
    """Return what the pages of a certificate's history prove together: these are all its events."""
    found = [verify_history_page(page, policy, number) for page in pages_of(text)]
    with step("pages"):
        shown, reached = 0, bytes(32)
        for page in found:
            need(page["header_hash"] == found[0]["header_hash"], "of different blocks")
            need((page["first"], page["previous"]) == (shown, reached), "pages that do not follow each other")
            shown, reached = shown + len(page["events"]), page["reached"]
        need(shown == found[0]["count"], "pages that are left out")
    return found[-1] | {"first": 0, "previous": bytes(32), "events": [e for page in found for e in page["events"]]}


def pages_of(text: str) -> list[str]:
    """Return the proofs that a text holds, one after the other."""
    head, *pages = text.split(PAGE)
    if head or not pages:
        raise Refused("proof", "not a proof")
    return [PAGE + page for page in pages]


def verify_file(text: str, policy: Policy, options: Any) -> dict[str, Any]:
    """Return what the options ask for."""
    if options.member is not None:
        return verify_completeness(text, policy, options.member)
    return verify_history(text, policy, options.certificate)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description="Verify that a list of events is complete, offline.")
    which = asked.add_mutually_exclusive_group(required=True)
    which.add_argument("--member", metavar="ID", help="all events of this member")
    which.add_argument("--certificate", metavar="NO", help="the whole history of this certificate")
    sys.exit(answer(asked, verify_file))
