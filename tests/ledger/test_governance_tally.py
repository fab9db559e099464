"""What a lost voter decides, how long ended proposals are kept, and why the state says that one failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger import governance_records
from ledger.governance_bodies import AddSource, Propose, RemoveValidator, SetOfficers, Withdraw, source_statement
from ledger.governance_errors import NUMBERS, RULES, rule_of
from ledger.governance_records import ENDED_KEPT, Stage, read_proposal, under_way
from ledger.members import GOVERNANCE_ROLE, Officer, Role
from ledger.state import StateView
from tests.ledger.governance_fixtures import DAY_MS, Council, bank, key_of

FORMATS = Path(__file__).parents[2] / "docs/formats.md"


def new_source(council: Council, number: int, turn: int = 0) -> AddSource:
    """Return the action that gives a bank one more source."""
    key = key_of(f"{bank(number)}-{turn}", "new-source")
    proof = key.sign(source_statement(council.chain_id, bank(number), key.public))
    return AddSource(bank(number), key.public, (Role.BANK,), proof)


def removal(number: int) -> RemoveValidator:
    return RemoveValidator(f"node-{number}", True)


def decided(council: Council, *proposals: bytes) -> list[tuple[Stage, int]]:
    """Return stage and closing height of proposals."""
    return [(council.stage(item), council.proposal(item).closed_height) for item in proposals]


# ---- votes counted again


def test_votes_that_are_enough_once_a_voter_has_left_decide_in_the_same_block() -> None:
    council = Council(5)
    waiting = council.propose(new_source(council, 0))
    council.vote(waiting, 0, 1, 2)  # three of five do not pass it; of four they do
    leaving = council.propose(removal(4))
    council.vote(leaving, 0, 1, 2)
    assert council.stage(waiting) is Stage.OPEN
    council.vote(leaving, 3)
    assert decided(council, leaving, waiting) == [(Stage.ENACTED, council.chain.height)] * 2


def test_an_approval_that_is_out_of_reach_once_a_voter_has_left_is_refused_in_the_same_block() -> None:
    council = Council(7)
    waiting = council.propose(new_source(council, 0))
    council.vote(waiting, 0, 1, approve=False)  # of seven, five may still pass it; of six, two against are too many
    leaving = council.propose(removal(6))
    council.vote(leaving, 0, 1, 2, 3)
    assert council.stage(waiting) is Stage.OPEN
    council.vote(leaving, 4)
    assert decided(council, waiting) == [(Stage.REFUSED, council.chain.height)]


def test_the_vote_of_who_has_left_counts_no_more() -> None:
    council = Council(5)
    waiting = council.propose(new_source(council, 0))
    council.vote(waiting, 0, 1, 4)
    leaving = council.propose(removal(4))
    council.vote(leaving, 0, 1, 2, 3)
    assert council.stage(leaving) is Stage.ENACTED
    assert council.stage(waiting) is Stage.OPEN


def test_votes_that_count_again_once_a_voter_has_come_back_decide_in_the_same_block() -> None:
    council = Council(7)
    waiting = council.propose(new_source(council, 0))
    council.vote(waiting, 0, 1, 2, 6)
    leaving = council.propose(removal(6))
    council.vote(leaving, 0, 1, 2, 3, 4)
    council.vote(waiting, 3)  # four of six do not pass it; with the vote that was cast before, five of seven do
    coming = council.propose(council.addition(6, "node-6-again"))
    council.vote(coming, 0, 1, 2, 3, 4)
    assert (council.stage(coming), council.stage(waiting)) == (Stage.APPROVED, Stage.OPEN)
    assert council.say("bank-6", council.ready(coming, "node-6-again")).applied
    assert decided(council, coming, waiting) == [(Stage.ENACTED, council.chain.height)] * 2


def test_one_removal_may_set_off_the_next_and_what_is_older_and_all_of_it_is_one_epoch() -> None:
    council = Council(8)
    oldest = council.propose(new_source(council, 3), "bank-3")
    first, second, third = (council.propose(removal(number)) for number in (7, 6, 5))
    council.vote(oldest, *range(4))  # enough of five
    council.vote(second, *range(5))  # enough of seven or six
    council.vote(third, *range(5))
    council.vote(first, *range(5))
    assert {council.stage(item) for item in (oldest, first, second, third)} == {Stage.OPEN}
    council.vote(first, 5)
    ended = decided(council, oldest, first, second, third)
    assert ended == [(Stage.ENACTED, council.chain.height)] * 4
    assert (council.set.epoch, council.set.n) == (1, 5)


def test_what_may_not_be_any_more_fails_when_it_is_counted_again() -> None:
    council = Council(5)
    second = council.propose(RemoveValidator("node-3", True), "bank-3")
    council.vote(second, 0, 1, 2)
    first = council.propose(removal(4))
    council.vote(first, 0, 1, 2, 3)
    assert council.stage(first) is Stage.ENACTED
    assert council.stage(second) is Stage.FAILED
    assert rule_of(council.proposal(second).failure) == "no_safe_quorum"


# ---- what an event costs


def rows_read(members: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return how many rows of the state each kind of event reads in a consortium of so many members."""
    council = Council(members, 1)
    for number in range(members):
        council.block((bank(number), Propose(new_source(council, number), council.now_ms + DAY_MS)))
    officers = (Officer(key_of("bank-0", "officer2").public, GOVERNANCE_ROLE),)
    said = {
        "add_source": Propose(new_source(council, 0, 1), council.now_ms + DAY_MS),
        "set_officers": Propose(SetOfficers("bank-0", officers), council.now_ms + DAY_MS),
        "add_validator": Propose(council.addition(members), council.now_ms + DAY_MS),
        "rekey_validator": Propose(council.rekeying(1), council.now_ms + DAY_MS),
    }
    read: list[bytes] = []
    raw, scan = StateView.raw, StateView.raw_scan

    def counted(view: StateView, key: bytes) -> bytes | None:
        read.append(key)
        return raw(view, key)

    def scanned(view: StateView, prefix: bytes, stop: bytes | None = None, start: bytes | None = None) -> object:
        for row in scan(view, prefix, stop, start):
            read.append(row[0])
            yield row

    figures = {}
    for name, body in said.items():
        with monkeypatch.context() as patch:
            patch.setattr(StateView, "raw", counted)
            patch.setattr(StateView, "raw_scan", scanned)
            read.clear()
            result = council.block(("bank-0", body)) if name != "rekey_validator" else council.block(("bank-1", body))
            figures[name] = len(read)
        assert result.outcomes[0].applied, result.outcomes[0]
    ballot = council.ballot("bank-2", result.event_ids[0])
    with monkeypatch.context() as patch:
        patch.setattr(StateView, "raw", counted)
        patch.setattr(StateView, "raw_scan", scanned)
        read.clear()
        council.block(("bank-2", ballot))
        figures["vote"] = len(read)
    return figures


def test_an_event_of_governance_reads_as_many_rows_among_forty_members_as_among_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert rows_read(40, monkeypatch) == rows_read(5, monkeypatch)


# ---- how long what ended is kept


def test_the_newest_ended_proposals_are_kept_and_the_one_before_them_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_records, "ENDED_KEPT", 3)
    council = Council(4)
    ended = []
    for turn in range(5):
        proposal = council.propose(new_source(council, 0, turn))
        assert council.say("bank-0", Withdraw(proposal)).applied
        ended.append(proposal)
    kept = [read_proposal(council.state, item) is not None for item in ended]
    assert kept == [False, False, True, True, True]
    assert council.rule("bank-1", council.ballot("bank-1", ended[0])) == "unknown_proposal"
    assert council.rule("bank-1", council.ballot("bank-1", ended[4])) == "proposal_closed"


def test_expired_proposals_leave_with_their_members_next_one_and_count_as_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(governance_records, "ENDED_KEPT", 2)
    council = Council(4)
    expired = [council.propose(new_source(council, 0, turn), term_ms=100) for turn in range(3)]
    council.now_ms += 1_000
    assert under_way(council.state, council.now_ms) == []
    waiting = council.propose(new_source(council, 0, 3))
    assert [read_proposal(council.state, item) is not None for item in expired].count(True) == 2
    assert [item for item, _ in under_way(council.state, council.now_ms)] == [waiting]
    assert all(council.stage(item) is Stage.EXPIRED for item in expired if read_proposal(council.state, item))


def test_the_rows_of_governance_are_bounded_whatever_members_propose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_records, "ENDED_KEPT", 4)
    council = Council(4)
    for turn in range(20):
        proposal = council.propose(new_source(council, turn % 4, turn), bank(turn % 4))
        council.say(bank(turn % 4), Withdraw(proposal))
    rows = [key for prefix in (b"proposal/", b"ended", b"under-way/") for key, _ in council.state.raw_scan(prefix)]
    assert len(rows) == 4 * (4 + 4 + 1)
    assert ENDED_KEPT == 128


def test_no_member_makes_the_ended_proposals_of_another_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_records, "ENDED_KEPT", 3)
    council = Council(4)
    enacted = council.propose(new_source(council, 1))
    council.vote(enacted, 0, 1, 2)
    for _ in range(2 * 3):
        proposal = council.propose(new_source(council, 3), "bank-3")
        assert council.say("bank-3", Withdraw(proposal)).applied
    assert council.stage(enacted) is Stage.ENACTED


# ---- why a proposal failed


def test_every_rule_has_a_number_of_its_own_that_the_formats_list() -> None:
    assert set(NUMBERS) == set(RULES)
    assert sorted(NUMBERS.values()) == list(range(1, len(RULES) + 1))
    text = FORMATS.read_text("utf-8")
    listed = re.findall(r"(\d+) `([a-z_]+)`", text.partition("`failure` numbers")[2].partition("\n\n")[0])
    assert {rule: int(number) for number, rule in listed} == NUMBERS
    assert rule_of(999) == "unknown"


def test_what_else_was_approved_for_the_same_fails_as_superseded() -> None:
    council = Council(5)
    first, second = council.propose(council.rekeying(1, 1), "bank-1"), council.propose(council.rekeying(1, 2), "bank-2")
    for proposal in (first, second):
        council.vote(proposal, 0, 1, 2, 3)
    assert council.say("bank-0", council.ready(first, "node-1")).applied
    assert (council.stage(second), rule_of(council.proposal(second).failure)) == (Stage.FAILED, "superseded")
