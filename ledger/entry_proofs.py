"""The proof that an entry stands in the log, made from nothing but its tiles: what a mirror alone can give.

A C2SP tlog-proof whose extra data hold the entry and the handovers of later epochs. It says that an event was ordered,
or a block made, and at which place of the log; what became of the event, and who signed it, says a receipt
(`ledger.receipts`), which only a node can make. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger.handovers import HANDOVERS_MAX, Handover
from ledger.log_tiles import TILE_WIDTH
from ledger.signed_trees import SignedTree
from ledger.tile_paths import ENTRY_BYTES_MAX, edge_width, full_tiles, hashes_of
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import CheckedCheckpoint, parse_policy
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, ProofError
from primitives.hashing import leaf_hash
from primitives.ids import Hash
from primitives.merkle import verify_inclusion

VERSION = 1
PROOF_SIZE_MAX = 8 << 20


class EntryProof(Record):
    """What the extra data of an entry's proof hold: the entry, a kind byte first, and the changes of validators."""

    version: int
    entry: Annotated[bytes, Meta(min_length=1, max_length=ENTRY_BYTES_MAX)]
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """What an entry's proof proves; `leaf` is its hash in the log: of an event its id, of a header the block's hash."""

    entry: bytes
    leaf: Hash
    index: int
    checked: CheckedCheckpoint


def make_entry_proof(tree: SignedTree, note: str, index: int, entry: bytes, handovers: Sequence[Handover] = ()) -> str:
    """Return the proof of the entry at `index` under a note whose tree this is."""
    extra = encode(EntryProof(VERSION, entry, tuple(handovers)))
    return TlogProof(extra, index, tuple(tree.inclusion(index)), note).text()


def find_leaf(tree: SignedTree, leaf: bytes) -> int | None:
    """Return the index of the newest leaf with this hash; reads the tree's tiles of level 0 from the end on."""
    newest = full_tiles(tree.size, 0) - (0 if edge_width(tree.size, 0) else 1)
    for index in range(newest, -1, -1):
        hashes = hashes_of(tree.tile(0, index))
        if leaf in hashes:
            return index * TILE_WIDTH + len(hashes) - 1 - hashes[::-1].index(leaf)
    return None


def verify_entry(text: str, policy_text: str) -> EntryVerdict:
    """Return what an entry's proof proves under a policy; ProofError where it does not."""
    proof = parse_tlog_proof(text, size_max=PROOF_SIZE_MAX)
    try:
        extra = decode(EntryProof, proof.extra, size_max=PROOF_SIZE_MAX)
    except EncodingError as error:
        hint = "a receipt, or a proof of status, history or completeness, is for `chainnode verify`"
        raise ProofError(
            "not an entry's proof", where="extra", expected=error.expected, got=error.got, hint=hint
        ) from None
    if extra.version != VERSION:
        raise ProofError("proof of another version", where="extra", expected=VERSION, got=extra.version)
    checked = parse_policy(policy_text).check(proof.note, extra.handovers)
    leaf = leaf_hash(extra.entry)
    verify_inclusion(checked.checkpoint.root, checked.checkpoint.size, proof.index, leaf, proof.path)
    return EntryVerdict(extra.entry, leaf, proof.index, checked)
