"""Policies that demand outside witnesses beside the validators: in every epoch, as many as they say, and no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ledger.policy_epochs import MARK
from ledger.policy_witnesses import with_witnesses
from ledger.receipts import verify
from ledger.status_proofs import verify_status
from ledger.trust_policy import parse_policy
from primitives.errors import ChainError, InputError, ProofError, UsageError
from primitives.notes import COSIGNATURE_V1, ED25519, NoteKey, cosign, parse_note
from tests.ledger.governance_fixtures import key_of
from tests.ledger.test_proofs_over_epochs import TIME_S, Story, with_note

NAMES = ("regulator", "auditor", "press")
KEYS = {name: NoteKey(f"{name}.example/w", COSIGNATURE_V1, key_of(name, "witness").public) for name in NAMES}


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def only(*names: str) -> Mapping[str, NoteKey]:
    return {name: KEYS[name] for name in names}


def seen(story: Story, epoch: int, *names: str) -> str:
    """Return the note of an epoch's checkpoint with cosignatures of these witnesses."""
    note = story.notes[epoch]
    text = parse_note(note).text
    return note + "".join(cosign(text, KEYS[name].name, key_of(name, "witness"), TIME_S + 7) for name in names)


@pytest.mark.parametrize("made", range(3))
@pytest.mark.parametrize("held", range(3))
def test_a_witness_is_demanded_in_every_epoch_under_the_policy_of_any(story: Story, made: int, held: int) -> None:
    policy = with_witnesses(story.policies[held], only("regulator"))
    for proof, judge in ((story.receipts[made], verify), (story.states[made], verify_status)):
        with pytest.raises(ProofError, match="too few cosignatures"):
            judge(proof, policy)
        verdict = judge(with_note(proof, seen(story, made, "regulator")), policy)
        assert verdict.epoch == made
        assert "regulator" in verdict.cosigners
        assert len(verdict.cosigners) == 4
        with pytest.raises(ProofError, match="too few cosignatures"):
            judge(with_note(proof, seen(story, made, "auditor")), policy)


@pytest.mark.parametrize("made", range(3))
def test_a_witness_alone_is_no_quorum_of_validators(story: Story, made: int) -> None:
    text, _, lines = seen(story, made, "regulator").partition("\n\n")
    kept = lines.split("\n")
    bare = "\n".join([text, "", *kept[:2], *kept[-2:]])  # the log's line, one validator's, and the witness's
    for policy in story.policies:
        with pytest.raises(ProofError, match="too few cosignatures"):
            verify(with_note(story.receipts[made], bare), with_witnesses(policy, only("regulator")))


def test_a_witnesses_signature_that_does_not_verify_refuses_the_note(story: Story) -> None:
    policy = with_witnesses(story.policies[0], only("regulator"))
    other = cosign(parse_note(story.notes[1]).text, KEYS["regulator"].name, key_of("regulator", "witness"), TIME_S)
    with pytest.raises(ProofError, match="does not verify"):
        verify(with_note(story.receipts[2], story.notes[2] + other), policy)


@pytest.mark.parametrize(
    ("threshold", "enough"), [("all", 3), ("any", 1), ("1", 1), ("2", 2), ("3", 3)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("made", [0, 2])
def test_as_many_witnesses_as_the_policy_says_must_have_cosigned(
    story: Story, threshold: str, enough: int, made: int
) -> None:
    policy = with_witnesses(story.policies[1], KEYS, threshold)
    for count in range(4):
        receipt = with_note(story.receipts[made], seen(story, made, *NAMES[:count]))
        if count >= enough:
            assert verify(receipt, policy).witnesses == 7
        else:
            with pytest.raises(ProofError, match="too few cosignatures"):
                verify(receipt, policy)


def test_a_witness_called_like_a_validator_of_another_epoch_is_not_taken_for_it(story: Story) -> None:
    lines = story.policies[0].split("\n")
    assert any(line.startswith("witness node-3 ") for line in lines)
    renamed = story.policies[0].replace("witness node-3 ", "witness third ").replace(" node-3\n", " third\n")
    policy = with_witnesses(renamed, {"node-3": KEYS["regulator"]})
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(story.receipts[2], policy)
    assert "node-3" in verify(with_note(story.receipts[2], seen(story, 2, "regulator")), policy).cosigners


def test_other_readers_see_the_same_rule_in_the_lines_of_c2sp_alone(story: Story) -> None:
    policy = with_witnesses(story.policies[0], only("regulator", "auditor"), "any")
    plain = "\n".join(line for line in policy.split("\n") if not line.startswith(MARK))
    assert verify(with_note(story.receipts[0], seen(story, 0, "auditor")), plain).witnesses == 6
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(story.receipts[0], plain)


def test_a_policy_without_a_quorum_demands_the_witnesses_alone() -> None:
    log = NoteKey("log.example/one", ED25519, key_of("log", "log").public)
    policy = parse_policy(with_witnesses(f"log {log.vkey()}\nquorum none\n", only("regulator")))
    assert (policy.quorum, policy.groups[str(policy.quorum)].members) == ("outside-witnesses", ("regulator",))


BAD: dict[str, tuple[Mapping[str, NoteKey], str, type[ChainError]]] = {
    "none": ({}, "all", UsageError),
    "a space in the name": ({"the regulator": KEYS["regulator"]}, "all", UsageError),
    "no name": ({"": KEYS["regulator"]}, "all", UsageError),
    "a validator's name": ({"node-0": KEYS["regulator"]}, "all", ProofError),
    "the group's name": ({"outside-witnesses": KEYS["regulator"]}, "all", ProofError),
    "a reserved name": ({"none": KEYS["regulator"]}, "all", ProofError),
    "one key twice": ({"a": KEYS["regulator"], "b": KEYS["regulator"]}, "all", ProofError),
    "a log's key": ({"a": NoteKey("a", ED25519, bytes(32))}, "all", ProofError),
    "more than there are": (only("regulator"), "2", ProofError),
    "no number": (only("regulator"), "some", ProofError),
    "zero": (only("regulator"), "0", ProofError),
}


@pytest.mark.parametrize("case", BAD)
def test_witnesses_that_cannot_be_demanded_so_are_refused(story: Story, case: str) -> None:
    witnesses, threshold, error = BAD[case]
    with pytest.raises(error):
        with_witnesses(story.policies[0], witnesses, threshold)


def test_a_validators_own_key_is_no_outside_witness(story: Story) -> None:
    own = NoteKey("elsewhere", COSIGNATURE_V1, key_of("node-0", "cosign").public)
    with pytest.raises(InputError, match="a key stands twice"):
        with_witnesses(story.policies[0], {"elsewhere": own})
