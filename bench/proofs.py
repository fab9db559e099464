"""`python -m bench.proofs`: what proofs weigh and cost in a large ledger, what the log costs an event, fsck's speed.

Here: a real store of `--events` payment statements and `--certificates` certificates, filled through the ledger's own
chain (real batches, signatures and commit certificates of four validators), and figures of proofs drawn from it. Times
are CPU time; those of signatures are told apart. Not here: a network (`bench.__main__`).
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from bench.measure import disk_bytes, machine, percentile
from bench.workload import statement_event
from chainnode.node_index import INDEX_WRITE_BUFFER_BYTES
from ledger import receipts, trust_policy
from ledger.batches import build_batch, parse_batch, verify_batch
from ledger.certificate_bodies import Product
from ledger.certificate_records import NO_HISTORY, Certificate, State, certificate_key
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.events import Event
from ledger.fsck import verify_all
from ledger.genesis import Genesis, validator_set
from ledger.handovers import first_span
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.kinds import ApplyContext, KindSpec, assemble
from ledger.log_tiles import EMPTY_TIP, tile_rows
from ledger.reader import LedgerReader
from ledger.receipts import Receipt, make_receipt, verify
from ledger.registry import KINDS
from ledger.state import Transaction
from ledger.status_proofs import make_status_proof, verify_status
from ledger.store import MemoryStore
from ledger.store_leveldb import LevelDBStore
from ledger.tlog_proofs import PROOF_SIZE_MAX, parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint, policy_text
from primitives.encoding import Record, decode, encode
from primitives.hashing import leaf_hash
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, QuorumCertificate, vote_statement
from sim.arguments import Parser, whole
from sim.workload import START_MS, bank_of, genesis_of, key_of

YEAR_MS = 365 * 86_400_000
BANKS = tuple(map(bank_of, range(4)))
BATCH_EVENTS = 1_000
BLOCK_BATCHES = 10
BLOCK_MS = 250
CERTIFICATES_A_BATCH = 500
LOG_ROUNDS = 20
EVENTS_MAX = 1_000_000_000
CERTIFICATES_MAX = 10_000_000
PROOFS_MAX = 100_000
BENCH_KIND = 250

Figures = dict[str, Any]  # Any: JSON
Say = Callable[[str], None]


class Granted(Record):
    """The body of the one kind that only this benchmark has: it puts a certificate into the state as it is."""

    number: int


def _grant(_context: ApplyContext, state: Transaction, body: Granted) -> None:
    certificate = Certificate(
        number=number_of(body.number),
        application=f"APP-{body.number:08d}",
        holder="91310000MA1FL5XT5C",
        holder_name="Payment Terminal Maker",
        product=Product(f"Terminal {body.number}", "T-1000", "1.0"),
        category=1 + body.number % 11,
        catalogue=1,
        body=BANKS[0],
        state=State.ACTIVE,
        since_ms=START_MS,
        version=1,
        valid_from_ms=START_MS,
        valid_until_ms=START_MS + 3 * YEAR_MS,
        suspension=None,
        revocation=None,
        predecessor=None,
        successor=None,
        evidence=(),
        corrections=(),
        appeal_until_ms=None,
        history=NO_HISTORY,
    )
    state.put(certificate_key(certificate.number), certificate)


GRANTING = KindSpec(BENCH_KIND, "bench.granted", {1: Granted}, changes_state=True, apply=_grant)
ALL_KINDS = assemble(tuple(KINDS.values()), (GRANTING,))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill a store, draw proofs from it and print one JSON object."""
    options = _parse(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="chainnode-bench-proofs-", dir=options.directory) as scratch:
        path = Path(scratch) / "ledger.ldb"
        store = LevelDBStore(path)
        made = fill(store, options.events, options.certificates, say)
        say("the index")
        index = LevelDBStore(Path(scratch) / "index.ldb", write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES)
        places = Index(index)
        follower = IndexFollower(places, made.reader(store, places))
        while follower.follow():
            pass
        store.close()
        store = LevelDBStore(path)
        figures: Figures = {"machine": machine(), "events": options.events, "certificates": options.certificates}
        figures["store_bytes_per_event"] = round(disk_bytes(path) / options.events, 1)
        figures["receipt"] = measure_receipts(made.reader(store, places), made.policy, options.proofs)
        figures["status_proof"] = measure_status(
            made.reader(store, places), made.policy, options.certificates, options.proofs
        )
        figures["log_us_per_event"] = measure_log()
        if options.fsck:
            figures["fsck"] = measure_fsck(store, made.genesis)
        index.close()
        store.close()
    print(json.dumps(figures))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.proofs", description=__doc__)
    parser.add_argument("--events", type=whole(1, EVENTS_MAX), default=10_000_000, help="payments (10000000)")
    parser.add_argument("--certificates", type=whole(1, CERTIFICATES_MAX), default=100_000, help="of them (100000)")
    parser.add_argument("--proofs", type=whole(1, PROOFS_MAX), default=500, help="proofs of each kind (500)")
    parser.add_argument("--fsck", action="store_true", help="re-verify the whole store as well")
    parser.add_argument("--directory", type=Path, help="where the store is put (default: the system's)")
    return parser.parse_args(arguments)


def number_of(index: int) -> str:
    """Return the number of a certificate."""
    return f"CFP-2026-{index:08d}"


# --- filling a store


@dataclass(frozen=True, slots=True)
class Made:
    """What a filled store is read and verified with."""

    genesis: Genesis
    policy: str

    def reader(self, store: LevelDBStore, index: Index | None = None) -> LedgerReader:
        """Return a reader of the store, which finds events by the index; without one, in the whole log."""
        return LedgerReader(store, self.genesis, index)


class _Source:
    """A bank that submits without a gap."""

    def __init__(self, bank: str, chain_id: Hash) -> None:
        self._bank, self._chain_id, self._key = bank, chain_id, key_of(bank, "source")
        self._number, self._previous = 0, ZERO_HASH

    def batch(self, events: Sequence[bytes]) -> Any:  # Any: a parsed batch
        raw = build_batch(
            events,
            chain_id=self._chain_id,
            member=self._bank,
            key=self._key,
            number=self._number,
            previous=self._previous,
            time_ms=TimeMs(START_MS),
        )
        parsed = parse_batch(raw, ALL_KINDS)
        verify_batch(parsed)
        self._number, self._previous = self._number + 1, parsed.hash
        return parsed


def fill(store: LevelDBStore, events: int, certificates: int, say: Say) -> Made:
    """Commit the certificates, then the payments in blocks of ten batches of 1,000, then a cosigned checkpoint."""
    genesis = genesis_of(len(BANKS))
    chain = Chain(store, genesis, ALL_KINDS)
    sources = [_Source(bank, genesis.chain_id) for bank in BANKS]
    began, done = time.perf_counter(), 0
    for number, (bank, batch) in enumerate(_batches(events, certificates)):
        parsed = sources[bank].batch(batch)
        store.write(chain.add_batch(parsed), sync=False)
        if number % BLOCK_BATCHES == 0:
            group = []
        group.append(parsed)
        done += len(batch)
        if len(group) == BLOCK_BATCHES or done == events + certificates:
            _commit(chain, store, genesis, group)
            if chain.height % 100 == 0:
                say(f"{done:,} events, {done / (time.perf_counter() - began):,.0f} a second")
    _checkpoint(chain, store, genesis)
    return Made(genesis, policy_text(genesis, (first_span(genesis),)))


def _batches(events: int, certificates: int) -> Iterator[tuple[int, list[bytes]]]:
    for start in range(0, certificates, CERTIFICATES_A_BATCH):
        stop = min(start + CERTIFICATES_A_BATCH, certificates)
        yield 0, [_granted(index) for index in range(start, stop)]
    for start in range(0, events, BATCH_EVENTS):
        bank = start // BATCH_EVENTS % len(BANKS)
        stop = min(start + BATCH_EVENTS, events)
        yield bank, [statement_event(BANKS[bank], b"%d" % index, START_MS) for index in range(start, stop)]


def _granted(index: int) -> bytes:
    reference = shake_256(b"certificate %d" % index).digest(16)
    return encode(Event(BANKS[0], reference, START_MS + YEAR_MS // 400, BENCH_KIND, 1, encode(Granted(index))))


def _commit(chain: Chain, store: LevelDBStore, genesis: Genesis, batches: Sequence[Any]) -> None:
    chain.written(chain.ticket)
    time_ms = chain.header.time_ms + BLOCK_MS
    block = chain.build(chain.tip_hash, time_ms=time_ms, epoch=0, proposer=0, batches=batches)
    block_hash = block.header.hash()
    message = vote_statement(COMMIT, genesis.chain_id, 0, View(0), block.header.height, block_hash)
    votes = tuple((index, key_of(bank, "vote").sign(message)) for index, bank in enumerate(BANKS[:3]))
    height = Height(block.header.height)
    result = chain.commit(block_hash, QuorumCertificate(COMMIT, Epoch(0), View(0), height, block_hash, votes))
    store.write(result.puts, sync=False)
    chain.written(result.ticket)


def _checkpoint(chain: Chain, store: LevelDBStore, genesis: Genesis) -> None:
    text = Checkpoint(genesis.origin, chain.log_size, chain.log_root).text()
    time_s = chain.header.time_ms // 1_000 + 1
    cosigned = [
        (index, time_s, key_of(bank, "cosign").sign(cosign_statement(text, time_s)))
        for index, bank in enumerate(BANKS[:3])
    ]
    log_key = key_of(BANKS[0], "log")
    validators = validator_set(genesis)
    note = assemble_checkpoint(genesis, validators, BANKS[0], log_key, chain.log_size, chain.log_root, cosigned)
    store.write(checkpoint_rows(store, note), sync=True)


# --- figures


@contextmanager
def _signatures() -> Iterator[list[float]]:
    """Yield a list to which the CPU seconds of every verified signature of a proof are added."""
    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            before = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent.append(time.process_time() - before)

        return call

    with (
        patch.object(receipts, "verify_signature", timed(receipts.verify_signature)),
        patch.object(trust_policy, "verify_cosignature", timed(trust_policy.verify_cosignature)),
        patch.object(trust_policy, "verify_log_signature", timed(trust_policy.verify_log_signature)),
    ):
        yield spent


def _measured(make: Callable[[int], str], check: Callable[[str], object], count: int) -> tuple[list[str], Figures]:
    """Return `count` proofs, and in ms of CPU time what making and verifying one takes beside its signatures."""
    texts, making, verifying, signing = [], [], [], []
    for number in range(count):
        before = time.process_time()
        texts.append(make(number))
        making.append(time.process_time() - before)
    with _signatures() as spent:
        for text in texts:
            spent.clear()
            before = time.process_time()
            check(text)
            used = time.process_time() - before
            verifying.append(used - sum(spent))
            signing.append(sum(spent))
    return texts, {
        "made_ms": _spread(making),
        "verified_ms_beside_signatures": _spread(verifying),
        "signatures_ms": _spread(signing),
    }


def _spread(seconds: list[float]) -> Figures:
    ordered = sorted(seconds)
    return {"median": round(median(ordered) * 1e3, 3), "p99": round(percentile(ordered, 0.99) * 1e3, 3)}


def measure_receipts(reader: LedgerReader, policy: str, count: int) -> Figures:
    """Return what receipts of events drawn from the whole log weigh (as text, without their event) and cost."""
    tip = reader.tip()
    assert tip is not None, "the store was filled"
    draw = random.Random(1)
    ids = []
    while len(ids) < count:
        header = reader.header(draw.randrange(1, tip.height + 1))
        assert header is not None, "a height of the chain"
        view = reader.event_at(header.height, draw.randrange(header.event_count))
        assert view is not None, "an event of the block"
        ids.append(view.id)

    def make(number: int) -> str:
        text = make_receipt(reader, ids[number])
        assert text is not None, "the checkpoint covers every event"
        return text

    texts, figures = _measured(make, lambda text: verify(text, policy), count)
    sizes = sorted(len(text.encode()) - _event_text(text) for text in texts)
    return {"bytes_without_event": {"median": sizes[count // 2], "most": sizes[-1]}, **figures}


def _event_text(text: str) -> int:
    """Return the characters of base64 that the event takes in a receipt."""
    extra = parse_tlog_proof(text).extra
    event = decode(Receipt, extra, size_max=PROOF_SIZE_MAX).event
    return len(base64.b64encode(extra)) - len(base64.b64encode(extra[len(event) :]))


def measure_status(reader: LedgerReader, policy: str, certificates: int, count: int) -> Figures:
    """Return what status proofs weigh and cost: every fourth of a certificate that never was."""
    tip = reader.tip()
    assert tip is not None, "the store was filled"
    draw = random.Random(2)
    least = -(-certificates // (CERTIFICATES_A_BATCH * BLOCK_BATCHES)) + 1
    heights = (
        [draw.randrange(least, tip.height + 1) for _ in range(count)] if tip.height > least else [tip.height] * count
    )
    numbers = [number_of(draw.randrange(certificates) if place % 4 else certificates + place) for place in range(count)]

    def make(number: int) -> str:
        text = make_status_proof(reader, certificate_key(numbers[number]), heights[number])
        assert text is not None, "the checkpoint covers every block"
        return text

    texts, figures = _measured(make, lambda text: verify_status(text, policy), count)
    sizes = sorted(len(text.encode()) for text in texts)
    return {"bytes": {"median": sizes[count // 2], "most": sizes[-1]}, **figures}


def measure_log() -> Figures:
    """Return the µs of CPU time that growing the log takes an event beside its leaf hash, in large and small blocks."""
    figures: Figures = {}
    for size in (BLOCK_BATCHES * BATCH_EVENTS, 1):
        rounds = LOG_ROUNDS if size > 1 else LOG_ROUNDS * 500
        store, tip = MemoryStore(), EMPTY_TIP
        blocks = [[leaf_hash(b"%d %d" % (number, index)) for index in range(size)] for number in range(rounds)]
        spent = 0.0
        for leaves in blocks:
            before = time.process_time()
            after, added = tip.extend(leaves)
            puts = tile_rows(store, b"", tip, added)
            spent += time.process_time() - before
            store.write(puts, sync=False)
            tip = after
        figures[f"blocks_of_{size}"] = round(spent / (rounds * size) * 1e6, 3)
    return figures


def measure_fsck(store: LevelDBStore, genesis: Genesis) -> Figures:
    """Return how fast the whole store is re-verified."""
    cpu, wall, events = time.process_time(), time.perf_counter(), 0
    for item in verify_all(store, genesis, ALL_KINDS):
        events += item.event_count
    took = time.perf_counter() - wall
    return {
        "events_per_second": round(events / took),
        "cpu_us_per_event": round((time.process_time() - cpu) / events * 1e6, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
