"""That an entry stands in the log, proved from tiles alone."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from ledger.entry_proofs import EntryProof, EntryVerdict, find_leaf, make_entry_proof, verify_entry
from ledger.events import event_id
from ledger.handovers import first_span, make_handovers
from ledger.payments import PAYMENT_STATEMENT
from ledger.reader import LedgerReader
from ledger.signed_trees import SignedTree, TileSource
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import policy_text
from primitives.encoding import decode, encode
from primitives.errors import InputError, ProofError
from primitives.hashing import leaf_hash
from primitives.notes import parse_checkpoint, parse_note
from tests.ledger.test_forks import grown
from tests.ledger.test_proofs_over_epochs import Story

MUTATIONS = 300
NODE = grown(300, 20)
NOTE = NODE.checkpoint()
POLICY = policy_text(NODE.genesis, (first_span(NODE.genesis),))


def tree_of(reader: LedgerReader, note: str) -> SignedTree:
    def refuse(name: str, error: ProofError) -> None:
        raise error

    def read(tile: object) -> bytes | None:
        return reader.tile(tile.level, tile.index, tile.width)  # type: ignore[attr-defined]  # a Tile

    return SignedTree(parse_checkpoint(parse_note(note).text), [TileSource("store", read)], refuse)


def proof_of(index: int) -> str:
    return make_entry_proof(tree_of(NODE.reader, NOTE), NOTE, index, NODE.reader.leaves(index, index + 1)[0])


def test_every_entry_is_proved_at_its_place() -> None:
    for index in (0, 1, 17, 255, 256, 300, 301, NODE.chain.log_size - 1):
        verdict = verify_entry(proof_of(index), POLICY)
        assert isinstance(verdict, EntryVerdict)
        assert (verdict.index, verdict.leaf) == (index, NODE.reader.log.leaf_hash(index))
        assert verdict.checked.checkpoint.size == NODE.chain.log_size
    event = NODE.reader.block_events(1, 16, 1)[0]
    assert verify_entry(proof_of(17), POLICY).leaf == event.id == event_id(event.event_bytes, PAYMENT_STATEMENT)


def test_a_leaf_is_found_by_its_hash_wherever_it_stands() -> None:
    tree = tree_of(NODE.reader, NOTE)
    for index in (0, 1, 254, 255, 256, 257, NODE.chain.log_size - 1):
        assert find_leaf(tree, NODE.reader.log.leaf_hash(index)) == index
    assert find_leaf(tree, bytes(32)) is None
    whole = grown(254)
    assert whole.chain.log_size == 256
    assert find_leaf(tree_of(whole.reader, whole.checkpoint()), whole.reader.log.leaf_hash(0)) == 0


def test_no_change_of_an_entrys_proof_is_taken() -> None:
    text, draw = proof_of(17), random.Random(17)
    for _ in range(MUTATIONS):
        place = draw.randrange(len(text))
        changed = chr(ord(text[place]) ^ (1 << draw.randrange(7)))
        forged = draw.choice(
            [
                text[:place] + changed + text[place + 1 :],
                text[:place],
                text[:place] + text[place] + text[place:],
                text[:place] + text[place + 1 :],
            ]
        )
        if forged != text:
            with pytest.raises(InputError):
                verify_entry(forged, POLICY)


def test_what_an_entrys_proof_says_must_belong_together() -> None:
    proof = parse_tlog_proof(proof_of(17))
    extra = decode(EntryProof, proof.extra, size_max=1 << 20)
    other = NODE.reader.leaves(18, 19)[0]
    wrong = {
        "another entry": TlogProof(encode(replace(extra, entry=other)), proof.index, proof.path, proof.note),
        "another kind": TlogProof(
            encode(replace(extra, entry=b"\0" + extra.entry[1:])), proof.index, proof.path, proof.note
        ),
        "another place": TlogProof(proof.extra, 18, proof.path, proof.note),
        "out of the log": TlogProof(proof.extra, NODE.chain.log_size, proof.path, proof.note),
        "cut path": TlogProof(proof.extra, 17, proof.path[:-1], proof.note),
        "longer path": TlogProof(proof.extra, 17, (*proof.path, proof.path[0]), proof.note),
        "turned path": TlogProof(proof.extra, 17, proof.path[::-1], proof.note),
        "a receipt's extra data": TlogProof(b"\x93\x02\x01\x90", 17, proof.path, proof.note),
        "no extra data": TlogProof(b"", 17, proof.path, proof.note),
        "an empty entry": TlogProof(b"\x93\x01\xc4\x00\x90", 17, proof.path, proof.note),
        "another version": TlogProof(encode(replace(extra, version=2)), 17, proof.path, proof.note),
        "another log": TlogProof(proof.extra, 17, proof.path, grown(301, 20, first=7).checkpoint()),
    }
    for forged in wrong.values():
        with pytest.raises(ProofError):
            verify_entry(forged.text(), POLICY)
    assert leaf_hash(extra.entry) == NODE.reader.log.leaf_hash(17)


def test_an_entry_of_a_later_epoch_is_proved_under_the_first_ones_policy() -> None:
    story = Story()
    note = story.notes[-1]
    tree, index = tree_of(story.reader, note), story.council.chain.log_size - 1
    entry = story.reader.leaves(index, index + 1)[0]
    text = make_entry_proof(tree, note, index, entry, make_handovers(story.reader, 2))
    assert verify_entry(text, story.policies[0]).checked.epoch == 2
    with pytest.raises(ProofError):
        verify_entry(make_entry_proof(tree, note, index, entry), story.policies[0])
