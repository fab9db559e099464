"""Proofs in which a quorum cosigned what no honest chain holds: each rule of a verifier refuses by itself.

Elsewhere proofs are damaged after the fact, and the Merkle paths catch that. Here everything is hashed and signed anew
around one thing that does not fit, so that only the rule about it can notice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from hashlib import sha256

import pytest
from msgspec.structs import replace

from ledger.batch_headers import BatchHeader, batch_statement
from ledger.batch_places import BatchPlace, place_of
from ledger.events import event_id
from ledger.genesis import validator_set
from ledger.handovers import first_span
from ledger.outcomes import APPLIED, outcomes_root, prove_outcome
from ledger.receipts import RECEIPT_VERSION, Receipt, verify
from ledger.smt import EMPTY, MapUpdate, StateProof
from ledger.status_proofs import STATUS_PROOF_VERSION, NextHeader, StatusProof, StatusVerdict, verify_status
from ledger.tlog_proofs import TlogProof
from ledger.trust_policy import assemble_checkpoint, policy_text
from primitives.block import BlockHeader, batches_root
from primitives.encoding import encode
from primitives.errors import ProofError
from primitives.hashing import RULES_FIRST, SUITE
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs
from primitives.merkle import inclusion_path, root_of
from primitives.notes import Checkpoint, cosign_statement
from tests.ledger.chain_fixtures import NAMES, NOTE, START_MS, Note, event, genesis, key_of

GENESIS = genesis()
SET = validator_set(GENESIS)
POLICY = policy_text(GENESIS, (first_span(GENESIS),))
OTHER = Hash(sha256(b"another").digest())
COSIGNED_S = START_MS // 1_000 + 60


class Log:
    """A log of any leaves, whose checkpoint a quorum of the four banks cosigned."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves
        root = root_of(leaves)
        text = Checkpoint(GENESIS.origin, len(leaves), root).text()
        signed = [
            (i, COSIGNED_S + i, key_of(name, "cosign").sign(cosign_statement(text, COSIGNED_S + i)))
            for i, name in enumerate(NAMES[:3])
        ]
        log_key = key_of("bank-a", "log")
        self.note = assemble_checkpoint(GENESIS, SET, "node-bank-a", log_key, len(leaves), root, signed)

    def path(self, index: int) -> tuple[Hash, ...]:
        return tuple(inclusion_path(self.leaves, index))

    def proof(self, extra: bytes, index: int) -> str:
        return TlogProof(extra, index, self.path(index), self.note).text()


def header_of(**fields: object) -> BlockHeader:
    """Return the header of a block of one event at the beginning of the log, changed as said."""
    made = BlockHeader(
        suite=SUITE,
        version=RULES_FIRST,
        chain_id=GENESIS.chain_id,
        height=Height(1),
        epoch=Epoch(0),
        parent=ZERO_HASH,
        time_ms=TimeMs(START_MS),
        proposer=0,
        batches_root=ZERO_HASH,
        first_index=0,
        event_count=1,
        outcomes_root=outcomes_root([APPLIED]),
        log_root=ZERO_HASH,
        state_root=EMPTY,
        batch_logs_root=ZERO_HASH,
        next_validators=SET.hash,
    )
    return replace(made, **fields)


# --- receipts

EVENT = event(Note("paid"))
IDENTITY = event_id(EVENT, NOTE)
SOURCE = key_of("bank-a", "source")
BATCH = BatchHeader(
    SUITE, GENESIS.chain_id, "bank-a", SOURCE.public, 0, ZERO_HASH, 1, root_of([IDENTITY]), TimeMs(START_MS)
)


def receipt(
    batch: BatchHeader = BATCH,
    header: dict[str, object] | None = None,
    listed: tuple[Hash, ...] | None = None,
    extra: dict[str, object] | None = None,
    before: int = 0,
) -> str:
    """Return a receipt that is signed anew with a batch header, fields of its block's header, and of its extra data.

    `listed` are the batches that the header names, `before` how many leaves stand before the event.
    """
    hashes = (batch.hash(),)
    named = header_of(batches_root=batches_root(hashes if listed is None else listed), first_index=before)
    block = replace(named, **(header or {}))
    log = Log([*[OTHER] * before, IDENTITY, block.hash()])
    made = Receipt(
        version=RECEIPT_VERSION,
        event=EVENT,
        header=block,
        header_path=log.path(before + 1),
        outcome=prove_outcome([APPLIED], 0),
        batch_place=place_of(hashes, batch.hash()),
        batch_header=batch,
        batch_signature=SOURCE.sign(batch_statement(batch)),
        batch_index=0,
        batch_path=(),
        handovers=(),
    )
    return log.proof(encode(replace(made, **(extra or {}))), before)


def test_a_receipt_that_is_put_together_by_hand_verifies() -> None:
    verdict = verify(receipt(before=3), POLICY)
    assert (verdict.applied, verdict.member, verdict.log_index, verdict.index) == (True, "bank-a", 3, 0)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: receipt(replace(BATCH, chain_id=OTHER)), "batch of another member or chain"),
        (lambda: receipt(replace(BATCH, member="bank-b")), "batch of another member or chain"),
        (lambda: receipt(listed=(OTHER,)), "does not lead to the root"),
        (lambda: receipt(listed=(BATCH.hash(), OTHER)), "does not lead to the root"),
        (lambda: receipt(extra={"batch_place": BatchPlace(1, 2, (OTHER,))}), "does not lead to the root"),
        (lambda: receipt(extra={"batch_place": BatchPlace(1, 1, ())}), "no such leaf"),
        (lambda: receipt(replace(BATCH, root=OTHER)), "does not lead to the root"),
        (lambda: receipt(replace(BATCH, source=key_of("bank-b", "source").public)), "signature of the source"),
        (lambda: receipt(header={"chain_id": OTHER}), "block of another chain than the log's"),
        (lambda: receipt(header={"suite": SUITE + 1}), "unknown suite or rules version"),
        (lambda: receipt(header={"version": RULES_FIRST + 90}), "unknown suite or rules version"),
        (lambda: receipt(header={"outcomes_root": OTHER}), "does not lead to the root"),
        (lambda: receipt(before=1, header={"first_index": 2, "event_count": 0}), "outside of the block"),
        (lambda: receipt(header={"first_index": 1, "event_count": 0}), "outside of the block"),
        (lambda: receipt(extra={"version": RECEIPT_VERSION + 1}), "receipt of an unknown version"),
    ],
)
def test_a_receipt_is_refused_in_which_one_thing_does_not_fit(make: Callable[[], str], complaint: str) -> None:
    with pytest.raises(ProofError, match=complaint):
        verify(make(), POLICY)


# --- status proofs

KEY = b"value/x"
VALUE = b"\x91\xa11"
STATE_ROOT = MapUpdate(lambda _: None).apply(EMPTY, {KEY: VALUE})
BLOCK = header_of(state_root=STATE_ROOT)
NEXT = header_of(parent=BLOCK.hash(), height=Height(2), first_index=2, time_ms=TimeMs(START_MS + 500))


def status(
    *,
    block: BlockHeader = BLOCK,
    following: BlockHeader | None = None,
    more: int = 0,
    extra: dict[str, object] | None = None,
) -> str:
    """Return a status proof of `block`, with the header after it where given, and that many leaves behind them."""
    leaves = [IDENTITY, block.hash(), *([] if following is None else [IDENTITY, following.hash()]), *[OTHER] * more]
    log = Log(leaves)
    attached = None if following is None else NextHeader(following, log.path(3))
    made = StatusProof(STATUS_PROOF_VERSION, KEY, VALUE, StateProof((), None), block, attached, ())
    return log.proof(encode(replace(made, **(extra or {}))), 1)


def proved(text: str) -> StatusVerdict:
    return verify_status(text, POLICY)


def test_a_status_lasts_until_the_next_block() -> None:
    assert proved(status(following=NEXT)).until_ms == START_MS + 500
    assert proved(status(following=NEXT, more=5)).until_ms == START_MS + 500


def test_a_status_at_the_end_of_the_log_lasts_as_long_as_the_first_cosigner_vouches() -> None:
    assert proved(status()).until_ms == COSIGNED_S * 1_000


@pytest.mark.parametrize("more", [1, 2, 7])
def test_a_status_proof_without_the_next_header_says_nothing_of_later_times_if_the_log_goes_on(more: int) -> None:
    verdict = proved(status(more=more))
    assert (verdict.time_ms, verdict.until_ms) == (START_MS, None)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: status(following=replace(NEXT, parent=OTHER)), "next header does not follow"),
        (lambda: status(following=replace(NEXT, height=Height(3))), "next header does not follow"),
        (lambda: status(following=replace(NEXT, height=Height(1))), "next header does not follow"),
        (lambda: status(following=replace(NEXT, chain_id=OTHER)), "block of another chain than the log's"),
        (lambda: status(following=replace(NEXT, first_index=1)), "does not lead to the root"),
        (lambda: status(block=replace(BLOCK, chain_id=OTHER)), "block of another chain than the log's"),
        (lambda: status(block=replace(BLOCK, state_root=OTHER)), "does not lead to the state root"),
        (lambda: status(extra={"key": b"value/y"}), "does not lead to the state root"),
        (lambda: status(extra={"value": None}), "does not lead to the state root"),
        (lambda: status(extra={"version": STATUS_PROOF_VERSION + 1}), "status proof of an unknown version"),
    ],
)
def test_a_status_proof_is_refused_in_which_one_thing_does_not_fit(make: Callable[[], str], complaint: str) -> None:
    with pytest.raises(ProofError, match=complaint):
        proved(make())


def test_a_status_proof_names_the_place_and_the_path_of_its_header() -> None:
    log = Log([IDENTITY, BLOCK.hash(), OTHER])
    made = StatusProof(STATUS_PROOF_VERSION, KEY, VALUE, StateProof((), None), BLOCK, None, ())
    good = TlogProof(encode(made), 1, log.path(1), log.note)
    assert proved(good.text()).height == 1
    for forged, complaint in (
        (changed(good, path=log.path(0)), "does not lead to the root"),
        (changed(good, index=0), "index is not the header's"),
        (changed(good, index=2), "index is not the header's"),
    ):
        with pytest.raises(ProofError, match=complaint):
            proved(forged.text())
