"""`python -m bench.reconciliation`: a day of payments with seeded discrepancies, reconciled and scored.

The statements of `chainnode generate payments` are made directly, as `chainnode.ingest` makes them of a parsed message,
and not by way of XML: the files of a smaller day are read in a test. Commitments to private fields, which nothing here
reads, are left out, since they are most of the work. Statements go into blocks by their time, which the index
of reconciliation follows into a LevelDB as in a node. Counted is the processor time of following, with that of the
store's own threads. Then every payment of the day is read back: each discrepancy of the answer key has to stand as the
key says, and every other payment has to match. A hundred of the payments are copied under a third bank's name
(`--intruders`), which may disturb none of them. Status 1 where anything is missed or invented.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from bench.measure import machine
from chainnode.generating import ORDER, Answer, Plan, Seeded, Told, Traffic, codes_of
from chainnode.ingest import statements
from chainnode.ingest.card_network import parse_card_network
from chainnode.ingest.context import IngestContext, make_context
from chainnode.ingest.privacy import FIELD_COUNT, FieldTree, payment_keys
from chainnode.localnet import bank_agents
from chainnode.localnet_cards import card_network_file
from chainnode.node_index import INDEX_WRITE_BUFFER_BYTES
from ledger.chain import Chain
from ledger.events import Event
from ledger.payments import PAYMENT_STATEMENT, AgentRole
from ledger.policy import DAY_MS
from ledger.reader import LedgerReader
from ledger.reconciliation import PaymentView, Standing, reconcile
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import Asked, ReconciliationReader
from ledger.reconciliation_rows import PAYMENTS, PaymentRow, read_row
from ledger.store import MemoryStore, prefix_stop
from ledger.store_leveldb import LevelDBStore
from primitives.encoding import encode
from primitives.ids import ZERO_HASH, Hash, TimeMs
from sim.arguments import Parser, whole
from sim.workload import genesis_of

NO_COMMITMENTS = FieldTree((bytes(32),) * FIELD_COUNT, ZERO_HASH)
BLOCK_STATEMENTS = 4_096
BLOCK_SPAN_MS = 60_000
EVENT_LIFE_MS = 20 * 3_600_000
INTRUDERS = 100


def secret_of(*names: str) -> bytes:
    """Return a secret of a bank, or of two, the same in every run."""
    return sha256(" ".join(("bench", *sorted(names))).encode()).digest()


class Statements:
    """Makes the events of what banks tell."""

    def __init__(self, plan: Plan) -> None:
        codes, names = codes_of(plan), plan.names
        cards = card_network_file([bank_agents(index)[0] for index in range(plan.banks)])
        network, received_ms = parse_card_network(cards, where="cards.json"), TimeMs(plan.start_ms + 4 * DAY_MS)
        self.contexts: dict[str, IngestContext] = {
            name: make_context(
                *(name, codes, secret_of(name), {other: secret_of(name, other) for other in names if other != name}),
                card_network=network,
                received_ms=received_ms,
            )
            for name in names
        }

    def event(self, told: Told) -> bytes:
        """Return the canonical bytes of the event of a statement."""
        return self._encoded(told.bank, told)

    def copied(self, told: Told, thief: str) -> tuple[bytes, bytes] | None:
        """Return a statement's pair key, and an event of a third bank that bears it; None where it bears none."""
        draft = statements.statement_for(self._marked(told), self.contexts[told.bank])
        if not draft.body.pair_key or told.payment.message_type == ORDER:  # an order is nothing between banks
            return None
        tokens = [replace(token, token=sha256(token.token).digest()[:16]) for token in draft.body.tokens]
        own = bank_agents(list(self.contexts).index(thief))[0]
        agents = [
            replace(agent, code=own) if agent.role in (AgentRole.CREDITOR_AGENT, AgentRole.INSTRUCTED_AGENT) else agent
            for agent in draft.body.agents
        ]
        body = encode(replace(draft.body, tokens=tokens, agents=agents))
        return draft.body.pair_key, _event(thief, draft.reference, told.time_ms, body)

    def _encoded(self, bank: str, told: Told) -> bytes:
        draft = statements.statement_for(self._marked(told), self.contexts[bank])
        return _event(bank, draft.reference, told.time_ms, encode(draft.body))

    def _marked(self, told: Told) -> Any:  # Any: a ParsedPayment
        return replace(told.payment, message_digest=Hash(sha256(b"%d" % told.number).digest()))


def _event(bank: str, reference: bytes, time_ms: int, body: bytes) -> bytes:
    return encode(Event(bank, reference, time_ms + EVENT_LIFE_MS, PAYMENT_STATEMENT, 1, body))


class Blocks:
    """What the follower reads of a ledger: headers over the state of these banks' chain, and the newest block."""

    def __init__(self, plan: Plan) -> None:
        genesis = genesis_of(4, max(0, plan.banks - 4))
        names = [*plan.names, *(f"other-{index}" for index in range(4))]
        members = tuple(
            replace(member, id=names[index], agents=bank_agents(index)) for index, member in enumerate(genesis.members)
        )
        validators = tuple(replace(each, member=names[index]) for index, each in enumerate(genesis.validators))
        self.store = MemoryStore()
        founded = replace(genesis, members=members, validators=validators)
        Chain(self.store, founded)
        first = LedgerReader(self.store, founded).header(0)
        assert first is not None
        self._first = first
        self._times: list[int] = [int(first.time_ms)]
        self._events: tuple[bytes, ...] = ()

    def base(self) -> int:
        return 0

    @property
    def height(self) -> int:
        return len(self._times) - 1

    def tip(self) -> Any:
        return SimpleNamespace(height=self.height)

    def header(self, height: int) -> Any:
        return replace(self._first, height=height, time_ms=self._times[height]) if height <= self.height else None

    def recorded_batches(self, height: int) -> tuple[list[Any], frozenset[int]]:
        assert height == self.height
        return [SimpleNamespace(events=self._events)], frozenset()

    def add(self, events: Sequence[bytes], time_ms: int) -> None:
        """Add a block."""
        self._times.append(max(time_ms, self._times[-1] + 1))
        self._events = tuple(events)


@dataclass
class Score:
    """What was found, and what it took."""

    payments: int = 0
    statements: int = 0
    blocks: int = 0
    follow_cpu_s: float = 0.0
    store_threads_cpu_s: float = 0.0
    seeded: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    intruders: int = 0
    alone: int = 0
    tolerated: int = 0
    index_bytes: int = 0
    peak_rss_mb: int = 0
    anonymous_mb: int = 0

    @property
    def per_second(self) -> float:
        """Statements for each second of processor time."""
        return self.statements / (self.follow_cpu_s + self.store_threads_cpu_s)


def blocks_of(told: Iterator[Told]) -> Iterator[list[Told]]:
    """Yield statements in blocks: so many, or those of so long."""
    block: list[Told] = []
    for one in told:
        if block and (len(block) == BLOCK_STATEMENTS or one.time_ms - block[0].time_ms >= BLOCK_SPAN_MS):
            yield block
            block = []
        block.append(one)
    if block:
        yield block


def run(plan: Plan, directory: Path, say: Any, intruders: int = INTRUDERS) -> Score:
    """Reconcile a day, and score it."""
    score, traffic, making, blocks = Score(), Traffic(plan), Statements(plan), Blocks(plan)
    store = LevelDBStore(directory / "index.ldb", write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES)
    follower = ReconciliationFollower(store, blocks)  # type: ignore[arg-type]  # of a reader it needs no more
    answers: dict[bytes, Answer] = {}
    thieves: dict[bytes, set[str]] = {}
    process_s, thread_s = time.process_time(), time.thread_time()
    statements.commit_fields = lambda _key, _values: NO_COMMITMENTS
    every = max(1, plan.payments // intruders) if intruders and plan.banks > 2 else 0
    for block in blocks_of(traffic.statements()):
        events = []
        for one in block:
            if one.answer is not None:
                answers[_pair_key(one.answer)] = one.answer
            if every and score.statements % (2 * every) == 0:
                thief = next(name for name in plan.names if name != one.bank and name not in _parties(one))
                copied = making.copied(one, thief)
                if copied is not None:
                    events.append(copied[1])
                    thieves.setdefault(copied[0], set()).add(thief)
                    score.intruders += 1
            events.append(making.event(one))
            score.statements += 1
        blocks.add(events, block[-1].time_ms)
        began = time.thread_time()
        while follower.follow(blocks.height, 1 << 30):
            pass
        score.follow_cpu_s += time.thread_time() - began
        if blocks.height % 200 == 0:
            say(f"{traffic.made_payments} payments, {score.statements} statements, {score.follow_cpu_s:.0f} s")
    blocks.add((), plan.start_ms + 4 * DAY_MS)
    while follower.follow(blocks.height, 1 << 30):
        pass
    score.store_threads_cpu_s = (time.process_time() - process_s) - (time.thread_time() - thread_s)
    score.payments, score.blocks, score.seeded = traffic.made_payments, blocks.height, dict(traffic.seeded)
    say("scoring")
    reader = ReconciliationReader(store, blocks)  # type: ignore[arg-type]  # as above
    judge(score, store, reader, answers, thieves, plan.start_ms + 4 * DAY_MS)
    store.close()
    score.index_bytes = sum(file.stat().st_size for file in (directory / "index.ldb").iterdir())
    score.anonymous_mb = anonymous_mb()
    score.peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return score


def anonymous_mb() -> int:
    """Return this process's memory that is not the store's files, which LevelDB maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024


def judge(
    score: Score,
    store: LevelDBStore,
    reader: ReconciliationReader,
    answers: dict[bytes, Answer],
    thieves: dict[bytes, set[str]],
    now_ms: int,
) -> None:
    """Hold every payment of the index against the answer key."""
    open_answers = dict(answers)
    listed = dict.fromkeys((state.name.lower() for state in Standing), 0)
    for _, data in store.iterate(PAYMENTS, prefix_stop(PAYMENTS)):
        row = read_row(PaymentRow, data)
        views = reconcile(row.said, now_ms)
        assert [(stood.parties, stood.state) for stood in row.stood] == [(view.parties, view.state) for view in views]
        answer = open_answers.pop(row.pair_key, None)
        for view in views:
            listed[view.state.name.lower()] += 1
            if _speakers(view) <= thieves.get(row.pair_key, set()):
                score.alone += 1
                continue
            score.tolerated += any(leg.tolerated for leg in view.legs)
            if answer is not None and view.parties == answer.between:
                if _is_as(view, answer):
                    score.found[answer.kind] = score.found.get(answer.kind, 0) + 1
                else:
                    score.missed.append(f"{answer}: {view}")
                answer = None
            elif view.state is not Standing.MATCHED or any(leg.late or leg.fields for leg in view.legs):
                score.invented.append(f"{row.pair_key.hex()}: {view}")
        if answer is not None:
            score.missed.append(f"{answer}: nothing between these two")
    score.missed += [f"{answer}: no such payment" for answer in open_answers.values()]
    score.states = listed
    counts = reader.counts(Asked())
    assert {name: getattr(counts, name) for name in listed} == listed, "the counts are those of the rows"


def _speakers(view: PaymentView) -> set[str]:
    return {one.member for leg in view.legs for one in leg.said}


def _is_as(view: PaymentView, answer: Answer) -> bool:
    leg = next((leg for leg in view.legs if leg.leg.name.lower() == answer.leg), None)
    if leg is None or view.state.name.lower() != answer.state or leg.late is not answer.late:
        return False
    fields = leg.equivocations[0].fields if answer.kind is Seeded.DUPLICATE and leg.equivocations else leg.fields
    return fields == answer.fields and (not answer.missing or leg.missing == answer.missing)


def _parties(told: Told) -> set[str]:
    codes = {agent.code for agent in told.payment.agents}
    return {f"{name}" for name in _BANKS_OF_CODES if _BANKS_OF_CODES[name] & codes}


_BANKS_OF_CODES: dict[str, set[str]] = {}


def _pair_key(answer: Answer) -> bytes:
    return payment_keys(secret_of(*answer.between), answer.reference).pair_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = Parser(prog="python -m bench.reconciliation", description=__doc__)
    parser.add_argument(
        "--payments", type=whole(1, 100_000_000), default=2_000_000, help="payments of the day (2000000)"
    )
    parser.add_argument("--banks", type=whole(2, 100), default=20, help="banks (20)")
    parser.add_argument("--seed", type=whole(0, 1 << 62), default=1, help="seed of the traffic (1)")
    parser.add_argument("--intruders", type=whole(0, 1_000_000), default=INTRUDERS, help=f"copied keys ({INTRUDERS})")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2026, 11, 23), help="the day (2026-11-23)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    plan = Plan(options.day, options.banks, options.payments, options.seed)
    _BANKS_OF_CODES.update({name: {c for c, owner in codes_of(plan).items() if owner == name} for name in plan.names})
    with tempfile.TemporaryDirectory(prefix="chainnode-reconciliation-") as scratch:
        score = run(plan, Path(scratch), lambda text: print(text, file=sys.stderr, flush=True), options.intruders)
    print(json.dumps(figures(score)) if options.json else report(score))
    return int(bool(score.missed or score.invented or score.alone != score.intruders))


def figures(score: Score) -> dict[str, Any]:
    """Return what is printed."""
    return {
        "machine": machine()["cpu"],
        "payments": score.payments,
        "statements": score.statements,
        "statements_per_cpu_second": round(score.per_second),
        "us_per_statement": round(1e6 / score.per_second, 1),
        "follow_cpu_s": round(score.follow_cpu_s, 1),
        "store_threads_cpu_s": round(score.store_threads_cpu_s, 1),
        "seeded": {str(name): count for name, count in score.seeded.items()},
        "found": {str(name): count for name, count in score.found.items()},
        "missed": len(score.missed),
        "invented": len(score.invented),
        "states": score.states,
        "copies_by_a_third_bank": score.intruders,
        "copies_that_stand_alone": score.alone,
        "tolerated": score.tolerated,
        "index_mb": round(score.index_bytes / 1e6),
        "peak_rss_mb": score.peak_rss_mb,
        "anonymous_mb": score.anonymous_mb,
        "examples": list(islice(score.missed + score.invented, 5)),
    }


def report(score: Score) -> str:
    """Return the same for people."""
    return "\n".join(f"{name:<26} {value}" for name, value in figures(score).items())


if __name__ == "__main__":
    sys.exit(main())
