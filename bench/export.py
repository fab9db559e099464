"""`python -m bench.export`: how many events a second `audit export` writes, and where its time goes.

Here: a mirror of `--events` payment statements of twenty banks in many forms, under a checkpoint that a quorum signed;
then exports of it, each into a new directory, in CPU time of one process (numpy and Arrow held to one thread). With
`--parts` batches and outcomes are proved as well, from parts that lie beside the mirror. Blocks are not executed: an
export does not either. The status is 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import shake_256
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.measure import machine
from chainnode.mirror_files import MirrorFiles
from ledger.batch_headers import BatchHeader
from ledger.block_parts import BlockParts
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.chain_rows import genesis_block
from ledger.events import Event
from ledger.genesis import Genesis, GenesisMember, GenesisSource, GenesisValidator, validator_set
from ledger.handovers import first_span
from ledger.log_tiles import EMPTY_TIP, LogTip
from ledger.members import Role
from ledger.outcomes import APPLIED, outcomes_root
from ledger.payments import (
    PAYMENT_STATEMENT,
    AgentRecord,
    AgentRole,
    AgentScheme,
    Channel,
    PaymentStatement,
    Side,
    Status,
    TokenField,
    TokenRecord,
)
from ledger.policy import Policy
from ledger.receipts import assemble_checkpoint
from ledger.tile_paths import Tile, levels_of
from ledger.trust_policy import policy_text
from primitives.block import BlockHeader, batches_root
from primitives.encoding import encode
from primitives.hashing import RULES_FIRST, SUITE, leaf_hash
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs
from primitives.keys import SigningKey
from primitives.merkle import root_of
from primitives.notes import Checkpoint, cosign_statement
from sim.arguments import Parser, whole

GOAL_PER_SECOND = 200_000
BANKS = 20
BATCH_EVENTS = 1_000
BLOCK_BATCHES = 8
BLOCK_MS = 30_000
START_MS = 1_782_864_000_000
TYPES = ("pacs.008.001.08", "pacs.008", "pacs.009.001.08", "pain.001.001.09", "iso8583.0200", "emv.qr", "json")
Figures = dict[str, Any]  # Any: JSON


def key_of(name: str, use: str) -> SigningKey:
    """Return a key that is the same in every run."""
    return SigningKey(shake_256(f"{use} {name}".encode()).digest(32))


def genesis() -> Genesis:
    """Return the genesis of a consortium of banks, the first four with validators."""
    names = [f"bank-{number:02d}" for number in range(BANKS)]
    return Genesis(
        "bench-export",
        START_MS,
        tuple(
            GenesisMember(
                name, name, (Role.BANK,), "", (), (GenesisSource(key_of(name, "source").public, (Role.BANK,)),), ()
            )
            for name in names
        ),
        tuple(
            GenesisValidator(
                f"node-{name}",
                name,
                key_of(name, "vote").public,
                key_of(name, "cosign").public,
                key_of(name, "log").public,
                f"127.0.0.1:{7400 + 10 * number}",
            )
            for number, name in enumerate(names[:4])
        ),
        Policy(),
        PUBLISHED_CATALOGUES,
    )


def bic_of(bank: int) -> str:
    """Return a bank's BIC; every fourth has no branch in it."""
    return f"BK{chr(65 + bank)}ACNBJ{'' if bank % 4 == 0 else 'XXX'}"


def statement(number: int, now_ms: int) -> tuple[PaymentStatement, bytes]:
    """Return a statement whose form depends on its number, and its event's reference."""
    noise = shake_256(b"%d" % number).digest(336)
    uetr = bytearray(noise[16:32])
    uetr[6], uetr[8] = uetr[6] & 0x0F | 0x40, uetr[8] & 0x3F | 0x80
    first, second = noise[0] % BANKS, noise[1] % BANKS
    is_paired, is_clear = noise[2] % 4 > 0, noise[3] % 2 > 0
    type_ = TYPES[noise[4] % len(TYPES)]
    fields = list(TokenField)[: 5 if type_[:4] == "pacs" else 2] if is_paired else []
    body = PaymentStatement(
        salt=noise[:16],
        side=Side(1 + noise[5] % 6),
        message_type=type_,
        status=Status(1 + noise[6] % 6),
        reason="AC03" if noise[6] % 6 == 3 else "",
        amount=100 + int.from_bytes(noise[208:212], "big") % 10 ** (3 + noise[12] % 6) if is_clear else None,
        currency=("CNY", "CNY", "CNY", "USD", "JPY")[noise[13] % 5],
        amount_commitment=b"" if is_clear else noise[32:64],
        settlement_date=0 if noise[14] % 8 == 0 else 20260701 + noise[15] % 30,
        agents=[
            AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, bic_of(first)),
            AgentRecord(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, bic_of(second)),
        ],
        channel=Channel(noise[10] % 9),
        uetr=bytes(uetr) if "." in type_ and type_[0] == "p" else b"",
        reference_commitment=noise[64:96],
        pair_key=noise[96:128] if is_paired else b"",
        tokens=[TokenRecord(each, noise[240 + 16 * each : 256 + 16 * each]) for each in fields],
        fields_root=noise[128:160],
        terminal_certificate="PAY-2026-01-0001" if noise[8] % 10 == 0 else "",
        source_digest=noise[160:192],
        time_ms=TimeMs(now_ms - noise[9]),
    )
    return body, noise[192:208]


class Log(NamedTuple):
    """A log that was made: its tip, and the number of blocks."""

    tip: LogTip
    blocks: int


class _Mirror:
    """Writes a log as a mirror's files, entry by entry."""

    def __init__(self, directory: Path) -> None:
        self.files = MirrorFiles(directory)
        self.tip = EMPTY_TIP
        self._hashes: dict[int, list[bytes]] = {}
        self._waiting: list[bytes] = []

    def add(self, entries: Sequence[bytes]) -> list[Hash]:
        """Append entries; return their hashes."""
        leaves = [leaf_hash(entry) for entry in entries]
        self.tip, added = self.tip.extend(leaves)
        for level, hashes in added.items():
            self._hashes.setdefault(level, []).extend(hashes)
        self._waiting += entries
        return leaves

    def write(self, *, last: bool = False) -> None:
        """Write what is full, and at the end the rest."""
        for level in range(levels_of(self.tip.size)):
            self._write(level, self.tip.size >> 8 * level, self._hashes.get(level, []), last)
        self._write(None, self.tip.size, self._waiting, last)

    def _write(self, level: int | None, count: int, kept: list[bytes], last: bool) -> None:
        first = count - len(kept)
        while len(kept) >= 256 or (last and kept):
            part = kept[:256]
            del kept[:256]
            data = part if level is not None else [len(entry).to_bytes(2, "big") + entry for entry in part]
            self.files.put(Tile(level, first >> 8, len(part)), b"".join(data))
            first += len(part)


def make_mirror(directory: Path, events: int, founded: Genesis) -> Log:
    """Write a mirror of so many statements, with the parts of its blocks beside it."""
    mirror = _Mirror(directory)
    header = genesis_block(founded)[0].header
    mirror.add([header.leaf()])
    numbers = dict.fromkeys(range(BANKS), 0)
    left = iter(range(events))
    while block := list(islice(left, BATCH_EVENTS * BLOCK_BATCHES)):
        now_ms = header.time_ms + BLOCK_MS
        entries, batches = [], []
        for start in range(0, len(block), BATCH_EVENTS):
            bank = (block[0] // BATCH_EVENTS + start // BATCH_EVENTS) % BANKS
            batch = [_entry(f"bank-{bank:02d}", number, now_ms) for number in block[start : start + BATCH_EVENTS]]
            root = root_of([leaf_hash(entry) for entry in batch])
            source = key_of(f"bank-{bank:02d}", "source").public
            batches.append(
                BatchHeader(
                    *(SUITE, founded.chain_id, f"bank-{bank:02d}", source, numbers[bank]),
                    *(ZERO_HASH if numbers[bank] == 0 else Hash(root), len(batch), root, now_ms),
                )
            )
            numbers[bank] += 1
            entries += batch
        first = mirror.tip.size
        mirror.add(entries)
        header = _header(founded, header, now_ms, first, batches, mirror.tip)
        mirror.add([header.leaf()])
        path = directory / f"blocks/{header.height}/parts"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(BlockParts(tuple(batches), ())))
        mirror.write()
    mirror.write(last=True)
    mirror.files.put_policy(policy_text(founded, (first_span(founded),)))
    mirror.files.put_checkpoint(_note(founded, mirror.tip))
    mirror.files.put_entries_size(mirror.tip.size)
    return Log(mirror.tip, header.height + 1)


def _entry(member: str, number: int, now_ms: int) -> bytes:
    body, reference = statement(number, now_ms)
    event = Event(member, reference, now_ms + 3_600_000, PAYMENT_STATEMENT, 1, encode(body))
    return bytes([PAYMENT_STATEMENT]) + encode(event)


def _header(
    founded: Genesis, before: BlockHeader, now_ms: int, first: int, batches: list[BatchHeader], tip: LogTip
) -> BlockHeader:
    count = tip.size - first
    return BlockHeader(
        suite=SUITE,
        version=RULES_FIRST,
        chain_id=founded.chain_id,
        height=Height(before.height + 1),
        epoch=Epoch(0),
        parent=before.hash(),
        time_ms=TimeMs(now_ms),
        proposer=0,
        batches_root=batches_root(tuple(batch.hash() for batch in batches)),
        first_index=first,
        event_count=count,
        outcomes_root=outcomes_root([APPLIED] * count),
        log_root=tip.root(),
        state_root=before.state_root,
        batch_logs_root=before.batch_logs_root,
        next_validators=before.next_validators,
    )


def _note(founded: Genesis, tip: LogTip) -> str:
    text = Checkpoint(founded.origin, tip.size, tip.root()).text()
    time_s = START_MS // 1_000 + 86_400
    signed = [
        (index, time_s, key_of(f"bank-{index:02d}", "cosign").sign(cosign_statement(text, time_s)))
        for index in range(3)
    ]
    log = key_of("bank-00", "log")
    return assemble_checkpoint(founded, validator_set(founded), "node-bank-00", log, tip.size, tip.root(), signed)


def measure(mirror: Path, runs: int, events: int, *, parts: bool, chunk: int | None, profile: bool) -> Figures:
    """Return the figures of so many exports of a mirror."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    found: dict[str, list[float]] = {"cpu": [], "wall": []}
    size = 0
    for cpu_s, wall_s, bytes_, rows in islice(_exports(mirror, parts, chunk, profile), runs):
        assert rows == events, "every event is a row"
        found["cpu"].append(cpu_s)
        found["wall"].append(wall_s)
        size = bytes_
    cpu, wall = median(found["cpu"]), median(found["wall"])
    return {
        "events": events,
        "parts": parts,
        "events_per_cpu_second": round(events / cpu),
        "events_per_second": round(events / wall),
        "cpu_us_per_event": round(cpu / events * 1e6, 2),
        "bytes_per_event": round(size / events),
        "cpu_all": [round(each, 2) for each in found["cpu"]],
        "wall_all": [round(each, 2) for each in found["wall"]],
    }


def _exports(mirror: Path, parts: bool, chunk: int | None, profile: bool) -> Iterator[tuple[float, float, int, int]]:
    from chainnode.analysis.export_files import ExportFiles
    from chainnode.analysis.exporting import Exporter
    from chainnode.log_source import DirectorySource
    from chainnode.monitoring import Trust

    while True:
        with tempfile.TemporaryDirectory(dir=mirror.parent) as scratch:
            files = ExportFiles(Path(scratch) / "export")
            source = DirectorySource(mirror)
            trust = Trust((mirror / "policy").read_text("utf-8"))
            with files.opened():
                exporter = Exporter(files, trust, source, [source] if parts else [])
                exporter.chunk_entries = chunk or exporter.chunk_entries
                profiler = cProfile.Profile()
                cpu, wall = time.process_time(), time.perf_counter()
                if profile:
                    done = profiler.runcall(exporter.run)
                else:
                    done = exporter.run()
                spent = time.process_time() - cpu, time.perf_counter() - wall
                if profile:
                    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
            yield *spent, done.bytes, done.rows["events"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, measure and print; the status is 1 where the goal is missed."""
    parser = Parser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=whole(1, 100_000_000), default=1_000_000, help="statements (1000000)")
    parser.add_argument("--runs", type=whole(1, 100), default=3, help="exports, whose median counts (3)")
    parser.add_argument("--chunk", type=whole(256, 1 << 22), help="entries of a chunk")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="keep the mirror here, and use it if it is there"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options: argparse.Namespace = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="chainnode-bench-") as scratch:
        mirror = (options.keep or Path(scratch)) / f"mirror-{options.events}"
        if not (mirror / "checkpoint").exists():
            print(f"a mirror of {options.events} statements", file=sys.stderr, flush=True)
            make_mirror(mirror, options.events, genesis())
        figures: Figures = {"machine": machine()}
        for parts in (False, True):
            figures["with_parts" if parts else "log"] = measure(
                mirror, options.runs, options.events, parts=parts, chunk=options.chunk, profile=options.profile
            )
    print(json.dumps(figures, indent=None if options.json else 1))
    return int(figures["log"]["events_per_cpu_second"] < GOAL_PER_SECOND)


if __name__ == "__main__":
    sys.exit(main())
