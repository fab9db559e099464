"""What is known of a block's events beyond the log: whether each was applied, and whose batch it came in.

A header whose outcomes root is that of applied events alone proves that all were. For the rest a node is asked for the
block's parts, which are held against the header (`ledger.block_parts`); nothing is taken on its word. Where nobody
gives them, it stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chainnode.analysis.log_walk import Chunk
from chainnode.log_source import LogSource
from ledger.block_parts import PARTS_BYTES_MAX, BlockParts, all_applied, verify_parts
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.ids import HASH_BYTES

UNKNOWN: Final = -1


@dataclass(slots=True)
class Facts:
    """What is known of a chunk's events, row by row.

    `rule` is 0 for what was applied, else 1 more than the index in `rules` of the rule that was broken; `batch` is an
    index in `number_of` and `source_of`; either is UNKNOWN where nobody proved it. `without_...` count such blocks.
    """

    rule: NDArray[np.int32]
    batch: NDArray[np.int64]
    rules: list[str] = field(default_factory=list)
    sources: list[bytes] = field(default_factory=list)
    number_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    source_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    without_outcomes: int = 0
    without_batches: int = 0

    @property
    def source_hex(self) -> list[str]:
        """The sources' keys in hex."""
        return [source.hex() for source in self.sources]


def facts_of(chunk: Chunk, sources: Iterable[LogSource]) -> Facts:
    """Return what is known of a chunk's events; ProofError where a source gives parts that are not the block's."""
    askable = list(sources)
    count = len(chunk.starts)
    facts = Facts(np.full(count, UNKNOWN, np.int32), np.full(count, UNKNOWN, np.int64))
    rules: dict[str, int] = {}
    keys: dict[bytes, int] = {}
    numbers: list[int] = []
    of_batch: list[int] = []
    first = 0
    for header in chunk.headers:
        stop = first + header.event_count
        if header.event_count:
            parts = _parts(header, askable, chunk.ids[first * HASH_BYTES : stop * HASH_BYTES])
            if parts is not None:
                facts.rule[first:stop] = 0
                for index, outcome in parts.rejected:
                    facts.rule[first + index] = rules.setdefault(outcome.rule, len(rules) + 1)
                counts = [batch.count for batch in parts.batches]
                facts.batch[first:stop] = np.repeat(np.arange(len(numbers), len(numbers) + len(counts)), counts)
                numbers += [batch.number for batch in parts.batches]
                of_batch += [keys.setdefault(batch.source, len(keys)) for batch in parts.batches]
            else:
                facts.without_batches += 1
                if all_applied(header):
                    facts.rule[first:stop] = 0
                else:
                    facts.without_outcomes += 1
        first = stop
    facts.rules, facts.sources = list(rules), list(keys)
    if numbers:
        facts.number_of, facts.source_of = np.array(numbers, np.int64), np.array(of_batch, np.int64)
    return facts


def _parts(header: BlockHeader, sources: list[LogSource], ids: bytes) -> BlockParts | None:
    for source in sources:
        data = source.get(f"blocks/{header.height}/parts", PARTS_BYTES_MAX)
        if data is not None:
            parts = decode(BlockParts, data, size_max=PARTS_BYTES_MAX)
            verify_parts(parts, header, [ids[at : at + HASH_BYTES] for at in range(0, len(ids), HASH_BYTES)])
            return parts
    return None
