"""A consortium whose homes hold no store, and a snapshot of its chain in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chainnode.config import NodeConfig, load_config
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import load_node_keys
from chainnode.localnet import Localnet
from chainnode.snapshot_file import write_snapshot
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis, validator_set
from ledger.reader import LedgerReader
from ledger.snapshots_making import SnapshotMaking
from ledger.store import MemoryStore
from ledger.trust_policy import assemble_checkpoint
from primitives.ids import Epoch, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, QuorumCertificate, vote_statement

NOW_MS = 1_790_000_000_000
BLOCKS = 5


@dataclass
class World:
    """A consortium whose homes hold no store, its chain in memory, and a snapshot of it in a file."""

    homes: list[Home]
    genesis: Genesis
    store: MemoryStore
    file: Path

    def config(self, home: Home) -> NodeConfig:
        """Return a home's settings."""
        return load_config(home.config).config

    def making(self) -> SnapshotMaking:
        """Return a snapshot in the making, of small chunks."""
        return SnapshotMaking(LedgerReader(self.store, self.genesis), chunk_bytes=512)


def world_in(folder: Path) -> World:
    """Found the consortium in a folder, and make a chain of some blocks and its snapshot."""
    net = Localnet(folder / "net")
    homes = [Home(Path(node.home)) for node in net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None).nodes]
    genesis, keys, store = read_genesis(net.directory / "genesis.json"), list(map(load_node_keys, homes)), MemoryStore()
    chain = Chain(store, genesis)
    for height in range(1, BLOCKS + 1):
        block = chain.build(chain.tip_hash, time_ms=NOW_MS + height, epoch=0, proposer=0, batches=[])
        block_hash = block.header.hash()
        message = vote_statement(COMMIT, genesis.chain_id, Epoch(0), View(0), Height(height), block_hash)
        signed = tuple((index, key.vote.sign(message)) for index, key in enumerate(keys[:3]) if key.vote)
        certificate = QuorumCertificate(COMMIT, Epoch(0), View(0), Height(height), block_hash, signed)
        result = chain.commit(block_hash, certificate)
        store.write(result.puts, sync=True)
        chain.written(result.ticket)
    text = Checkpoint(genesis.origin, chain.log_size, chain.log_root).text()
    cosigned = [(i, 5, key.cosign.sign(cosign_statement(text, 5))) for i, key in enumerate(keys[:3]) if key.cosign]
    note = assemble_checkpoint(
        genesis, validator_set(genesis), "bank-a", keys[0].log, chain.log_size, chain.log_root, cosigned
    )
    store.write(checkpoint_rows(store, note), sync=True)
    made = World(homes, genesis, store, folder / "a.chainsnap")
    write_snapshot(made.file, made.making(), step=lambda _done, _of: None)
    return made
