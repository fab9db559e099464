"""Evidence of any epoch, proved to who holds the genesis alone; and that no changed value of a proof passes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.batch_headers import batch_statement
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.evidence import Accused, evidence_kinds, read_recorded, recorded_count
from ledger.evidence_bodies import (
    EVIDENCE_BATCHES,
    EVIDENCE_COSIGNATURES,
    EVIDENCE_VOTES,
    BatchesEvidence,
    CosignaturesEvidence,
    EvidenceBody,
    SignedCheckpoint,
    SignedHeader,
    SignedVote,
    VotesEvidence,
    arranged,
)
from ledger.evidence_proofs import (
    PROOF_SIZE_MAX,
    EvidenceProof,
    make_evidence_proof,
    proof_from_json,
    proof_to_json,
    verify_evidence_proof,
)
from ledger.handovers import HANDOVERS_BYTES_MAX, HANDOVERS_MAX, make_handovers, verified_sets
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from primitives.encoding import encode
from primitives.errors import InputError, ProofError, SignatureError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import PREPARE, vote_statement
from tests.ledger.governance_fixtures import Council, bank, key_of

A, B = leaf_hash(b"a"), leaf_hash(b"b")
LIAR = 3
Path = tuple[str | int, ...]


def votes(council: Council, epoch: int, use: str, height: int = 2) -> VotesEvidence:
    """Return two votes of validator LIAR, signed with the key of that use."""

    def signed(block_hash: Hash) -> SignedVote:
        place = council.chain_id, Epoch(epoch), View(0), Height(height), block_hash
        return SignedVote(block_hash, key_of(f"node-{LIAR}", use).sign(vote_statement(PREPARE, *place)))

    body = arranged(VotesEvidence(epoch, 0, height, PREPARE, LIAR, signed(A), signed(B)))
    assert isinstance(body, VotesEvidence)
    return body


def cosignatures(council: Council, epoch: int, use: str) -> EvidenceBody:
    origin = council.genesis.origin

    def signed(root: Hash) -> SignedCheckpoint:
        statement = cosign_statement(Checkpoint(origin, 9, root).text(), 100)
        return SignedCheckpoint(9, root, 100, key_of(f"node-{LIAR}", use).sign(statement))

    return arranged(CosignaturesEvidence(epoch, LIAR, origin, signed(A), signed(B)))


def batches(council: Council) -> EvidenceBody:
    committed = council.chain.batches.raw(council.block((bank(1), votes(council, 0, "vote", 99))).batches[0].hash)
    assert committed is not None
    header = parse_batch(committed).header

    def signed(root: Hash) -> SignedHeader:
        changed = replace(header, root=root)
        return SignedHeader(changed, key_of(bank(1), "source").sign(batch_statement(changed)))

    return arranged(BatchesEvidence(signed(A), signed(B)))


def proofs(council: Council) -> list[EvidenceProof]:
    """Return the proofs of all that the chain has recorded."""
    reader = LedgerReader(council.store, council.genesis)
    found = ((number, read_recorded(council.state, number)) for number in range(recorded_count(council.state)))
    return [make_evidence_proof(reader, number, row) for number, row in found if row is not None]


@pytest.fixture(scope="module")
def council() -> Council:
    """A chain in epoch 2, where LIAR has its third keys; evidence of epochs 0 and 2 is recorded in epoch 2."""
    council = Council()
    council.rekey(LIAR, 1)
    council.rekey(LIAR, 2)
    assert council.set.epoch == 2
    for body in (votes(council, 2, "vote2"), votes(council, 0, "vote"), cosignatures(council, 2, "cosign2")):
        assert council.say(bank(0), body).applied
    assert council.say(bank(0), batches(council)).applied
    return council


@pytest.fixture(scope="module")
def shown(council: Council) -> Any:
    """The JSON of the proof of votes of epoch 2, as a file has it."""
    return json.loads(json.dumps(proof_to_json(proofs(council)[0])))


def verdict_of(council: Council, shown: Any) -> Any:
    return verify_evidence_proof(proof_from_json(json.loads(json.dumps(shown))), council.genesis)


def test_evidence_of_every_kind_and_epoch_is_verified_under_the_genesis_alone(council: Council) -> None:
    found = [verdict_of(council, proof_to_json(proof)) for proof in proofs(council)]
    named = [(item.kind, item.accused.name, item.accused.member, item.epoch) for item in found]
    assert named == [
        (EVIDENCE_VOTES, "node-3", "bank-3", 2),
        (EVIDENCE_VOTES, "node-3", "bank-3", 2),
        (EVIDENCE_COSIGNATURES, "node-3", "bank-3", 2),
        (EVIDENCE_VOTES, "node-3", "bank-3", 2),
        (EVIDENCE_BATCHES, "", "bank-1", 2),
    ]
    keys = [item.accused.key for item in found]
    names = [("node-3", "vote2"), ("node-3", "vote"), ("node-3", "cosign2"), ("node-3", "vote"), ("bank-1", "source")]
    assert keys == [key_of(*item).public for item in names]
    assert all(item.reporter in ("bank-0", "bank-1") and item.height > 0 for item in found)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield path and value of everything in JSON that is no list and no object."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    else:
        for key, item in items:
            yield from leaves(item, (*path, key))


def containers(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every list and object in JSON."""
    if isinstance(value, dict | list):
        yield path
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from containers(item, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def changed(value: Any) -> list[Any]:
    """Return other values of the same type, near to this one, and one of another type."""
    match value:
        case bool() | None:
            return [1]
        case int():
            return [value + 1, value - 1, str(value), 2**70, float(value)]
        case str() if value.endswith("Z") and "T" in value:
            return [value[:-2] + ("1Z" if value[-2] != "1" else "2Z"), "yesterday"]
        case str():
            flipped = ("1" if value[:1] != "1" else "2") + value[1:]
            return [flipped, value + "00", value[:-2] if value else "x", 7]
    raise AssertionError(value)


def test_no_changed_value_of_a_proof_passes(council: Council, shown: Any) -> None:
    verdict_of(council, shown)
    tried = 0
    for path, value in leaves(shown):
        for other in changed(value):
            broken = copy.deepcopy(shown)
            at(broken, path[:-1])[path[-1]] = other
            with pytest.raises(InputError):
                verdict_of(council, broken)
            tried += 1
    assert tried > 400


def test_nothing_may_be_left_out_of_a_proof_or_added_or_swapped(council: Council, shown: Any) -> None:
    for path in containers(shown):
        found = at(shown, path)
        others: list[Any] = [None, 7, "x"]
        if isinstance(found, dict):
            present = [key for key, item in found.items() if item is not None]  # what is null may be left out
            others += [{key: item for key, item in found.items() if key != left} for left in present]
            others.append({**found, "more": 1})
        else:
            others += [found[:i] + found[i + 1 :] for i in range(len(found))]
            others += [found + found[:1]] if found else [["00" * 32]]
            others += [found[::-1]] if len(found) > 1 else []
        for other in others:
            broken = copy.deepcopy(shown)
            if path:
                at(broken, path[:-1])[path[-1]] = other
            else:
                broken = other
            with pytest.raises(InputError):
                verdict_of(council, broken)


def test_a_proof_holds_under_its_own_genesis_only(council: Council, shown: Any) -> None:
    other = replace(council.genesis, chain="another")
    with pytest.raises(SignatureError):
        verify_evidence_proof(proof_from_json(shown), other)


def test_parts_of_two_proofs_make_none(council: Council) -> None:
    first, second = proofs(council)[:2]
    for field in ("number", "event", "recorded", "state"):
        with pytest.raises(ProofError):
            verify_evidence_proof(replace(first, **{field: getattr(second, field)}), council.genesis)
    for fields in (("header",), ("certificate",)):
        with pytest.raises(InputError):
            verify_evidence_proof(replace(first, **{f: getattr(second, f) for f in fields}), council.genesis)


def test_handovers_lead_to_every_set_and_none_may_be_missing_or_of_a_later_epoch(council: Council) -> None:
    reader = LedgerReader(council.store, council.genesis)
    handovers = make_handovers(reader, 2)
    sets = verified_sets(council.genesis, handovers)
    assert [item.epoch for item in sets] == [0, 1, 2]
    assert sets[-1] == council.set
    with pytest.raises(SignatureError):
        verified_sets(council.genesis, handovers[1:])
    with pytest.raises(InputError):
        verified_sets(council.genesis, (handovers[0], handovers[0]))
    usurped = replace(handovers[0], validators=handovers[0].validators[::-1])
    with pytest.raises(ProofError, match="validators are not those that the block names"):
        verified_sets(council.genesis, (usurped,))
    relabelled = replace(handovers[0], header=replace(handovers[0].header, next_validators=sets[0].hash))
    with pytest.raises(ProofError, match="certificate of another block"):
        verified_sets(council.genesis, (relabelled,))


def liars(*bodies: EvidenceBody) -> Council:
    """Return a chain whose quorum counts every signature of evidence as valid, and that recorded these."""
    council = Council()
    kinds = {spec.kind: spec for spec in evidence_kinds(lambda *_: True, lambda *_: True)}
    council.chain = Chain(council.store, council.genesis, {**KINDS, **kinds}, rules=council.rules)
    for body in bodies:
        assert council.say(bank(0), body).applied
    return council


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_quorum_that_lies_frames_nobody_whose_keys_the_genesis_leads_to(place: str) -> None:
    good = votes(Council(), 0, "vote")
    forged = replace(good, **{place: replace(getattr(good, place), signature=bytes(64))})
    council = liars(forged)
    (proof,) = proofs(council)
    with pytest.raises(ProofError, match=f"the {place} statement is not signed"):
        verify_evidence_proof(proof, council.genesis)


@pytest.mark.parametrize(
    ("change", "complaint"), [({"epoch": 1}, "epoch that was not yet"), ({"validator": 9}, "no such")]
)
def test_a_quorum_that_recorded_what_cannot_be_is_refused(
    change: dict[str, int], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anybody = Accused("votes/of/nobody", bytes(32), "node-3", "bank-3")
    monkeypatch.setattr("ledger.evidence.accused_of", lambda state, body: anybody)
    council = liars(replace(votes(Council(), 0, "vote"), **change))
    (proof,) = proofs(council)
    with pytest.raises(ProofError, match=complaint):
        verify_evidence_proof(proof, council.genesis)


@pytest.mark.parametrize(("limit", "value"), [("HANDOVERS_MAX", 1), ("HANDOVERS_BYTES_MAX", 1_500)])
def test_a_chain_with_more_epochs_than_a_proof_holds_is_told_so(
    council: Council, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    assert HANDOVERS_MAX > 1_000
    monkeypatch.setattr(f"ledger.handovers.{limit}", value)
    with pytest.raises(ProofError, match="too many epochs"):
        proofs(council)


def test_what_a_proof_may_hold_is_not_more_than_its_reader_takes(council: Council) -> None:
    (proof, *_) = proofs(council)
    handovers = make_handovers(LedgerReader(council.store, council.genesis), 2)
    text = len(json.dumps(proof_to_json(replace(proof, handovers=handovers * 50)), indent=2))
    ratio = text / len(encode(handovers * 50))
    assert ratio < 4
    assert ratio * HANDOVERS_BYTES_MAX < PROOF_SIZE_MAX


def test_the_end_of_an_epoch_is_found_by_its_number(council: Council) -> None:
    reader = LedgerReader(council.store, council.genesis)
    epochs = [block.header.epoch for block in reader.blocks(0, council.chain.height + 1)]
    for epoch in (0, 1):
        assert reader.height_at_epoch_end(epoch) == max(i for i, found in enumerate(epochs) if found == epoch)
    assert reader.height_at_epoch_end(2) is None, "it is not over"
    assert reader.height_at_epoch_end(-1) is None
