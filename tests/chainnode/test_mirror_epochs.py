"""A mirror that outlives the validators of its policy: each change of the set is fetched, verified and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainnode.log_source import DirectorySource
from chainnode.monitoring import Alarm, Trust
from ledger.forks import verify_fork
from ledger.handovers import Handover, make_handovers
from ledger.trust_policy import parse_policy
from primitives.encoding import encode
from primitives.errors import ProofError
from primitives.ids import Hash
from tests.chainnode.mirror_fixtures import Served
from tests.chainnode.test_mirror import check, snapshot, step
from tests.ledger.test_proofs_over_epochs import Story, note_of


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def served(story: Story, epoch: int = 2, **fields: object) -> Served:
    return Served(story.reader, note=story.notes[epoch], **fields)  # type: ignore[arg-type]  # as the fields have them


def test_a_mirror_follows_later_epochs_and_keeps_how_they_came_about(story: Story, tmp_path: Path) -> None:
    policy = story.policies[0]
    for epoch in range(3):
        found = step(tmp_path, policy, served(story, epoch))
        assert found.seen is not None
        assert found.seen.checked.epoch == epoch
        kept = sorted(path.name for path in (tmp_path / "handovers").glob("*"))
        assert kept == ["0", "1"], "a node serves all changes of validators, those after this checkpoint too"
    assert check(tmp_path, policy).seen is not None
    assert (tmp_path / "handovers/1").read_bytes() == encode(make_handovers(story.reader, 2, 1)[0])


def test_a_mirror_of_a_mirror_learns_of_epochs_as_of_a_node(story: Story, tmp_path: Path) -> None:
    policy = story.policies[0]
    step(tmp_path / "a", policy, served(story))
    found = step(tmp_path / "b", policy, DirectorySource(tmp_path / "a"))
    assert found.seen is not None
    assert found.seen.checked.epoch == 2
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_under_the_present_policy_no_handover_is_needed(story: Story, tmp_path: Path) -> None:
    source = served(story)
    assert step(tmp_path, story.policies[2], source).new_leaves
    assert [path for path in source.asked if path.startswith("handovers")] == ["handovers/2"]
    assert not (tmp_path / "handovers").exists()


@pytest.mark.parametrize("lie", ["none", "garbage", "of another epoch", "fewer signatures", "other validators"])
def test_a_false_handover_leads_nowhere_and_is_not_kept(story: Story, tmp_path: Path, lie: str) -> None:
    policy = story.policies[0]
    step(tmp_path, policy, served(story, 0))
    before = (tmp_path / "checkpoint").read_bytes()
    first, second = make_handovers(story.reader, 2)
    certificate = first.certificate
    few = type(certificate)(
        certificate.phase,
        certificate.epoch,
        certificate.view,
        certificate.height,
        certificate.block_hash,
        certificate.signatures[:-1],
    )
    answers = {
        "none": None,
        "garbage": b"\xc1" * 300,
        "of another epoch": encode(second),
        "fewer signatures": encode(type(first)(first.header, few, first.validators)),
        "other validators": encode(type(first)(first.header, first.certificate, first.validators[::-1])),
    }
    fresh = tmp_path / "fresh"
    found = step(fresh, policy, served(story, 2, name="liar", lies={"handovers/0": lambda _: answers[lie]}))
    assert set(found.refused) == {"liar"}
    assert "checkpoint" in str(found.refused["liar"])
    assert not (fresh / "handovers").exists()
    assert (tmp_path / "checkpoint").read_bytes() == before
    assert step(fresh, policy, served(story)).new_leaves


@pytest.mark.parametrize("known", [0, 1])
def test_who_has_handovers_without_end_is_refused_at_the_first_false_one(story: Story, known: int) -> None:
    good = make_handovers(story.reader, 2)
    trust = Trust(story.policies[0])
    trust.accept(story.notes[known], "honest", dict(enumerate(good[:known])).get)
    assert len(trust.handovers) == known
    asked: list[int] = []

    def endless(epoch: int) -> Handover:
        asked.append(epoch)
        return good[min(epoch, 1)]

    with pytest.raises(ProofError, match="handovers"):
        trust.accept(story.notes[2], "liar", endless)
    assert asked == list(range(known, 3))
    assert len(trust.handovers) == known
    assert trust.accept(story.notes[2], "honest", dict(enumerate(good)).get).checked.epoch == 2


def test_a_fork_in_a_later_epoch_convinces_who_has_the_first_epochs_policy(story: Story, tmp_path: Path) -> None:
    policy = story.policies[0]
    step(tmp_path, policy, served(story))
    size = story.council.chain.log_size
    forged = note_of(story.council, story.council.set, size, Hash(bytes(31) + b"\1"))
    with pytest.raises(Alarm) as caught:
        step(tmp_path, policy, Served(story.reader, "liar", note=forged))
    text = caught.value.path.read_text()
    verdict = verify_fork(text, policy)
    assert verdict.first.epoch == verdict.second.epoch == 2
    assert len(verdict.accused) >= 3
    assert parse_policy(policy).epochs[-1].validators.epoch == 0
