"""How long a node with a large ledger takes to be ready, and how long the command line takes to show its help.

Here: filling one validator's store quickly, through the ledger alone, then starting its node as a process. Not here:
throughput (`bench.__main__`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import disk_bytes, peak_memory
from bench.network import BenchNet, free_base
from bench.workload import BATCH_EVENTS
from chainnode.home import Home
from chainnode.identity import load_node_keys
from chainnode.localnet import LocalNode
from chainnode.node_index import INDEX_WRITE_BUFFER_BYTES
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.genesis_json import genesis_from_json
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.reader import LedgerReader
from ledger.store_leveldb import LevelDBStore
from primitives.block import Block
from primitives.ids import Epoch, Hash, View
from primitives.votes import COMMIT, QuorumCertificate, vote_statement

BLOCK_BATCHES = 8
RESTARTS = 3
HELP_RUNS = 9
READY_TIMEOUT_S = 60.0
POLL_S = 0.01


def restart_figures(events: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the seconds from a node's start to its first good answer on /readyz: the median of several starts."""
    directory = Path(tempfile.mkdtemp(prefix="chainnode-bench-"))
    net = BenchNet(directory, sources_a_bank=4)
    try:
        base = free_base(1)
        net.found(1, base_port=base, now_ms=time.time_ns() // 1_000_000 - 1_000, step=lambda _: None)
        (node,) = net.load().nodes
        fill(net, node, events, say)
        seconds, peaks = [], []
        for _ in range(RESTARTS):
            took, peak = time_start(net)
            seconds.append(took)
            peaks.append(peak)
        return {
            "events": events,
            "ready_s": round(median(seconds), 2),
            "ready_s_all": [round(each, 2) for each in seconds],
            "rss_peak_mib": round(max(peaks) / (1 << 20), 1),
            "store_mib": round(disk_bytes(Path(node.home) / "data") / (1 << 20), 1),
        }
    finally:
        net.stop()
        shutil.rmtree(directory, ignore_errors=True)


def fill(net: BenchNet, node: LocalNode, events: int, say: Callable[[str], None]) -> None:
    """Commit events to the store of a chain of one validator, whose key certifies each block, and index them."""
    home = Home(Path(node.home))
    genesis = genesis_from_json(home.genesis.read_bytes())
    vote_key = load_node_keys(home).vote
    assert vote_key is not None
    store = LevelDBStore(home.resolve("data/ledger.ldb"))
    chain = Chain(store, genesis)
    sources = net.sources()
    while chain.log_size < events:
        batches = [
            parse_batch(source.batch(BATCH_EVENTS)) for source in sources for _ in range(BLOCK_BATCHES // len(sources))
        ]
        for batch in batches:
            store.write(chain.add_batch(batch), sync=False)
        block = chain.build(
            chain.tip_hash, time_ms=chain.header.time_ms + 1, epoch=Epoch(0), proposer=0, batches=batches
        )
        result = chain.commit(block.header.hash(), certificate(block, chain.chain_id, vote_key.sign))
        store.write(result.puts, sync=False)
        chain.written(chain.ticket)
    say(f"filled {chain.log_size:,} leaves in {chain.height:,} blocks")
    index_store = LevelDBStore(home.index, write_buffer_bytes=INDEX_WRITE_BUFFER_BYTES)
    follower = IndexFollower(Index(index_store), LedgerReader(store, genesis))
    while follower.follow():
        pass
    follower.close()
    index_store.close()
    store.write([], sync=True)
    store.close()


def certificate(block: Block, chain_id: Hash, sign: Callable[[bytes], bytes]) -> QuorumCertificate:
    """Return the commit certificate of the only validator."""
    height, block_hash = block.header.height, block.header.hash()
    signed = vote_statement(COMMIT, chain_id, Epoch(0), View(0), height, block_hash)
    return QuorumCertificate(COMMIT, Epoch(0), View(0), height, block_hash, ((0, sign(signed)),))


def time_start(net: BenchNet) -> tuple[float, int]:
    """Start the node, wait until it is ready, stop it; return the seconds and its peak of memory in bytes."""
    started = time.perf_counter()
    (node,) = net.start()
    while not answers(f"{node.ops}/readyz"):
        if time.perf_counter() - started > READY_TIMEOUT_S:
            raise TimeoutError("the node did not become ready")
        time.sleep(POLL_S)
    took = time.perf_counter() - started
    peak = peak_memory(Path(f"/proc/{net.node(node.name).pid}/status").read_text())
    net.stop()
    return took, peak


def answers(url: str) -> bool:
    """Say whether a plain GET is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def help_figures() -> dict[str, Any]:
    """Return the milliseconds of `chainnode --help`, the median of several runs after one that warms the caches."""
    command = [str(Path(sys.executable).with_name("chainnode")), "--help"]
    taken = []
    for _ in range(HELP_RUNS + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"})
        taken.append((time.perf_counter() - started) * 1_000)
    return {"help_ms": round(median(taken[1:]), 1), "runs": HELP_RUNS}
