"""What falls due by the chain's time: the same at every height, however far an index has come."""

from __future__ import annotations

import pytest

from ledger.certificate_bodies import Restore, Revoke
from ledger.certificate_records import State, read_certificate
from ledger.deadline_index import EndsFollower, EndsReader
from ledger.deadline_reading import dues_after
from ledger.deadlines import NOTICES, Due, DueKind
from ledger.governance_bodies import RemoveValidator
from ledger.store import MemoryStore
from tests.ledger.certificate_fixtures import CORRECTION, NUMBER, suspend
from tests.ledger.certifying_fixtures import Certifying

DAY_MS = 86_400_000
EXPIRED, SUSPENDED, APPEAL = DueKind.CERTIFICATE_EXPIRED, DueKind.SUSPENSION_ENDED, DueKind.APPEAL_ENDED
PROPOSAL = DueKind.PROPOSAL_EXPIRED
AHEAD = {*NOTICES, DueKind.RENEWAL_OPENED}


class Timed(Certifying):
    """A chain that says what fell due with each of its blocks."""

    def tick(self, to_ms: int) -> None:
        """Commit a block at a time."""
        self.now_ms = to_ms - 10
        self.block(("bank-a/first", suspend("FTP-2026-06-000999")))  # of nothing: rejected

    def dues(self, start: int = 0) -> dict[int, list[Due]]:
        """Return what fell due with each block above a height, where anything did, but for what tells of an end ahead.

        There is no index, so that every state is read as a whole.
        """
        found = {}
        for height in range(start, self.chain.height):
            found_here = dues_after(self.reader, None, height, self.reader.header(height + 1).time_ms)
            dues = [due for due in found_here if due.kind not in AHEAD]
            if dues:
                found[height + 1] = dues
        return found

    def kinds(self) -> list[tuple[DueKind, int]]:
        return [(due.kind, due.time_ms) for dues in self.dues().values() for due in dues]


@pytest.fixture
def chain() -> Timed:
    return Timed(validators=6)


def all_agree(chain: Timed) -> dict[int, list[Due]]:
    """Return what fell due, having asked an index of every height, and one that is behind by any number of blocks."""
    whole = {height: dues_after(chain.reader, None, height, _next_ms(chain, height)) for height in _heights(chain)}
    for reached in range(chain.chain.height + 1):
        store = MemoryStore()
        follower = EndsFollower(store, chain.reader)
        while (follower.height or -1) < reached and follower.follow(reached, 5):
            pass
        for height in _heights(chain):
            found = dues_after(chain.reader, EndsReader(store), height, _next_ms(chain, height))
            assert found == whole[height], (reached, height)
    return chain.dues()


def _heights(chain: Timed) -> range:
    return range(chain.chain.height)


def _next_ms(chain: Timed, height: int) -> int:
    return chain.reader.header(height + 1).time_ms


def test_a_certificate_expires_with_the_first_block_at_its_end_or_after_it(chain) -> None:
    chain.bring_to(State.ACTIVE)
    end_ms = read_certificate(chain.state, NUMBER).valid_until_ms
    chain.tick(end_ms - 1)
    before = chain.chain.height
    chain.tick(end_ms + 5)
    chain.tick(end_ms + 6)
    assert all_agree(chain) == {before + 1: [Due(end_ms, EXPIRED, NUMBER, "bank-a")]}


def test_a_suspension_falls_due_at_its_end_also_where_it_was_revoked_later(chain) -> None:
    chain.bring_to(State.ACTIVE)
    until_ms = chain.now_ms + 10 * DAY_MS
    chain.act("cb", "first", suspend(until_ms=until_ms))
    chain.tick(until_ms)
    due_at = chain.chain.height
    chain.act("cb", "first", Revoke(NUMBER, "mark_misused", None))
    found = all_agree(chain)
    assert Due(until_ms, SUSPENDED, NUMBER, "bank-a") in found[due_at]
    chain.tick(chain.now_ms + 4 * 365 * DAY_MS)
    assert [kind for kind, _ in chain.kinds()].count(EXPIRED) == 0, "what is revoked does not expire"
    assert chain.dues()[due_at] == found[due_at]


def test_a_suspension_that_was_lifted_falls_due_no_more_and_the_next_one_does(chain) -> None:
    chain.bring_to(State.ACTIVE)
    first_ms = chain.now_ms + 10 * DAY_MS
    chain.act("cb", "first", suspend(until_ms=first_ms))
    chain.act("cb", "first", Restore(NUMBER, CORRECTION))
    chain.tick(first_ms + 1)
    second_ms = chain.now_ms + 5 * DAY_MS
    chain.act("cb", "first", suspend(until_ms=second_ms))
    chain.tick(second_ms + 1)
    all_agree(chain)
    assert [due for due in chain.kinds() if due[0] is SUSPENDED] == [(SUSPENDED, second_ms)]


def test_what_has_fallen_due_is_not_said_again_when_the_next_thing_of_the_same_does(chain) -> None:
    chain.bring_to(State.ACTIVE)
    chain.act("cb", "first", suspend(until_ms=chain.now_ms + 10 * DAY_MS))
    chain.tick(chain.now_ms + 20 * DAY_MS)
    chain.tick(chain.now_ms + 4 * 365 * DAY_MS)
    all_agree(chain)
    said = [kind for kind, _ in chain.kinds()]
    assert sorted(said) == sorted({SUSPENDED, APPEAL, EXPIRED})


def test_the_window_to_appeal_ends_for_a_refused_application(chain) -> None:
    chain.bring_to(State.REFUSED)
    chain.tick(chain.now_ms + 61 * DAY_MS)
    found = all_agree(chain)
    assert [due.kind for due in found[chain.chain.height]] == [APPEAL]


def test_a_proposal_expires_after_its_end_unless_it_was_decided(chain) -> None:
    undecided = chain.propose(RemoveValidator("node-0", fewer_faults=True), "bank-1")
    decided = chain.propose(RemoveValidator("node-1", fewer_faults=True), "bank-2")
    chain.vote(decided, 0, 2, approve=False)
    end_ms = chain.proposal(undecided).expires_ms
    chain.tick(end_ms)
    chain.tick(end_ms + DAY_MS)
    assert all_agree(chain) == {chain.chain.height: [Due(end_ms + 1, PROPOSAL, undecided.hex(), "bank-1")]}


def test_two_that_fall_due_with_one_block_come_in_the_order_of_their_times(chain) -> None:
    chain.bring_to(State.ACTIVE)
    chain.propose(RemoveValidator("node-0", fewer_faults=True), "bank-1")
    chain.act("cb", "first", suspend(until_ms=chain.now_ms + 10 * DAY_MS))
    chain.tick(chain.now_ms + 5 * 365 * DAY_MS)
    dues = all_agree(chain)[chain.chain.height]
    assert [due.kind for due in dues] == [PROPOSAL, SUSPENDED, APPEAL, EXPIRED]
    assert dues == sorted(dues, key=lambda due: due.time_ms)
