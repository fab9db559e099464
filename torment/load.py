"""The load: a process of its own that submits to the nodes and records every answer, each a line of a file.

Here: clients of banks, which behave as the design asks of them: a source keeps the batch that it signed and sends the
same bytes until it is committed; a lone event goes to its bank's gateway under one reference. Not here: judging what
was answered (`checks`). Run as `python -m torment.load FILE`: the file is a `Job`. It says `ready`, submits until a
line comes on stdin, brings what is under way to an end, asks what became of all that was accepted, and prints one
JSON object.

Lines of the record, `t` in seconds since the start:
    {"t", "asked": [id…], "via"}                      written before the first attempt
    {"t", "node", "via", "rows": [[id, status, height, index, outcome]…]}
    {"t", "node", "via", "refused": {reason, retryable}, "ids": [id…]}
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.identity import read_key
from ledger.batches import build_batch, parse_batch
from ledger.events import event_id
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.payments_json import statement_to_json
from primitives.ids import ZERO_HASH, Hash
from primitives.keys import SigningKey
from torment.payments import TIME_MS, payment, statement

CALL_S: Final = 4.0
RETRY_S: Final = 0.1
ELSEWHERE_AFTER: Final = 3

Json = dict[str, Any]  # Any: JSON both ways


class Bank(msgspec.Struct, frozen=True):
    """One bank that submits: its node, and the file of the key with which it signs its own batches."""

    name: str
    rpc: str
    token: str
    key_file: str


class Job(msgspec.Struct, frozen=True):
    """What the process is told; `others` are nodes that also take a batch when the bank's own does not answer.

    What gateways of `forgetful` accepted is not waited for: they lose their outbox, and nobody else has to know of it.
    """

    chain_id: str
    record: str
    seed: int
    banks: tuple[Bank, ...]
    others: tuple[Bank, ...]
    batches_per_second: float
    events_a_batch: int
    lone_per_second: float
    finish_s: float
    forgetful: tuple[str, ...] = ()


class Record:
    """The file of answers, and what is still owed; shared by all threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.accepted: dict[str, str] = {}
        self.committed: set[str] = set()

    def write(self, row: Json) -> None:
        """Append one line."""
        with self._lock:
            self._file.write(json.dumps({"t": round(time.monotonic() - self._started, 3), **row}) + "\n")

    def answer(self, bank: Bank, via: str, rows: list[Json]) -> None:
        """Note what a node answered of each event."""
        kept = [[row["id"], row["status"], row["height"], row["index"], row["outcome"]] for row in rows]
        self.write({"node": bank.name, "via": via, "rows": kept})
        with self._lock:
            for event, status, *_ in kept:
                if status == "Committed":
                    self.committed.add(event)
                elif status == "Pending":
                    self.accepted.setdefault(event, bank.name)

    def refusal(self, bank: Bank, via: str, refused: CallRefused, ids: list[str]) -> None:
        """Note that a call was refused as a whole."""
        said = {"reason": refused.slug, "retryable": refused.retryable, "message": str(refused)[:200]}
        self.write({"node": bank.name, "via": via, "refused": said, "ids": ids})


class Client(threading.Thread):
    """One stream of submissions: paces itself, and never leaves an event before it knows what became of it."""

    def __init__(self, job: Job, record: Record, bank: Bank, via: str) -> None:
        super().__init__(name=f"{bank.name}-{via}", daemon=True)
        self._job, self._record, self._bank, self._via = job, record, bank, via
        self._draw = Random(f"{job.seed} {self.name}")
        self._pause_s = 1.0 / (job.batches_per_second if via == "batch" else job.lone_per_second)
        self.stopping = threading.Event()
        self.deadline = float("inf")
        self.unsettled = 0
        self.disabled = ""
        self.failure = ""

    def run(self) -> None:
        """Submit until told to stop, or until a refusal that no repetition helps."""
        try:
            key = read_key(Path(self._bank.key_file), "source").signing_key
            step = self._batches(key) if self._via == "batch" else self._lone()
            while not self.stopping.wait(self._draw.uniform(0.5, 1.5) * self._pause_s) and not self.disabled:
                next(step)
        except Exception as error:  # noqa: BLE001  told to whoever started the load
            self.failure = f"{type(error).__name__}: {error}"

    def _batches(self, key: SigningKey) -> Any:  # Any: a generator that yields nothing
        number, previous = 0, ZERO_HASH
        while True:
            events = [self._event()[0] for _ in range(self._job.events_a_batch)]
            raw = build_batch(
                events,
                chain_id=Hash(bytes.fromhex(self._job.chain_id)),
                member=self._bank.name,
                key=key,
                number=number,
                previous=previous,
                time_ms=TIME_MS,
            )
            parsed = parse_batch(raw)
            number, previous = number + 1, parsed.hash
            params = {"batch": base64.b64encode(raw).decode(), "wait": "committed"}
            self._settle([item.hex() for item in parsed.ids], "ledger_submitBatch", params)
            yield

    def _lone(self) -> Any:  # Any: a generator that yields nothing
        while True:
            raw, reference, body = self._event()
            row = {"kind": "payment.statement", "body": statement_to_json(body), "reference": reference.hex()}
            wait = self._draw.choice(["accepted", "committed"])
            ids = [event_id(raw, PAYMENT_STATEMENT).hex()]
            self._settle(ids, "ledger_submit", {"events": [row], "wait": wait})
            yield

    def _event(self) -> tuple[bytes, bytes, PaymentStatement]:
        reference, body = os.urandom(16), statement(os.urandom(16))
        return payment(self._bank.name, reference, body), reference, body

    def _settle(self, ids: list[str], method: str, params: Json) -> None:
        """Repeat one submission until it is as far as it asked for, or refused for good."""
        self._record.write({"asked": ids, "via": self._via})
        attempts = 0
        while True:
            bank = self._bank
            if attempts >= ELSEWHERE_AFTER and self._via == "batch":
                bank = (self._bank, *self._job.others)[attempts % (1 + len(self._job.others))]
            attempts += 1
            if self._once(bank, ids, method, params):
                return
            if time.monotonic() > self.deadline:
                self.unsettled += len(ids)
                return
            time.sleep(RETRY_S)

    def _once(self, bank: Bank, ids: list[str], method: str, params: Json) -> bool:
        client = NodeClient(bank.rpc, token=bank.token, timeout_s=CALL_S)
        try:
            rows = client.call(method, **params)["events"]
        except (Unreachable, TimedOut):
            return False
        except CallRefused as refused:
            self._record.refusal(bank, self._via, refused, ids)
            if refused.retryable:
                time.sleep(min(1.0, (refused.retry_after_ms or 100) / 1_000))
                return False
            self.disabled = refused.slug
            return True
        finally:
            client.close()
        assert sorted(row["id"] for row in rows) == sorted(ids), "a node names an event by another id"
        self._record.answer(bank, self._via, rows)
        done = {"Committed"} | ({"Pending"} if params["wait"] == "accepted" else set())
        return all(row["status"] in done for row in rows)

    def finish(self, deadline: float) -> None:
        """Begin nothing new; give up what is under way at the deadline."""
        self.deadline = deadline
        self.stopping.set()


def ask_about_accepted(job: Job, record: Record, deadline: float) -> int:
    """Ask each gateway what became of the events that it accepted, until it knows; returns how many stay pending."""
    banks = {bank.name: bank for bank in (*job.banks, *job.others)}
    while True:
        owed = {event: node for event, node in record.accepted.items() if event not in record.committed}
        awaited = [node for node in owed.values() if node not in job.forgetful]
        if not awaited or time.monotonic() > deadline:
            return len(awaited)
        for name in sorted(set(owed.values())):
            bank = banks[name]
            ids = [event for event, node in owed.items() if node == name]
            client = NodeClient(bank.rpc, token=bank.token, timeout_s=CALL_S)
            try:
                rows = client.call_many("ledger_getStatus", [{"event_id": item} for item in ids])
            except (Unreachable, TimedOut, CallRefused):
                continue
            finally:
                client.close()
            settled = [row for row in rows if row["status"] in ("Committed", "Refused")]
            if settled:
                record.answer(bank, "status", settled)
        time.sleep(RETRY_S)


def main() -> None:
    """Run the job that a file holds."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    record = Record(Path(job.record))
    clients = [Client(job, record, bank, via) for bank in job.banks for via in ("batch", "lone")]
    print("ready", flush=True)
    for client in clients:
        client.start()
    sys.stdin.readline()
    deadline = time.monotonic() + job.finish_s
    for client in clients:
        client.finish(deadline)
    for client in clients:
        client.join(job.finish_s + 2 * CALL_S)
    pending = ask_about_accepted(job, record, deadline)
    told = {
        "unsettled": sum(client.unsettled for client in clients),
        "pending": pending,
        "failures": [f"{client.name}: {client.failure}" for client in clients if client.failure],
        "stuck": [client.name for client in clients if client.is_alive()],
        "disabled": {client.name: client.disabled for client in clients if client.disabled},
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
