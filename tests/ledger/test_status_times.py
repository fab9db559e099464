"""What a certificate is worth at a time, and up to when that is proved: both sides of each edge."""

from __future__ import annotations

import pytest

from ledger.certificate_records import Certificate, Status, certificate_key
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import StatusVerdict, certificate_status, make_status_proof, verify_status
from primitives.encoding import decode
from primitives.errors import InputError, ProofError
from tests.ledger.certificate_fixtures import EVENTS, NUMBER, State, grant
from tests.ledger.certifying_fixtures import Certifying

NEVER = "FTP-2026-06-000009"
TERM_S = 3_600


class Times:
    """A certificate of an hour, granted in epoch 0 and suspended in epoch 2; the chain was idle beyond its end."""

    def __init__(self) -> None:
        chain = Certifying()
        self.chain = chain
        chain.bring_to(State.REVIEWED)
        self.before = chain.chain.height
        chain.now_ms += 990
        self.end_ms = chain.now_ms + 10 + TERM_S * 1_000
        chain.act("cb", "decider", grant(valid_until_ms=self.end_ms))
        self.granted = chain.chain.height
        chain.next_epoch(1)
        self.first_policy = chain.policy(0)
        chain.next_epoch(2)
        self.last = chain.chain.height
        chain.stable(self.end_ms + 60_000)

    def time(self, height: int) -> int:
        header = self.chain.reader.header(height)
        assert header is not None
        return int(header.time_ms)

    def verdict(self, height: int, number: str = NUMBER) -> StatusVerdict:
        """Return what is proved of a certificate as of a height, under the policy of the genesis."""
        proof = make_status_proof(self.chain.reader, certificate_key(number), height)
        assert proof is not None
        return verify_status(proof, self.first_policy)

    def status(self, height: int, time_ms: int, number: str = NUMBER) -> str | None:
        found = certificate_status(self.verdict(height, number), number, time_ms)
        return None if found is None else found.status.value


@pytest.fixture(scope="module")
def times() -> Times:
    return Times()


def test_a_status_is_proved_from_its_blocks_time_until_just_before_the_next(times: Times) -> None:
    for height in range(times.last):
        verdict, start, end = times.verdict(height), times.time(height), times.time(height + 1)
        assert (verdict.time_ms, verdict.until_ms, verdict.is_newest, verdict.last_ms) == (start, end, False, end - 1)
        expected = None if height < times.granted else "valid"
        assert times.status(height, start) == times.status(height, end - 1) == expected
        for outside in (start - 1, end, end + 1):
            with pytest.raises(ProofError, match="says nothing about that time"):
                times.status(height, outside)


def test_the_newest_status_is_proved_up_to_and_with_the_first_cosignatures_second(times: Times) -> None:
    verdict = times.verdict(times.last)
    cosigned_ms = (times.end_ms + 60_000) // 1_000 * 1_000
    assert (verdict.until_ms, verdict.is_newest, verdict.last_ms) == (cosigned_ms, True, cosigned_ms)
    assert times.status(times.last, cosigned_ms) == "expired"
    for outside in (times.time(times.last) - 1, cosigned_ms + 1):
        with pytest.raises(ProofError, match="says nothing about that time"):
            times.status(times.last, outside)


def test_a_term_ends_at_its_very_millisecond_within_one_proof(times: Times) -> None:
    assert times.status(times.last, times.end_ms - 1) == Status.VALID
    assert times.status(times.last, times.end_ms) == Status.EXPIRED


@pytest.mark.parametrize("ahead_ms", [0, 1, 999])
def test_a_block_is_the_last_one_not_after_a_time(times: Times, ahead_ms: int) -> None:
    reader, start = times.chain.reader, times.time(times.granted)
    assert reader.height_at_time(start - 1) == times.before
    assert reader.height_at_time(start) == times.granted
    assert reader.height_at_time(times.time(0) - 1) is None
    assert reader.height_at_time(times.time(times.last) + ahead_ms) == times.last


def test_what_never_existed_and_what_did_not_exist_yet_is_proved_absent(times: Times) -> None:
    assert times.status(times.last, times.end_ms, NEVER) is None
    assert times.status(0, times.time(0)) is None
    assert times.status(times.before, times.time(times.granted) - 1) is None
    assert times.status(times.granted, times.time(times.granted)) == "valid"


def test_a_proof_of_any_epoch_holds_years_later_with_each_change_of_the_set(times: Times) -> None:
    verdict = times.verdict(times.granted)
    assert (verdict.epoch, len(verdict.cosigners), verdict.witnesses) == (2, 3, 4)
    assert times.status(times.granted, times.time(times.granted)) == "valid"
    short = make_status_proof(times.chain.reader, certificate_key(NUMBER), times.granted, from_epoch=1)
    assert short is not None
    with pytest.raises(InputError):
        verify_status(short, times.first_policy)
    assert verify_status(short, times.chain.policy(1)).epoch == 2


def test_a_proof_is_made_only_where_a_checkpoint_speaks_for_the_time(times: Times) -> None:
    """A time after the newest block is covered once a cosignature was made then, and one between blocks at once."""
    chain = Certifying()
    chain.bring_to(State.ACTIVE)
    height, key = chain.chain.height, certificate_key(NUMBER)
    start = int(chain.chain.header.time_ms)
    cosigned = start // 1_000 * 1_000 + 5_000

    def made(at_ms: int | None, asked: int = height) -> bool:
        return make_status_proof(chain.reader, key, asked, at_ms=at_ms) is not None

    assert not made(None)
    chain.stable(cosigned)
    assert [made(at) for at in (None, start, start + 1, cosigned)] == [True] * 4
    assert not made(cosigned + 1)
    assert not made(start - 1)
    chain.stable(cosigned + 60_000)
    assert made(cosigned + 1)
    chain.now_ms = cosigned + 70_000
    chain.act(*EVENTS["certificate.suspend"])
    assert not made(cosigned + 60_001), "the checkpoint does not cover the next block yet"
    chain.stable()
    following = int(chain.chain.header.time_ms)
    assert [made(at) for at in (cosigned + 60_001, following - 1)] == [True] * 2
    assert not made(following)
    assert made(following, height + 1)


def test_a_clock_that_is_behind_makes_no_status_end_before_it_begins() -> None:
    chain = Certifying()
    chain.bring_to(State.ACTIVE)
    chain.stable(int(chain.chain.header.time_ms) - 86_400_000)
    proof = make_status_proof(chain.reader, certificate_key(NUMBER), chain.chain.height)
    assert proof is not None
    verdict = verify_status(proof, chain.policy())
    assert verdict.last_ms == verdict.time_ms == chain.chain.header.time_ms


def test_a_verdict_holds_the_record_itself(times: Times) -> None:
    value = times.verdict(times.granted).value
    assert value is not None
    assert decode(Certificate, value, size_max=STATE_VALUE_SIZE_MAX).valid_until_ms == times.end_ms
