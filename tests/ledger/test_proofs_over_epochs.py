"""Receipts and status proofs over changes of validators: old proofs under new policies, new proofs under old ones."""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from ledger.checkpoint_rows import checkpoint_rows
from ledger.governance_records import proposal_key
from ledger.handovers import first_span, make_handovers, spans_of
from ledger.policy_epochs import MARK
from ledger.reader import LedgerReader
from ledger.receipts import Receipt, make_receipt, verify
from ledger.status_proofs import make_status_proof, verify_status
from ledger.times import format_time
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint, parse_policy, policy_text
from primitives.encoding import decode, encode
from primitives.errors import InputError, ProofError
from primitives.ids import Hash
from primitives.notes import COSIGNATURE_V1, Checkpoint, NoteKey, cosign_statement, cosignature_line
from primitives.validators import ValidatorSet
from tests.ledger.governance_fixtures import Council, bank, key_of

TIME_S = 1_767_300_000
MOVER = 3
REGULATOR = NoteKey("regulator.example/witness", COSIGNATURE_V1, key_of("regulator", "witness").public)


def note_of(council: Council, validators: ValidatorSet, size: int, root: Hash) -> str:
    """Return the note of a checkpoint that a quorum of these validators cosigned, node-3 among them."""
    text = Checkpoint(council.genesis.origin, size, root).text()
    chosen = [validators.n - 1, *range(validators.quorum - 1)]
    signed = []
    for index in chosen:
        keys = (key_of(validators.validators[index].name, use) for use in ("cosign", "cosign1", "cosign2"))
        key = next(item for item in keys if item.public == validators.validators[index].cosign_key)
        signed.append((index, TIME_S, key.sign(cosign_statement(text, TIME_S))))
    return assemble_checkpoint(council.genesis, validators, "node-0", key_of("node-0", "log"), size, root, signed)


class Story:
    """A chain of three epochs with an event, its receipt and a status proof made in each of them."""

    def __init__(self) -> None:
        self.council = Council()
        self.reader = LedgerReader(self.council.store, self.council.genesis)
        self.policies: list[str] = []
        self.events: list[Hash] = []
        self.receipts: list[str] = []
        self.states: list[str] = []
        self.notes: list[str] = []
        for epoch in range(3):
            if epoch:
                self.council.rekey(MOVER, epoch)
            event = self.council.propose(self.council.rekeying(2 - epoch, 9), bank(1))
            self._stable()
            self.events.append(event)
            self.policies.append(policy_text(self.council.genesis, spans_of(self.reader, epoch)))
            receipt = make_receipt(self.reader, event)
            state = make_status_proof(self.reader, proposal_key(event), self.council.chain.height)
            assert receipt is not None
            assert state is not None
            self.receipts.append(receipt)
            self.states.append(state)

    def _stable(self) -> None:
        chain = self.council.chain
        self.notes.append(note_of(self.council, self.council.set, chain.log_size, chain.log_root))
        self.council.store.write(checkpoint_rows(self.council.store, self.notes[-1]), sync=True)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def with_handovers(receipt: str, handovers: tuple[object, ...]) -> str:
    """Return a receipt whose handovers are these."""
    proof = parse_tlog_proof(receipt)
    extra = decode(Receipt, proof.extra, size_max=1 << 20)
    return TlogProof(encode(replace(extra, handovers=handovers)), proof.index, proof.path, proof.note).text()


def with_note(receipt: str, note: str) -> str:
    proof = parse_tlog_proof(receipt)
    return TlogProof(proof.extra, proof.index, proof.path, note).text()


@pytest.mark.parametrize("made", range(3))
@pytest.mark.parametrize("policy", range(3))
def test_a_proof_of_any_epoch_holds_under_the_policy_of_any_epoch(story: Story, made: int, policy: int) -> None:
    verdict = verify(story.receipts[made], story.policies[policy])
    assert (verdict.event_id, verdict.epoch, verdict.applied) == (story.events[made], made, True)
    assert len(verdict.cosigners) == 3
    assert verdict.witnesses == 4
    status = verify_status(story.states[made], story.policies[policy])
    assert status.epoch == made
    assert status.key == proposal_key(story.events[made]).encode()
    assert status.value is not None


def test_the_policy_of_the_genesis_alone_is_enough(story: Story) -> None:
    policy = policy_text(story.council.genesis, (first_span(story.council.genesis),))
    assert policy == story.policies[0]
    assert verify(story.receipts[2], policy).epoch == 2


def test_an_older_event_may_be_proved_again_under_a_newer_checkpoint(story: Story) -> None:
    again = make_receipt(story.reader, story.events[0])
    assert again is not None
    assert verify(again, story.policies[0]).epoch == 2


def test_who_has_a_later_policy_needs_no_earlier_handovers(story: Story) -> None:
    short = make_receipt(story.reader, story.events[2], from_epoch=1)
    assert short is not None
    assert len(short) < len(story.receipts[2])
    assert verify(short, story.policies[1]).epoch == 2
    assert verify(short, story.policies[2]).epoch == 2
    with pytest.raises(InputError):
        verify(short, story.policies[0])


def test_without_its_handovers_a_receipt_of_a_later_epoch_is_refused(story: Story) -> None:
    bare = with_handovers(story.receipts[2], ())
    for policy in story.policies[:2]:
        with pytest.raises(ProofError, match="too few cosignatures"):
            verify(bare, policy)
    first, second = make_handovers(story.reader, 2)
    for wrong in ((second,), (second, first), (first,), (first, first)):
        with pytest.raises(InputError):
            verify(with_handovers(story.receipts[2], wrong), story.policies[0])


def test_handovers_that_the_set_did_not_commit_are_refused(story: Story) -> None:
    first, second = make_handovers(story.reader, 2)
    usurper = replace(first.validators[0], cosign_key=key_of("usurper", "cosign").public)
    few = replace(first.certificate, signatures=first.certificate.signatures[:2])
    twice = replace(first.certificate, signatures=(first.certificate.signatures[0],) * 3)
    for wrong in (
        replace(first, validators=(usurper, *first.validators[1:])),
        replace(first, certificate=few),
        replace(first, certificate=twice),
        replace(first, certificate=second.certificate),
        replace(first, header=replace(first.header, epoch=1)),
    ):
        with pytest.raises(InputError):
            verify(with_handovers(story.receipts[2], (wrong, second)), story.policies[0])


def test_a_set_is_refused_outside_of_its_heights(story: Story) -> None:
    council, chain = story.council, story.council.chain
    old = spans_of(story.reader, 2)[0].validators
    forged = note_of(council, old, chain.log_size, chain.log_root)
    receipt = make_receipt(story.reader, story.events[2])
    assert receipt is not None
    for policy in story.policies:
        with pytest.raises(ProofError, match="too few cosignatures"):
            verify(with_note(receipt, forged), policy)
    # And a later set on what an earlier one is to cosign, though the keys of three validators are the same.
    size = parse_policy(story.policies[2]).check(story.notes[0]).checkpoint.size
    early = note_of(council, council.set, size, story.reader.log_root(size))
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(with_note(story.receipts[0], early), story.policies[2])


def test_a_policy_without_early_epochs_says_so_of_an_early_checkpoint(story: Story) -> None:
    lines = [
        line for line in story.policies[2].split("\n") if not line.startswith((f"{MARK} epoch 0", f"{MARK} epoch 1"))
    ]
    with pytest.raises(ProofError, match="before those of the policy"):
        verify(story.receipts[0], "\n".join(lines))


def test_a_witness_that_the_policy_demands_is_demanded_in_every_epoch(story: Story) -> None:
    policy = story.policies[0].replace(
        "quorum validators-of-epoch-0\n",
        f"witness regulator {REGULATOR.vkey()}\ngroup both all validators-of-epoch-0 regulator\nquorum both\n",
    )
    assert "quorum both" in policy
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(story.receipts[2], policy)
    text = story.notes[2].split("\n\n")[0] + "\n"
    signature = key_of("regulator", "witness").sign(cosign_statement(text, TIME_S + 7))
    seen = story.notes[2] + cosignature_line(REGULATOR, TIME_S + 7, signature)
    verdict = verify(with_note(story.receipts[2], seen), policy)
    assert "regulator" in verdict.cosigners
    assert verdict.witnesses == 5
    assert verdict.cosigned_last_s == TIME_S + 7


def test_a_quorum_of_one_validator_holds_in_the_epochs_of_that_one_alone(story: Story) -> None:
    renamed = story.policies[2].replace("witness node-3 ", "witness mover ").replace(" node-3\n", " mover\n")
    policy = renamed.replace("quorum validators-of-epoch-2\n", "quorum mover\n")
    assert "mover" in verify(story.receipts[2], policy).cosigners
    for earlier in story.receipts[:2]:
        with pytest.raises(ProofError, match="too few cosignatures"):
            verify(earlier, policy)


def test_groups_may_stand_in_groups_as_deep_as_a_policy_is_long(story: Story) -> None:
    deep = "".join(f"group g{i} any {'node-0' if not i else f'g{i - 1}'}\n" for i in range(3_000))
    plain = "\n".join(line for line in story.policies[0].split("\n") if line.startswith(("log ", "witness ")))
    assert "node-0" in verify(story.receipts[0], f"{plain}\n{deep}quorum g2999\n").cosigners


def test_a_cosigner_that_claims_a_time_beyond_all_calendars_makes_no_receipt_unreadable(story: Story) -> None:
    text = story.notes[0].split("\n\n")[0] + "\n"
    late = 2**63 - 1
    signature = key_of("regulator", "witness").sign(cosign_statement(text, late))
    policy = story.policies[0].replace("quorum ", f"witness regulator {REGULATOR.vkey()}\nquorum ")
    verdict = verify(
        with_note(story.receipts[0], story.notes[0] + cosignature_line(REGULATOR, late, signature)), policy
    )
    assert format_time(verdict.cosigned_last_s * 1_000) == "9999-12-31T23:59:59.999Z"
    checked = parse_policy(policy).check(story.notes[0] + cosignature_line(REGULATOR, late, signature))
    assert checked.middle_s < checked.last_s == late


def test_without_lines_of_epochs_a_policy_judges_by_its_quorum_alone(story: Story) -> None:
    plain = "\n".join(line for line in story.policies[0].split("\n") if not line.startswith("#"))
    assert verify(story.receipts[0], plain).epoch is None
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(story.receipts[2], plain)


def broken_policies(story: Story) -> dict[str, str]:
    """Return policies of epoch 2 whose lines of epochs are wrong, by what is wrong."""
    policy = story.policies[2]
    lines = [line for line in policy.split("\n") if line.startswith(MARK)]
    spans = spans_of(story.reader, 2)
    swapped = ValidatorSet(spans[2].validators.epoch, spans[2].validators.validators[::-1][:3])
    other = base64.b64encode(encode(swapped)).decode()
    return {
        "order": policy.replace(f"{lines[0]}\n{lines[1]}", f"{lines[1]}\n{lines[0]}"),
        "gap": policy.replace(lines[1] + "\n", ""),
        "twice": policy.replace(lines[2], f"{lines[2]}\n{lines[2]}"),
        "size": policy.replace(f" from {spans[2].size_min} ", f" from {spans[1].size_min} "),
        "zero": policy.replace(" from 1 ", " from 0 "),
        "padded": policy.replace(" from 1 ", " from 01 "),
        "set": policy.replace(lines[2], f"{MARK} epoch 2 from {spans[2].size_min} {other}"),
        "number": policy.replace(f"{MARK} epoch 2", f"{MARK} epoch 3"),
        "word": policy.replace(f"{MARK} epoch 2", f"{MARK} era 2"),
        "base64": policy.replace(lines[2], lines[2] + "!"),
        "bytes": policy.replace(lines[2], f"{MARK} epoch 2 from {spans[2].size_min} AAAA"),
        "newest only": policy.replace(lines[2] + "\n", ""),
        "threshold": policy.replace("group validators-of-epoch-2 3", "group validators-of-epoch-2 2"),
        "member": policy.replace(" node-0 node-1 node-2 node-3\n", " node-0 node-1 node-2\n"),
        "group": policy.replace("validators-of-epoch-2", "validators"),
        "log": policy + "log " + NoteKey("elsewhere/x", 1, key_of("other", "log").public).vkey() + "\n",
    }


def test_a_policy_whose_epochs_do_not_fit_is_refused(story: Story) -> None:
    for name, policy in broken_policies(story).items():
        assert policy != story.policies[2], name
        with pytest.raises(ProofError) as refused:
            parse_policy(policy)
        assert refused.value.what, name


def test_an_origin_without_a_chain_id_has_no_epochs(story: Story) -> None:
    log = NoteKey("council/none", 1, key_of("node-0", "log").public).vkey()
    lines = [line for line in story.policies[0].split("\n") if not line.startswith("log ")]
    with pytest.raises(ProofError, match="origin without a chain id"):
        parse_policy("\n".join([f"log {log}", *lines]))


def test_an_epoch_that_the_newest_block_ended_is_over() -> None:
    council = Council()
    reader = LedgerReader(council.store, council.genesis)
    council.block()
    assert reader.height_at_epoch_end(0) is None
    council.rekey(MOVER, 1)
    assert reader.height_at_epoch_end(0) == council.chain.height
    assert reader.height_at_epoch_end(1) is None
    spans = spans_of(reader, 1)
    assert spans[1].validators == council.set
    assert parse_policy(policy_text(council.genesis, spans, [])).epochs[-1].validators == council.set
    council.block()
    assert reader.height_at_epoch_end(0) == council.chain.height - 1
