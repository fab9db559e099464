"""`python -m bench.vouchers`: how many offline vouchers are redeemed in a second.

By a node's execution: full blocks of redemptions, 64 vouchers an event and 16 events of each of four banks, each
voucher's signature verified once, in processor time of one process (reading a batch, executing a block, its rows). End
to end: `chainnode voucher redeem` of a file on a network of four nodes on this machine, by the clock, then once more
with the same file, which redeems nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from bench.network import network
from bench.report import table
from bench.workload import BenchSource
from ledger.batches import ParsedBatch, parse_batch, verify_batch
from ledger.chain import Chain
from ledger.event_json import body_to_json, record_to_json
from ledger.events import Event
from ledger.rules import RULES_PAYMENTS
from ledger.store_leveldb import LevelDBStore
from ledger.voucher_bodies import (
    DAY_MS,
    NO_VOUCHER,
    REDEEM_VOUCHERS,
    REGISTER_WALLET,
    SCHEMA,
    VOUCHERS_MAX,
    RedeemVouchers,
    RegisterWallet,
    Voucher,
    signed_by_its_wallet,
    voucher_hash,
    voucher_statement,
    wallet_statement,
)
from ledger.wallets import REDEMPTIONS_A_MEMBER_MAX
from primitives.encoding import encode
from primitives.ids import TimeMs, View
from primitives.keys import SigningKey
from primitives.votes import COMMIT, QuorumCertificate, vote_statement
from sim.arguments import Parser, whole
from sim.workload import SOURCE, START_MS, bank_of, genesis_of, key_of

BANKS: Final = 4
WALLETS: Final = BANKS * REDEMPTIONS_A_MEMBER_MAX
BLOCKS: Final = 5
COUNT_MAX: Final = 1_000
VOUCHERS: Final = 10_000
HOUR_MS: Final = 3_600_000

Figures = dict[str, Any]  # Any: JSON
T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = Parser(prog="python -m bench.vouchers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--blocks", type=whole(1, COUNT_MAX // VOUCHERS_MAX), default=BLOCKS, help=f"({BLOCKS})")
    parser.add_argument("--vouchers", type=whole(0, 100_000), default=VOUCHERS, help=f"end to end ({VOUCHERS})")
    options = parser.parse_args(arguments)
    figures = measured(options)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measured(options: argparse.Namespace) -> Figures:
    """Return the figures of execution, and end to end where any vouchers are asked for."""
    with tempfile.TemporaryDirectory(prefix="chainnode-bench-") as scratch:
        figures = {"execution": executed(Path(scratch), options.blocks)}
        if options.vouchers:
            figures["end to end"] = end_to_end(Path(scratch), options.vouchers)
    return figures


class Purse:
    """A wallet that signs one voucher after the other."""

    def __init__(self, name: str, chain_id: bytes, issuer: str, now_ms: int) -> None:
        self._key, self._chain_id, self._now_ms = key_of(name, "wallet"), chain_id, now_ms
        self._counter, self._previous = 0, NO_VOUCHER
        self.registration = RegisterWallet(
            key=self._key.public,
            currency="CNY",
            amount_max=50_000,
            count_max=COUNT_MAX,
            age_max_s=86_400,
            valid_from_ms=now_ms - HOUR_MS,
            valid_until_ms=now_ms + DAY_MS,
            holder_commitment=bytes(32),
            proof=self._key.sign(wallet_statement(chain_id, issuer, self._key.public)),
        )

    def paid(self, count: int) -> tuple[Voucher, ...]:
        """Return its next vouchers."""
        return tuple(self._next() for _ in range(count))

    def _next(self) -> Voucher:
        bare = Voucher(
            self._key.public, self._counter, self._previous, bytes(32), 1_250, "CNY", self._now_ms, bytes(64)
        )
        self._counter, self._previous = self._counter + 1, bytes(voucher_hash(self._chain_id, bare))
        return _signed(self._key, self._chain_id, bare)


def _signed(key: SigningKey, chain_id: bytes, bare: Voucher) -> Voucher:
    return replace(bare, signature=key.sign(voucher_statement(chain_id, bare)))


def _verify_all(batches: Sequence[ParsedBatch]) -> None:
    for batch in batches:
        verify_batch(batch)


class Desk:
    """A chain of four banks in a store of its own, and how long each step took of a processor."""

    def __init__(self, folder: Path) -> None:
        self.genesis = genesis_of(BANKS, rules=RULES_PAYMENTS)
        self._store = LevelDBStore(folder / "ledger.ldb")
        self._chain = Chain(self._store, self.genesis)
        self._now_ms = int(START_MS)
        self._references = 0
        self._sources = [BenchSource(self.genesis.chain_id, bank_of(i), key_of(bank_of(i), SOURCE)) for i in range(4)]
        self.spent_s: dict[str, list[float]] = {}

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def commit(self, said: Sequence[Sequence[tuple[int, bytes]]]) -> None:
        """Commit a block of what each bank says: kinds and bodies. All of it must be applied."""
        self._now_ms += 100
        raws = [source.signed([self._event(source, *each) for each in part]) for source, part in self._with(said)]
        batches = self._timed("read_batches", lambda: [parse_batch(raw) for raw in raws])
        self._timed("verify_batches", lambda: _verify_all(batches))
        for batch in batches:
            self._store.write(self._chain.add_batch(batch), sync=False)
        chain, now_ms = self._chain, TimeMs(self._now_ms)
        epoch = chain.validators_after(chain.tip_hash).epoch
        block = self._timed(
            "execute",
            lambda: chain.build(chain.tip_hash, time_ms=now_ms, epoch=epoch, proposer=0, batches=batches),
        )
        certificate = self._certificate(block.header.hash(), block.header.height, epoch)
        result = chain.commit(block.header.hash(), certificate)
        self._timed("write_rows", lambda: self._store.write(result.puts, sync=True))
        chain.written(result.ticket)
        assert all(outcome.applied for outcome in result.outcomes), result.outcomes[0]

    def _with(
        self, said: Sequence[Sequence[tuple[int, bytes]]]
    ) -> list[tuple[BenchSource, Sequence[tuple[int, bytes]]]]:
        return [(source, part) for source, part in zip(self._sources, said, strict=True) if part]

    def _event(self, source: BenchSource, kind: int, body: bytes) -> bytes:
        self._references += 1
        reference = self._references.to_bytes(16, "big")
        return encode(Event(source.member, reference, self._now_ms + HOUR_MS, kind, SCHEMA, body))

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        begin = time.process_time()
        found = step()
        self.spent_s.setdefault(name, []).append(time.process_time() - begin)
        return found

    def _certificate(self, block_hash: Any, height: Any, epoch: Any) -> QuorumCertificate:
        signed = vote_statement(COMMIT, self.genesis.chain_id, epoch, View(0), height, block_hash)
        validators = self._chain.validators_after(self._chain.tip_hash)
        signatures = [
            (index, key_of(each.name, "vote").sign(signed))
            for index, each in enumerate(validators.validators[: validators.quorum])
        ]
        return QuorumCertificate(COMMIT, epoch, View(0), height, block_hash, tuple(signatures))


def executed(folder: Path, blocks: int) -> Figures:
    """Return what redeeming costs of a processor, a voucher: the median of full blocks."""
    desk = Desk(folder)
    purses = [Purse(f"purse {i}", desk.genesis.chain_id, bank_of(i % BANKS), int(START_MS)) for i in range(WALLETS)]
    registered = [[(REGISTER_WALLET, encode(each.registration)) for each in purses[i::BANKS]] for i in range(BANKS)]
    desk.commit(registered)
    desk.spent_s.clear()
    alone: list[float] = []
    for _ in range(blocks):
        paid = [purse.paid(VOUCHERS_MAX) for purse in purses]
        said = [[(REDEEM_VOUCHERS, encode(RedeemVouchers(each))) for each in paid[i::BANKS]] for i in range(BANKS)]
        desk.commit(said)
        begin = time.process_time()
        assert all(signed_by_its_wallet(desk.genesis.chain_id, voucher) for part in paid for voucher in part)
        alone.append(time.process_time() - begin)
    desk.close()
    a_block = WALLETS * VOUCHERS_MAX
    medians = {name: statistics.median(times) / a_block for name, times in desk.spent_s.items()}
    return {
        "vouchers_a_block": a_block,
        "vouchers_a_cpu_second_executed": round(1 / medians["execute"]),
        "vouchers_a_cpu_second_in_all": round(1 / sum(medians.values())),
        **{f"{name}_cpu_us": round(1e6 * seconds, 1) for name, seconds in medians.items()},
        "their_signatures_alone_cpu_us": round(1e6 * statistics.median(alone) / a_block, 1),
    }


def end_to_end(folder: Path, count: int) -> Figures:
    """Return how long `voucher redeem` takes with a file of so many vouchers, and with the same file again."""
    with network(BANKS, sources_a_bank=1) as net:
        node, now_ms = net.load().nodes[0], time.time_ns() // 1_000_000
        chain_id = bytes.fromhex(net.load().chain_id)
        purses = [Purse(f"file {i}", chain_id, node.member, now_ms) for i in range(-(-count // COUNT_MAX))]
        bodies = [body_to_json(REGISTER_WALLET, SCHEMA, encode(purse.registration)) for purse in purses]
        asked = folder / "wallets.jsonl"
        asked.write_text("\n".join(json.dumps({"kind": "wallet.register", "body": body}) for body in bodies))
        _run(node.home, "submit", str(asked))
        paid = [voucher for purse in purses for voucher in purse.paid(COUNT_MAX)][:count]
        file = folder / "vouchers.jsonl"
        file.write_text("\n".join(json.dumps(record_to_json(voucher)) for voucher in paid))
        seconds = [_run(node.home, "voucher", "redeem", str(file), "--timeout", "600") for _ in range(2)]
    return {
        "vouchers": count,
        "first_s": round(seconds[0], 2),
        "vouchers_a_second": round(count / seconds[0]),
        "again_s": round(seconds[1], 2),
    }


def _run(home: str, *words: str) -> float:
    """Run a command with a home, which must end well; return its seconds."""
    begin = time.monotonic()
    command = [str(Path(sys.executable).with_name("chainnode")), "-o", "json", "--home", home, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2_000:])
    return time.monotonic() - begin


if __name__ == "__main__":
    sys.exit(main())
