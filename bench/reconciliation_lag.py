"""`python -m bench.reconciliation_lag`: how far the index of reconciliation falls behind under full load.

Batches of statements with pair keys and tokens, each payment told by both of its banks, go to a network's nodes as fast
as they take them. Meanwhile one node is asked every second how far its index of reconciliation is, and afterwards until
it has all. Then every payment has to be there and to match. Not here: what the index costs alone, and a day's score
(`bench.reconciliation`).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from msgspec.structs import replace

from bench.measure import machine
from bench.network import BenchNet, Run, drive, network
from bench.report import table
from bench.workload import BATCH_EVENTS, EVENT_LIFETIME_MS, BenchSource, statement
from bench.workloads import retried
from chainnode.client import NodeClient
from ledger.events import Event
from ledger.payments import PAYMENT_STATEMENT, Side, Status, TokenField, TokenRecord
from primitives.encoding import encode
from sim.arguments import Parser, whole

NODES = 4
LANES = 8
WARM_UP_BATCHES = 4
"""Of each source."""
SECONDS = 60
POLL_S = 1.0
PATIENCE_S = 1_800
NODE = 0

Figures = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]


class Seen(NamedTuple):
    """How far the node and its index of reconciliation were at a moment."""

    at_s: float
    height: int
    reconciled: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a payment is missing or does not match."""
    parser = Parser(prog="python -m bench.reconciliation_lag", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=whole(1, 3_600), default=SECONDS, help=f"about how long ({SECONDS})")
    options = parser.parse_args(arguments)
    figures = measure(options, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(figures) if options.json else table(figures))
    return int(figures["matched"] != figures["payments"] or figures["others"] != 0)


def measure(options: argparse.Namespace, say: Say) -> Figures:
    """Return the figures of one load, and of what follows it."""
    with network(NODES, sources_a_bank=LANES // 2) as net:
        sources = [each for each in net.sources() if each.member in ("bank-a", "bank-b")][:LANES]
        first = load(net, sources, 0, WARM_UP_BATCHES)
        count = max(1, round(first.events_per_second * options.seconds / BATCH_EVENTS / LANES))
        say(f"{first.events_per_second:,.0f} statements/s; {count * LANES} batches are signed")
        watch = Watch(net)
        watch.until_caught_up()
        with watch:
            run = load(net, sources, WARM_UP_BATCHES, count)
        behind, ended_s = watch.behind(), time.monotonic()
        say(f"{run.events_per_second:,.0f} statements/s; {behind:,} statements behind")
        watch.until_caught_up()
        caught_up_s = time.monotonic() - ended_s
        counts = watch.counts()
    payments = (first.events + run.events) // 2
    return {
        "machine": machine(),
        "statements": run.events,
        "seconds": round(run.seconds, 1),
        "statements_per_second": round(run.events_per_second),
        "cpu_us_per_statement_per_validator": round(run.cpu_us, 1),
        "behind_at_the_end": behind,
        "behind_of_all": round(behind / run.events, 2),
        "seconds_behind_at_the_end": round(watch.seconds_behind(), 1),
        "caught_up_after_s": round(caught_up_s, 1),
        "caught_up_per_second": round(behind / caught_up_s),
        "payments": payments,
        "matched": counts["matched"],
        "others": sum(counts.values()) - counts["matched"],
    }


def load(net: BenchNet, sources: Sequence[BenchSource], start: int, count: int) -> Run:
    """Send so many batches of each source, the payments from a number on: those of two sources are the same."""
    lanes = []
    for place, source in enumerate(sources):
        twin = sum(each.member == source.member for each in sources[:place])
        batches = [source.signed(batch_of(source, twin, number)) for number in range(start, start + count)]
        lanes.append(retried(net.lane(source, batches, BATCH_EVENTS)))
    return drive(net, lanes)


def batch_of(source: BenchSource, twin: int, number: int) -> list[bytes]:
    """Return a batch's events, the one side of a thousand payments."""
    now_ms = time.time_ns() // 1_000_000
    return [
        told(source.member, b"%b %d %d %d" % (source.chain_id, twin, number, index), now_ms)
        for index in range(BATCH_EVENTS)
    ]


def told(member: str, payment: bytes, now_ms: int) -> bytes:
    """Return a bank's event about a payment, which goes from bank-a to bank-b."""
    body, reference = statement(b"%b %b" % (member.encode(), payment), now_ms)
    key = sha256(payment).digest()
    uetr = bytearray(key[16:])
    uetr[6], uetr[8] = uetr[6] & 0x0F | 0x40, uetr[8] & 0x3F | 0x80
    pays = member == "bank-a"
    body = replace(
        body,
        side=Side.DEBTOR if pays else Side.CREDITOR,
        status=Status.ACCEPTED if pays else Status.RECEIVED,
        settlement_date=20261123,
        uetr=bytes(uetr),
        pair_key=key,
        tokens=[
            TokenRecord(field, sha256(b"%d %b" % (field, payment)).digest()[:16])
            for field in TokenField
            if field is not TokenField.INSTRUCTED_AMOUNT
        ],
    )
    return encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, PAYMENT_STATEMENT, 1, encode(body)))


class Watch:
    """Asks a node now and then how far it is, and its index of reconciliation."""

    def __init__(self, net: BenchNet) -> None:
        self._client = NodeClient(net.load().nodes[NODE].rpc, timeout_s=60.0)
        self._seen: list[Seen] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _poll(self) -> None:
        while not self._over.wait(POLL_S):
            self.look()

    def look(self) -> Seen:
        """Ask, and remember."""
        reconciled = int(self._client.call("payment_listReconciliation", limit=1)["as_of"])
        height = int(self._client.call("ledger_getBlock")["as_of"])
        self._seen.append(Seen(time.monotonic(), height, reconciled))
        return self._seen[-1]

    def behind(self) -> int:
        """Return how many statements the index had not followed when it was looked at last."""
        seen = self._seen[-1]
        last, followed = (self._client.call("ledger_getBlock", height=each) for each in (seen.height, seen.reconciled))
        return (
            int(last["log_index"]) - int(followed["log_index"]) - (seen.height - seen.reconciled)
        )  # headers are entries

    def seconds_behind(self) -> float:
        """Return how long before it was looked at last, under load, the node had come as far as its index then was."""
        last = self._seen[-1]
        return last.at_s - next(seen.at_s for seen in self._seen if seen.height >= last.reconciled)

    def until_caught_up(self) -> None:
        """Wait until the index has reached the node's height."""
        client = self._client
        ends_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_s:
            reconciled = int(client.call("payment_listReconciliation", limit=1)["as_of"])
            if reconciled >= int(client.call("ledger_getBlock")["as_of"]):
                return
            time.sleep(POLL_S / 4)
        raise RuntimeError("the index of reconciliation does not catch up")

    def counts(self) -> dict[str, int]:
        """Return how many payments stand how."""
        found: dict[str, int] = self._client.call("payment_listReconciliation", limit=1)["counts"]
        return found


if __name__ == "__main__":
    sys.exit(main())
