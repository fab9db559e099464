"""Logs to mirror: real chains in memory behind a source that lies on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chainnode.log_source import AnswerTooLarge
from ledger.block_parts import make_parts
from ledger.handovers import first_span, make_handovers
from ledger.members import VALIDATORS_KEY
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt
from ledger.tile_paths import HANDOVERS_PATH
from ledger.trust_policy import policy_text
from primitives.encoding import decode, encode
from primitives.validators import ValidatorSet
from rpc.resources import parse_tile_path
from tests.rpc.conftest import MemoryNode

Answer = bytes | None | Exception
Lie = Callable[[bytes | None], Answer]


def chain(*blocks: int, first: int = 0) -> MemoryNode:
    """Return a chain with a block of so many events each, under a checkpoint; `first` tells apart two histories."""
    node = MemoryNode()
    grow(node, *blocks, first=first)
    return node


def grow(node: MemoryNode, *blocks: int, first: int = 0) -> str:
    """Commit a block of so many events each; return the checkpoint's note."""
    for count in blocks:
        node.commit_events(count, first=1_000_000 * first + node.chain.log_size)
    return node.checkpoint()


def policy_of(node: MemoryNode) -> str:
    """Return the policy of a chain's genesis."""
    return policy_text(node.genesis, (first_span(node.genesis),))


@dataclass
class Served:
    """What a node or a mirror serves of a log. `note` overrides its checkpoint, `lies` what lies at a path."""

    reader: LedgerReader
    name: str = "http://bank-a.example"
    note: str | None = None
    lies: dict[str, Lie] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get(self, path: str, size_max: int) -> bytes | None:
        self.asked.append(path)
        found: Answer = self.honest(path)
        for beginning, lie in self.lies.items():
            if path.startswith(beginning) and not isinstance(found, Exception):
                found = lie(found)
        if isinstance(found, Exception):
            raise found
        if found is not None and len(found) > size_max:
            raise AnswerTooLarge("answer too large", where=path, expected=f"at most {size_max} bytes")
        return found

    def honest(self, path: str) -> bytes | None:
        if path == "checkpoint":
            newest = self.reader.checkpoint()
            note = self.note or (None if newest is None else newest.note)
            return None if note is None else note.encode()
        if path.startswith(f"{HANDOVERS_PATH}/"):
            epoch = int(path.rpartition("/")[2])
            value = self.reader.state_value(VALIDATORS_KEY)
            assert value is not None
            assert value.value is not None
            if epoch >= decode(ValidatorSet, value.value, size_max=1 << 17).epoch:
                return None
            return encode(make_handovers(self.reader, epoch + 1, epoch)[0])
        if path.startswith("events/"):
            receipt = make_receipt(self.reader, bytes.fromhex(path.removeprefix("events/").removesuffix(".tlog-proof")))
            return None if receipt is None else receipt.encode()
        if path.startswith("blocks/"):
            height = int(path.split("/")[1])
            return None if self.reader.block(height) is None else encode(make_parts(self.reader, height))
        level, index, width = parse_tile_path(path.removeprefix("tile/"))
        if level is None:
            return self.reader.entry_bundle(index, width)
        return self.reader.tile(level, index, width)

    def close(self) -> None:
        pass
