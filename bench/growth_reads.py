"""What reading costs in a large ledger: by event id, by payment reference, by certificate, through JSON-RPC.

Here: drawing what is asked for, asking one call after another, and figures of the answers. Not here: filling stores
(`bench.filling`), and the order of a measurement (`bench.growth`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from bench.filling import number_of
from bench.measure import cpu_seconds, percentile
from chainnode.client import NodeClient
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.reader import LedgerReader
from ledger.views import EventView
from primitives.encoding import decoder_of

GOAL_P99_MS = 10.0
DRAWS_A_READ_MAX = 100

Figures = dict[str, Any]  # Any: JSON


class Drawn(NamedTuple):
    """What is asked for: ids of events, UETRs of payments, numbers of certificates."""

    events: list[str]
    payments: list[str]
    certificates: list[str]


class Read(NamedTuple):
    """A call: its method, and the parameter by which what was drawn is named."""

    method: str
    parameter: str
    of: Callable[[Drawn], Sequence[str]]


READS = {
    "event_by_id": Read("ledger_getEvent", "event_id", lambda drawn: drawn.events),
    "status_by_id": Read("ledger_getStatus", "event_id", lambda drawn: drawn.events),
    "payment_by_uetr": Read("payment_get", "uetr", lambda drawn: drawn.payments),
    "certificate": Read("cert_get", "number", lambda drawn: drawn.certificates),
    "certificate_with_proof": Read("cert_getStatus", "number", lambda drawn: drawn.certificates),
    "receipt": Read("ledger_getProof", "event_id", lambda drawn: drawn.events),
}


def draw(reader: LedgerReader, count: int, certificates: int, seed: int = 1) -> Drawn:
    """Return what to ask a filled store for: of the whole log alike, each block as often as it has events."""
    chance = random.Random(seed)
    size = reader.log_size()
    found: dict[str, str] = {}
    for _ in range(DRAWS_A_READ_MAX * count):
        if len(found) == count:
            break
        view = _at(reader, chance.randrange(size))
        if view is not None and view.event.kind == PAYMENT_STATEMENT:
            body: PaymentStatement = decoder_of(PaymentStatement).decode(view.event.body)
            found[view.id.hex()] = str(UUID(bytes=body.uetr))
    numbers = [number_of(chance.randrange(certificates)) for _ in range(count)] if certificates else []
    return Drawn(list(found), list(found.values()), numbers)


def _at(reader: LedgerReader, log_index: int) -> EventView | None:
    height = reader.height_at_log_index(log_index)
    header = None if height is None else reader.header(height)
    return None if header is None else reader.event_at(header.height, log_index - header.first_index)


def measure_reads(rpc: str, pid: int, drawn: Drawn) -> Figures:
    """Return what each kind of read took at the client, and of the node's CPU."""
    client = NodeClient(rpc)
    client.call("net_status")  # the connection is there
    try:
        return {name: _measured(client, pid, read, read.of(drawn)) for name, read in READS.items() if read.of(drawn)}
    finally:
        client.close()


def _measured(client: NodeClient, pid: int, read: Read, names: Sequence[str]) -> Figures:
    stat = Path(f"/proc/{pid}/stat")
    before, seconds = cpu_seconds(stat.read_text()), list[float]()
    for name in names:
        began = time.perf_counter()
        answer = client.call(read.method, **{read.parameter: name})
        seconds.append(time.perf_counter() - began)
        assert answer, "the node refuses by an error"
    spent = cpu_seconds(stat.read_text()) - before
    return spread(seconds) | {"cpu_ms": round(spent / len(names) * 1e3, 2)}


def spread(seconds: Sequence[float]) -> Figures:
    """Return how many, the median, the 99th percentile and the longest in ms."""
    ordered = sorted(seconds)
    shown = {"p50": percentile(ordered, 0.5), "p99": percentile(ordered, 0.99), "most": ordered[-1]}
    return {"count": len(ordered), **{f"{name}_ms": round(value * 1e3, 2) for name, value in shown.items()}}
