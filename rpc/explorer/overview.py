"""The first page: how the network is, who votes, what came last, and whatever must not be missed.

`?fragment=live` gives its changing part alone, for the script that renews it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from ledger.base import NotHere
from ledger.reader import LedgerReader
from ledger.times import parse_time
from rpc.explorer.asking import Asked, Page, ask
from rpc.explorer.blocks import block_row
from rpc.explorer.charts import chart
from rpc.explorer.events import row_of
from rpc.explorer.people import Signers
from rpc.methods.blocks import BlockResult, get_blocks
from rpc.methods.events import EventResult, get_block_events
from rpc.methods.evidence import net_evidence
from rpc.methods.gov import MemberResult, list_members
from rpc.methods.net import PeerResult, ValidatorsResult, net_peers, net_validators
from rpc.ports import Activity, Check, NodeStatus
from rpc.types import LIMIT_MAX, time_text

VOTES_OVER = 50
"""Over how many of the newest certificates a validator's votes are counted."""

BLOCKS_SHOWN = 8
EVENTS_SHOWN = 8
BLOCKS_WITH_EVENTS_LOOKED_AT = 20
EVIDENCE_SHOWN = 3
MINUTES_SHOWN = 30
MINUTE_MS = 60_000
BEHIND_BLOCKS = 5
"""More blocks behind than this, and a tile says so."""

Row = dict[str, Any]  # Any: what a template shows


@dataclass(frozen=True, slots=True)
class Present:
    """What the node says of itself and its peers at one moment of its loop."""

    status: NodeStatus
    peers: list[PeerResult]
    validators: ValidatorsResult
    checks: tuple[Check, ...]
    activity: Activity | None


def overview(asked: Asked) -> Page:
    """The whole page."""
    services = asked.services
    present = asked.on_loop(lambda: _present(asked))
    found = ask(get_blocks, services, limit=VOTES_OVER)
    signers = Signers(services)
    members = ask(list_members, services, limit=LIMIT_MAX).members
    evidence = ask(net_evidence, services, limit=EVIDENCE_SHOWN)
    minutes = with_latency(events_by_minute(services.reads, int(services.now_ms())), present.activity)
    values = {
        "status": present.status,
        "failed": [check for check in present.checks if not check.ok],
        "activity": present.activity,
        "started": None if present.activity is None else time_text(present.activity.since_ms),
        "voting": present.validators,
        "tiles": tiles(members, present, found.blocks),
        "others": [member for member in members if not member.validators],
        "blocks": [block_row(block, signers) for block in found.blocks[:BLOCKS_SHOWN]],
        "events": [row_of(event) for event in _newest_events(asked, found.blocks)],
        "minutes": minutes,
        "rate": chart([minute["events"] for minute in minutes], places=MINUTES_SHOWN),
        "latency": chart(
            [minute["late"] for minute in minutes], [minute["median"] for minute in minutes], places=MINUTES_SHOWN
        ),
        "block_interval": block_interval(found.blocks),
        "evidence": evidence,
        "now": time_text(int(services.now_ms())),
    }
    return Page("overview.html", "overview.title", values, as_of=found.as_of)


def _present(asked: Asked) -> Present:
    services = asked.services
    return Present(
        ask_status(asked),
        ask(net_peers, services).peers,
        ask(net_validators, services),
        tuple(services.node.ready()[1]),
        None if services.activity is None else services.activity(),
    )


def ask_status(asked: Asked) -> NodeStatus:
    """Return the node's own word on where it stands."""
    return asked.services.node.status()


def tiles(members: list[MemberResult], present: Present, blocks: list[BlockResult]) -> list[Row]:
    """Return a tile for each member that votes, with its validators."""
    votes = votes_of(blocks, present.validators.epoch)
    peers = {peer.name: peer for peer in present.peers}
    rows: dict[str, list[Row]] = {}
    for validator in present.validators.validators:
        peer, is_me = peers.get(validator.name), validator.name == present.status.node
        height = present.status.height if is_me else None if peer is None else peer.height
        last = votes.last.get(validator.index)
        rows.setdefault(validator.member, []).append(
            {
                "name": validator.name,
                "leader": validator.leader,
                "is_me": is_me,
                "linked": is_me or (peer is not None and peer.connected),
                "height": height,
                "lag": None if height is None else max(0, present.status.height - height),
                "behind": height is not None and present.status.height - height > BEHIND_BLOCKS,
                "voted": votes.count.get(validator.index, 0),
                "of": votes.of,
                "last": last,
            }
        )
    named = {member.id: member for member in members}
    return [
        {"id": member, "name": named[member].name if member in named else member, "validators": validators}
        for member, validators in sorted(rows.items())
    ]


@dataclass(frozen=True, slots=True)
class Votes:
    """Of the newest certificates of an epoch: how many there are, how many each index signed, and the last of these.

    A certificate holds a quorum of votes and no more, so whoever was slower is in fewer of them and still well.
    """

    of: int
    count: dict[int, int]
    last: dict[int, Row]


def votes_of(blocks: list[BlockResult], epoch: int) -> Votes:
    """Count the votes in the certificates of these blocks, the newest first."""
    of, count, last = 0, dict[int, int](), dict[int, Row]()
    for block in blocks:
        if block.certificate is None or block.certificate.epoch != epoch:
            continue
        of += 1
        for item in block.certificate.signatures:
            count[item.validator] = count.get(item.validator, 0) + 1
            last.setdefault(item.validator, {"height": block.header.height, "time": block.header.time})
    return Votes(of, count, last)


def block_interval(blocks: list[BlockResult]) -> float | None:
    """Return the median of the seconds between these blocks; None of fewer than two."""
    times = [parse_time(block.header.time, where="time") for block in blocks if block.certificate is not None]
    gaps = [(later - earlier) / 1_000 for later, earlier in pairwise(times)]
    return median(gaps) if gaps else None


def _newest_events(asked: Asked, blocks: list[BlockResult]) -> list[EventResult]:
    found: list[EventResult] = []
    with_events = [block for block in blocks if block.header.event_count]
    for block in with_events[:BLOCKS_WITH_EVENTS_LOOKED_AT]:
        wanted = EVENTS_SHOWN - len(found)
        if wanted <= 0:
            break
        answer = ask(get_block_events, asked.services, height=block.header.height, limit=wanted)
        found += answer.events
    return found


def events_by_minute(reads: LedgerReader, now_ms: int) -> list[Row]:
    """Return the events of each of the last minutes, the oldest first; where the history here begins later, fewer.

    Found from the headers at the minutes' ends alone: a header counts all leaves before it.
    """
    first = now_ms // MINUTE_MS - MINUTES_SHOWN + 1
    edges = [(first + number) * MINUTE_MS - 1 for number in range(MINUTES_SHOWN)]
    edges.append(now_ms)
    counts = [_events_until(reads, edge) for edge in edges]
    return [
        {"time": time_text((first + place) * MINUTE_MS), "events": after - before}
        for place, (before, after) in enumerate(pairwise(counts))
        if before is not None and after is not None
    ]


def with_latency(minutes: list[Row], activity: Activity | None) -> list[Row]:
    """Return the minutes with the milliseconds from submission here to commit, None where nothing was submitted."""
    known = {} if activity is None else {time_text(minute.start_ms): minute for minute in activity.minutes}
    rows = []
    for row in minutes:
        found = known.get(row["time"])
        median, late = (None, None) if found is None else (round(found.median_ms, 1), round(found.late_ms, 1))
        rows.append({**row, "median": median, "late": late})
    return rows


def _events_until(reads: LedgerReader, time_ms: int) -> int | None:
    """Return the number of events of the chain up to a time; None where that lies before what is here."""
    try:
        height = reads.height_at_time(time_ms)
    except NotHere:
        return None
    header = None if height is None else reads.header(height)
    return 0 if header is None else header.first_index + header.event_count - int(header.height)
