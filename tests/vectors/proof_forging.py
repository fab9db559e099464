"""Proofs that are hashed and signed anew around one lie, so that only the rule about it can refuse them.

A quorum of the story's first validators cosigns what no honest chain holds: that is what these keys could do at most,
and what a verifier must still not take for an event, a status or a change of validators. Each forgery names the step
that has to refuse it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from ledger.batch_headers import BatchHeader, batch_statement
from ledger.batch_places import BatchPlace, place_of
from ledger.events import Event, event_id
from ledger.handovers import Handover
from ledger.outcomes import APPLIED, Outcome, OutcomeProof, outcomes_root, prove_outcome
from ledger.receipts import RECEIPT_VERSION, Receipt
from ledger.smt import EMPTY, MapUpdate, StateProof, leaf_of, path_of
from ledger.status_proofs import STATUS_PROOF_VERSION, NextHeader, StatusProof
from ledger.tlog_proofs import PROOF_SIZE_MAX, TlogProof, parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint
from primitives.block import BlockHeader, batches_root
from primitives.encoding import decode, encode
from primitives.hashing import RULES_FIRST, SUITE
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs, View
from primitives.merkle import inclusion_path, root_of
from primitives.notes import (
    COSIGNATURE_V1,
    ED25519,
    Checkpoint,
    NoteKey,
    assemble_note,
    cosign_statement,
    cosignature_line,
    sign_note,
)
from primitives.validators import Validator, ValidatorSet
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from tests.ledger.governance_fixtures import START_MS, key_of
from tests.vectors.proof_story import OtherStory, Story, cosigned, payment, voting_key

Forgery = tuple[str, str, str]
"""Name, text of the proof, step that refuses it."""
OTHER = Hash(sha256(b"another").digest())
COSIGNED_S = START_MS // 1_000 + 60
SMALL_ORDER = b"\1" + bytes(31)
"""The neutral point: with a signature of itself and zero it verifies whatever it is asked to, unless it is refused."""


@dataclass
class Forge:
    """Signs any log as a quorum of the story's first validators would."""

    story: Story

    def note(self, leaves: Sequence[bytes]) -> str:
        """Return the note of a log of these leaf hashes."""
        first, size, root = self.story.sets[0], len(leaves), root_of(leaves)
        _, signed = cosigned(self.story, first, size, root, COSIGNED_S)
        return assemble_checkpoint(self.story.genesis, first, "node-0", key_of("node-0", "log"), size, root, signed)

    def proof(self, leaves: Sequence[bytes], extra: bytes, index: int) -> str:
        """Return a proof of a leaf with these extra data."""
        return TlogProof(extra, index, tuple(inclusion_path(leaves, index)), self.note(leaves)).text()

    def header(self, **fields: Any) -> BlockHeader:
        """Return the header of a block of one applied event at the beginning of the log, changed as said."""
        made = BlockHeader(
            suite=SUITE,
            version=RULES_FIRST,
            chain_id=self.story.genesis.chain_id,
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
            next_validators=self.story.sets[0].hash,
        )
        return replace(made, **fields)


class ReceiptForge(Forge):
    """Receipts of one event of bank-0, put together by hand."""

    event = Event("bank-0", bytes(16), START_MS + 1_000, 32, 1, encode(payment(7)))

    def batch(self, **fields: Any) -> BatchHeader:
        """Return the header of the event's batch, changed as said."""
        identity = event_id(encode(self.event), 32)
        key = key_of("bank-0", "source").public
        chain_id = self.story.genesis.chain_id
        made = BatchHeader(SUITE, chain_id, "bank-0", key, 0, ZERO_HASH, 1, root_of([identity]), TimeMs(START_MS))
        return replace(made, **fields)

    def receipt(
        self,
        *,
        batch: BatchHeader | None = None,
        header: dict[str, Any] | None = None,
        listed: Sequence[Hash] | None = None,
        extra: dict[str, Any] | None = None,
        before: int = 3,
        outcome: OutcomeProof | None = None,
        event: bytes | None = None,
        leaf: bytes | None = None,
        signer: str = "bank-0",
    ) -> str:
        """Return a receipt signed anew; `listed` are the batches of the block, `before` the leaves before the event."""
        own = batch or self.batch()
        told = encode(self.event) if event is None else event
        identity = event_id(encode(self.event), 32) if leaf is None else leaf
        hashes = (own.hash(),)
        block = self.header(batches_root=batches_root(hashes if listed is None else listed), first_index=before)
        block = replace(block, **(header or {}))
        leaves = [*[OTHER] * before, identity, block.hash()]
        made = Receipt(
            version=RECEIPT_VERSION,
            event=told,
            header=block,
            header_path=tuple(inclusion_path(leaves, before + 1)),
            outcome=prove_outcome([APPLIED], 0) if outcome is None else outcome,
            batch_place=place_of(hashes, own.hash()),
            batch_header=own,
            batch_signature=key_of(signer, "source").sign(batch_statement(own)),
            batch_index=0,
            batch_path=(),
            handovers=(),
        )
        return self.proof(leaves, encode(replace(made, **(extra or {}))), before)

    def forgeries(self) -> Iterator[Forgery]:
        """Yield receipts in which one thing does not fit."""
        yield from self._headers()
        yield from self._outcomes()
        yield from self._batches()
        yield from self._events()

    def _headers(self) -> Iterator[Forgery]:
        yield "block of another chain", self.receipt(header={"chain_id": OTHER}), "block header"
        yield "block of suite 2", self.receipt(header={"suite": 2}), "block header"
        yield "block of rules version 91", self.receipt(header={"version": 91}), "block header"
        yield "block of rules version 0", self.receipt(header={"version": 0}), "block header"
        yield "event before its block", self.receipt(header={"first_index": 4, "event_count": 0}), "block header"
        two = {"event_count": 0, "first_index": 4, "outcomes_root": outcomes_root([])}
        yield "block without events", self.receipt(header=two), "block header"
        far = {"event_count": 2, "first_index": 2, "outcomes_root": outcomes_root([APPLIED] * 2)}
        yield "header one place too early", self.receipt(header={**far, "event_count": 1}), "block header"
        yield "header one place too late", self.receipt(header={"event_count": 2}), "block header"
        yield "header at a negative place", self.receipt(header={"first_index": -1}), "block header"
        yield "events without number", self.receipt(header={"event_count": 2**63}), "block header"

    def _outcomes(self) -> Iterator[Forgery]:
        refused = Outcome(1, "wrong_state", "")
        yield "another outcome", self.receipt(outcome=prove_outcome([refused], 0)), "outcome"
        yield "outcomes of nothing", self.receipt(header={"outcomes_root": ZERO_HASH}), "outcome"
        for name, outcomes in (("two", [APPLIED] * 2), ("no", [])):
            leaf = encode(outcomes)
            root = root_of([sha256(b"\0" + leaf).digest()])
            made = self.receipt(header={"outcomes_root": root}, outcome=OutcomeProof(leaf, ()))
            yield f"{name} outcomes for one event", made, "outcome"
        for name, leaf in (
            ("an outcome of code 2", encode([(2, "", "")])),
            ("an outcome in a longer form", b"\xdc\x00\x01" + encode(APPLIED)),
            ("an outcome with a byte behind it", encode([APPLIED]) + b"\0"),
            ("an outcome that is a map", b"\x91\x83\x00\x00\x01\xa0\x02\xa0"),
            ("an outcome that is no list", encode(APPLIED)),
            ("an outcome with a fraction for a code", b"\x91\x93\xcb" + bytes(8) + b"\xa0\xa0"),
        ):
            root = root_of([sha256(b"\0" + leaf).digest()])
            made = self.receipt(header={"outcomes_root": root}, outcome=OutcomeProof(leaf, ()))
            yield name, made, "outcome"
        count = 33
        proof = prove_outcome([APPLIED] * count, 0)
        made = self.receipt(
            header={"outcomes_root": outcomes_root([APPLIED] * count), "event_count": count}, outcome=proof
        )
        yield "outcomes of more events than the block's place allows", made, "block header"

    def _batches(self) -> Iterator[Forgery]:
        batch, own = self.batch(), self.batch().hash()
        yield "batch of another chain", self.receipt(batch=replace(batch, chain_id=OTHER)), "batch"
        yield "batch of another member", self.receipt(batch=replace(batch, member="bank-1")), "batch"
        yield "block of another batch", self.receipt(listed=[OTHER]), "batch"
        yield "block of the batch and another", self.receipt(listed=[own, OTHER]), "batch"
        yield "block of no batch", self.receipt(listed=[]), "batch"
        yield "the batch's hash for the leaf", self.receipt(header={"batches_root": own}), "batch"
        place = BatchPlace(1, 2, (OTHER,))
        yield "batch at another place", self.receipt(extra={"batch_place": place}), "batch"
        yield "batch at no place", self.receipt(extra={"batch_place": BatchPlace(1, 1, ())}), "batch"
        yield "batch of other events", self.receipt(batch=replace(batch, root=OTHER)), "batch"
        identity = event_id(encode(self.event), 32)
        yield "the event's id for the batch's tree", self.receipt(batch=replace(batch, root=identity, count=2)), "batch"
        more = replace(batch, count=2, root=root_of([identity, OTHER]))
        yield (
            "event at another place of its batch",
            self.receipt(batch=more, extra={"batch_index": 1, "batch_path": (OTHER,)}),
            "batch",
        )
        yield (
            "event beyond its batch",
            self.receipt(batch=more, extra={"batch_index": 2, "batch_path": (OTHER,)}),
            "batch",
        )
        yield "another source", self.receipt(batch=replace(batch, source=key_of("bank-1", "source").public)), "source"
        yield "signature of another source", self.receipt(signer="bank-1"), "source"
        signature = key_of("bank-0", "source").sign(batch_statement(replace(batch, number=1)))
        yield "signature over another number", self.receipt(extra={"batch_signature": signature}), "source"
        signature = key_of("bank-0", "source").sign(encode(batch))
        yield "signature without its tag", self.receipt(extra={"batch_signature": signature}), "source"
        small = replace(batch, source=SMALL_ORDER)
        signature = SMALL_ORDER + bytes(32)
        yield "source of small order", self.receipt(batch=small, extra={"batch_signature": signature}), "source"

    def _events(self) -> Iterator[Forgery]:
        told = encode(self.event)
        for name, event in (
            ("event with a byte behind it", told + b"\0"),
            ("event in a longer form", b"\xdc\x00\x06" + told[1:]),
            ("event of kind 0", encode(replace(self.event, kind=0))),
            ("event of kind 256", encode(replace(self.event, kind=256))),
            ("event with a reference of 15 bytes", encode(replace(self.event, reference=bytes(15)))),
            ("event of nobody", encode(replace(self.event, member=""))),
        ):
            for kind, what in ((32, ""), (0, ", leaf of a header")):
                leaf = sha256(b"\0" + bytes([kind]) + event).digest()
                batch = self.batch(root=root_of([leaf]))
                yield f"{name}{what}", self.receipt(event=event, leaf=leaf, batch=batch), "event"
        leaf = sha256(b"\0\x21" + told).digest()
        batch = self.batch(root=root_of([leaf]))
        yield "leaf of another kind than the event's", self.receipt(leaf=leaf, batch=batch), "event"
        block = encode(self.header())
        leaf = self.header().hash()
        batch = self.batch(root=root_of([leaf]))
        yield "a block header posing as an event", self.receipt(event=block, leaf=leaf, batch=batch), "event"


class StatusForge(Forge):
    """Status proofs of one key, put together by hand."""

    key = b"certificate/FTP-2026-06-000001"
    value = b"\x91\xa11"

    def block(self, **fields: Any) -> BlockHeader:
        """Return the block of the status, changed as said."""
        root = MapUpdate(lambda _: None).apply(EMPTY, {self.key: self.value})
        return self.header(state_root=root, **fields)

    def after(self, **fields: Any) -> BlockHeader:
        """Return the block after it, changed as said."""
        block = self.block()
        made = self.header(parent=block.hash(), height=Height(2), first_index=2, time_ms=TimeMs(START_MS + 500))
        return replace(made, **fields)

    def status(
        self,
        *,
        block: BlockHeader | None = None,
        following: BlockHeader | None = None,
        more: int = 0,
        extra: dict[str, Any] | None = None,
    ) -> str:
        """Return a status proof signed anew, with the header after it where given, and `more` leaves behind them."""
        own = block or self.block()
        leaves = [OTHER, own.hash(), *([] if following is None else [OTHER, following.hash()]), *[OTHER] * more]
        attached = None if following is None else NextHeader(following, tuple(inclusion_path(leaves, 3)))
        made = StatusProof(STATUS_PROOF_VERSION, self.key, self.value, StateProof((), None), own, attached, ())
        return self.proof(leaves, encode(replace(made, **(extra or {}))), 1)

    def forgeries(self) -> Iterator[Forgery]:
        """Yield status proofs in which one thing does not fit."""
        for name, fields in (
            ("of another parent", {"parent": OTHER}),
            ("at the same height", {"height": Height(1)}),
            ("two heights on", {"height": Height(3)}),
            ("at a negative height", {"height": Height(-2)}),
            ("of another chain", {"chain_id": OTHER}),
            ("at another place", {"first_index": 1}),
            ("of suite 2", {"suite": 2}),
        ):
            yield f"next header {name}", self.status(following=self.after(**fields)), "next header"
        own = self.block()
        yield "next header that is the same", self.status(following=own), "next header"
        for name, fields in (
            ("another chain", {"chain_id": OTHER}),
            ("suite 2", {"suite": 2}),
            ("rules version 91", {"version": 91}),
        ):
            yield f"block of {name}", self.status(block=self.block(**fields)), "block header"
        yield "another state", self.status(block=replace(own, state_root=OTHER)), "state"
        yield "an empty state", self.status(block=replace(own, state_root=EMPTY)), "state"
        yield "another key", self.status(extra={"key": self.key + b"x"}), "state"
        yield "absence for what exists", self.status(extra={"value": None}), "state"
        yield from self._states()

    def _states(self) -> Iterator[Forgery]:
        path, digest = path_of(self.key), sha256(self.value).digest()
        for name, value, proof in (
            ("absence, by the key's own leaf", None, StateProof((), (path, digest))),
            ("absence, by half a path", None, StateProof((), (path[:16], digest))),
            ("absence, by another leaf", None, StateProof((), (bytes(32), digest))),
            ("absence below an empty sibling", None, StateProof((EMPTY,), (path, digest))),
            ("presence that names another leaf", self.value, StateProof((), (path, digest))),
            ("presence below an empty sibling", self.value, StateProof((EMPTY,), None)),
            ("presence of another value", b"\x91\xa12", StateProof((), None)),
            ("presence of an empty value", b"", StateProof((), None)),
            ("a path of 257 hashes", self.value, StateProof((EMPTY,) * 257, None)),
        ):
            yield name, self.status(extra={"value": value, "proof": proof}), "state"
        node = leaf_of(path, self.value)
        inner = self.header(state_root=sha256(b"chainnode/v1/state-node\0" + node + EMPTY).digest())
        yield "a leaf below an empty sibling, by its short path", self.status(block=inner), "state"


# --- handovers


def handover_forgeries(story: Story, receipt: str) -> Iterator[Forgery]:
    """Yield a receipt of epoch 3 for the policy of the genesis, whose handovers are not those that took place."""
    proof = parse_tlog_proof(receipt)
    extra = decode(Receipt, proof.extra, size_max=PROOF_SIZE_MAX)
    first, second, third = extra.handovers

    def of(*handovers: Handover) -> str:
        changed = encode(replace(extra, handovers=handovers))
        return TlogProof(changed, proof.index, proof.path, proof.note).text()

    for name, handovers in (
        ("the first skipped", (second, third)),
        ("the second skipped", (first, third)),
        ("the first two skipped", (third,)),
        ("turned round", (third, second, first)),
        ("the first two swapped", (second, first, third)),
        ("the last two swapped", (first, third, second)),
        ("the first twice", (first, first, second, third)),
        ("the second twice", (first, second, second, third)),
        ("the last twice", (first, second, third, third)),
    ):
        yield f"handovers, {name}", of(*handovers), "handovers"
    for name, handovers, step in (
        ("none", (), "log signature"),
        ("the first alone", (first,), "log signature"),
        ("without the last", (first, second), "cosignatures"),
    ):
        yield f"handovers, {name}", of(*handovers), step
    yield "handovers, the first a hundred times", of(*[first] * 100), "handovers"
    for name, changed in _wrong_handovers(story, first, second):
        yield f"first handover, {name}", of(changed, second, third), "handovers"
        yield f"first handover alone, {name}", of(changed), "handovers"


def _wrong_handovers(story: Story, first: Handover, second: Handover) -> Iterator[tuple[str, Handover]]:
    old, new = story.sets[0], story.sets[1]
    usurped = _usurped(old)
    forged = replace(first.header, next_validators=usurped.hash)

    def certified(
        header: BlockHeader, signers: ValidatorSet, indexes: Sequence[int], **fields: Any
    ) -> QuorumCertificate:
        named = {"phase": COMMIT, "epoch": header.epoch, "view": View(0), "height": header.height, **fields}
        chain_id = named.pop("chain_id", story.genesis.chain_id)
        statement = vote_statement(
            named["phase"], chain_id, named["epoch"], named["view"], named["height"], header.hash()
        )
        signed = []
        for index in indexes:
            validator = signers.validators[index]
            signed.append((index, voting_key(validator.name, validator.vote_key).sign(statement)))
        return QuorumCertificate(**named, block_hash=header.hash(), signatures=tuple(signed))

    def handover(header: BlockHeader, certificate: QuorumCertificate, validators: ValidatorSet = usurped) -> Handover:
        return Handover(header, certificate, validators.validators)

    header = first.header
    yield "of another set than the block names", replace(first, validators=usurped.validators)
    yield "its validators in another order", replace(first, validators=first.validators[::-1])
    yield "a validator fewer", replace(first, validators=first.validators[:-1])
    yield "a validator twice", replace(first, validators=(*first.validators, first.validators[0]))
    yield "no validators", replace(first, validators=())
    yield "forged, with the certificate of the true block", handover(forged, first.certificate)
    yield "forged, of two signers", handover(forged, certified(forged, old, (0, 1)))
    yield "of two signers", replace(first, certificate=certified(header, old, (0, 1)))
    yield "of one signer, three times", replace(first, certificate=certified(header, old, (0, 0, 0)))
    yield "of two signers, one twice", replace(first, certificate=certified(header, old, (0, 1, 1)))
    yield "signers in another order", replace(first, certificate=certified(header, old, (2, 1, 0)))
    yield "of no signer", replace(first, certificate=replace(first.certificate, signatures=()))
    yield "signed by the next epoch's keys", replace(first, certificate=certified(header, new, (1, 2, 3)))
    yield "signed by usurpers", replace(first, certificate=_signed_by_usurpers(first.certificate, story))
    shifted = tuple((index + 1, signature) for index, signature in first.certificate.signatures)
    yield "signatures under other names", replace(first, certificate=replace(first.certificate, signatures=shifted))
    far = (*first.certificate.signatures[:-1], (4, first.certificate.signatures[-1][1]))
    yield "a signer that the set does not have", replace(first, certificate=replace(first.certificate, signatures=far))
    yield "prepared, not committed", replace(first, certificate=certified(header, old, (0, 1, 2), phase=PREPARE))
    yield "committed on another chain", replace(first, certificate=certified(header, old, (0, 1, 2), chain_id=OTHER))
    yield "committed in another epoch", replace(first, certificate=certified(header, old, (0, 1, 2), epoch=Epoch(1)))
    yield "committed at height 0", replace(first, certificate=certified(header, old, (0, 1, 2), height=Height(0)))
    for name, fields in (
        ("of another epoch", {"epoch": Epoch(1)}),
        ("of suite 2", {"suite": 2}),
        ("of rules version 91", {"version": 91}),
        ("at the beginning of the log", {"first_index": 0, "event_count": -1}),
        ("at a negative place", {"first_index": -10}),
    ):
        changed = replace(header, **fields)
        yield f"a block {name}, committed", Handover(changed, certified(changed, old, (0, 1, 2)), first.validators)
    yield "of the second epoch's block", replace(first, header=second.header, certificate=second.certificate)
    yield "a block after the change, by the old keys", _late(story, first, certified)


def _late(story: Story, first: Handover, certified: Any) -> Handover:
    """Return a handover by a block of epoch 1, which three old keys would commit as if epoch 0 had gone on."""
    header = story.reader.header(story.height["restored"])
    assert header is not None
    return Handover(header, certified(header, story.sets[0], (0, 1, 2)), first.validators)


def _usurped(validators: ValidatorSet) -> ValidatorSet:
    """Return the next set as a thief would have it: all keys are his."""
    keys = [
        Validator(v.name, v.member, *(key_of(f"usurper {v.name}", use).public for use in ("vote", "cosign", "log")))
        for v in validators.validators
    ]
    return ValidatorSet(Epoch(validators.epoch + 1), tuple(keys))


def _signed_by_usurpers(certificate: QuorumCertificate, story: Story) -> QuorumCertificate:
    statement = vote_statement(
        COMMIT, story.genesis.chain_id, certificate.epoch, certificate.view, certificate.height, certificate.block_hash
    )
    signed = tuple((i, key_of(f"usurper node-{i}", "vote").sign(statement)) for i, _ in certificate.signatures)
    return replace(certificate, signatures=signed)


# --- checkpoints


def note_forgeries(story: Story, other: OtherStory) -> Iterator[Forgery]:
    """Yield notes that some keys signed, but not those that may, not enough of them, or not for this log."""
    size, root = story.chain.log_size, story.chain.log_root
    sets, origin = story.sets, story.genesis.origin

    def note(text: str, lines: Sequence[str]) -> str:
        return assemble_note(text, [sign_note(text, origin, key_of("node-0", "log")), *lines])

    def lines(
        validators: ValidatorSet, indexes: Sequence[int], at: int = size, what: Hash = root
    ) -> tuple[str, list[str]]:
        text, signed = cosigned(story, validators, at, what, COSIGNED_S, tuple(indexes))
        return text, [cosignature_line(_key(story, validators, i), time_s, item) for i, time_s, item in signed]

    early, early_root = 61, story.reader.log_root(61)
    for name, validators, indexes, at, what in (
        ("the newest log by epoch 0", sets[0], (0, 1, 2, 3), size, root),
        ("the newest log by epoch 1", sets[1], (0, 1, 3), size, root),
        ("the newest log by epoch 2's keys that left", sets[2], (0, 1, 2), size, root),
        ("an early log by epoch 3", sets[3], (0, 1, 2, 3), early, early_root),
        ("two signers of epoch 3", sets[3], (0, 1), size, root),
        ("one signer of epoch 3", sets[3], (2,), size, root),
        ("one signer of epoch 3, three times", sets[3], (2, 2, 2), size, root),
        ("two signers of epoch 3, one twice", sets[3], (0, 1, 1), size, root),
        ("three of the five of epoch 2", sets[2], (0, 1, 2), _size_of(story, "epoch 2"), None),
    ):
        told = story.reader.log_root(at) if what is None else what
        text, signed = lines(validators, indexes, at, told)
        yield f"cosigned: {name}", note(text, signed), "cosignatures"
    text, signed = lines(sets[3], (0, 1, 2))
    yield "cosigned: the log's signature only", note(text, []), "cosignatures"
    yield "log: none", assemble_note(text, signed), "log signature"
    for name, key_name, use in (("a thief's key", "usurper", "log"), ("a cosigner's key", "node-0", "cosign")):
        line = sign_note(text, origin, key_of(key_name, use))
        yield f"log: {name}", assemble_note(text, [line, *signed]), "log signature"
    line = sign_note(text, "council/other", key_of("node-0", "log"))
    yield "log: under another name", assemble_note(text, [line, *signed]), "log signature"
    log_line = sign_note(text, origin, key_of("node-0", "log"))
    as_log = [
        sign_note(text, _key(story, sets[3], i).name, key_of(f"node-{n}", u))
        for i, n, u in ((0, 0, "cosign"), (1, 2, "cosign"), (2, 3, "cosign2"))
    ]
    yield "cosigned: signed as a log signs", assemble_note(text, [log_line, *as_log]), "cosignatures"
    yield "another chain's checkpoint", other.notes["years later"], "checkpoint"
    renamed = other.notes["years later"].replace(other.genesis.origin, origin)
    yield "another chain's checkpoint under this one's name", renamed, "log signature"
    yield "another chain's signatures", _with_signatures(story.notes["years later"], renamed), "log signature"
    zero = [cosignature_line(_key(story, sets[3], i), COSIGNED_S, SMALL_ORDER + bytes(32)) for i in range(3)]
    yield "cosigned: signatures of nothing", note(text, zero), "cosignatures"


def _key(story: Story, validators: ValidatorSet, index: int) -> NoteKey:
    validator = validators.validators[index]
    return NoteKey(f"{story.genesis.chain}/{validator.name}", COSIGNATURE_V1, validator.cosign_key)


def _size_of(story: Story, name: str) -> int:
    return int(story.notes[name].split("\n")[1])


def _with_signatures(note: str, other: str) -> str:
    return note.split("\n\n")[0] + "\n\n" + other.split("\n\n")[1]


def degenerate(story: Story) -> tuple[str, str]:
    """Return a policy of one witness whose key is of small order, and a checkpoint that only a lax verifier accepts."""
    origin = story.genesis.origin
    witness = NoteKey("nobody.example/small", COSIGNATURE_V1, SMALL_ORDER)
    log = NoteKey(origin, ED25519, key_of("node-0", "log").public)
    policy = f"log {log.vkey()}\nwitness nobody {witness.vkey()}\nquorum nobody\n"
    text = Checkpoint(origin, 1, OTHER).text()
    line = cosignature_line(witness, COSIGNED_S, SMALL_ORDER + bytes(32))
    return policy, assemble_note(text, [sign_note(text, origin, key_of("node-0", "log")), line])


def signed_by(text: str, name: str, use: str, witness: NoteKey) -> str:
    """Return the line of a cosignature of a checkpoint's text."""
    return cosignature_line(witness, COSIGNED_S, key_of(name, use).sign(cosign_statement(text, COSIGNED_S)))


def in_base64(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode()
