"""Terms and status: expiry to the millisecond, calendar months, suspensions, revocations that reach back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.certificate_bodies import Cancel, Renew, Restore, Revoke
from ledger.certificate_records import STATUS_ZH, State, Status, add_months, state_at, status_at
from ledger.policy import Policy
from primitives.errors import InputError
from tests.ledger.certificate_fixtures import (
    APPLICATION,
    CORRECTION,
    DAY_MS,
    DOCUMENTS,
    NUMBER,
    REQUEST,
    START_MS,
    Consortium,
    grant,
    suspend,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MS_MAX = 253_402_300_799_999


def ms(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def in_state(state: State, policy: Policy | None = None) -> Consortium:
    consortium = Consortium(policy)
    consortium.bring_to(state)
    return consortium


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-01-01T00:00:00", 36, "2029-01-01T00:00:00"),
        ("2024-02-29T00:00:00", 36, "2027-02-28T00:00:00"),  # a leap day has no counterpart: the month's last day
        ("2024-02-29T23:59:59.999", 36, "2027-02-28T23:59:59.999"),
        ("2024-02-29T12:00:00", 48, "2028-02-29T12:00:00"),  # unless the other year leaps as well
        ("2025-02-28T00:00:00", 36, "2028-02-28T00:00:00"),  # a last day does not become a leap day
        ("2025-03-01T00:00:00", 36, "2028-03-01T00:00:00"),
        ("2097-02-28T00:00:00", 36, "2100-02-28T00:00:00"),  # 2100 does not leap
        ("2096-02-29T00:00:00", 48, "2100-02-28T00:00:00"),
        ("2023-11-30T08:00:00.001", 3, "2024-02-29T08:00:00.001"),
        ("2026-01-31T00:00:00", 1, "2026-02-28T00:00:00"),
        ("2026-12-31T00:00:00", 2, "2027-02-28T00:00:00"),
        ("2026-12-31T00:00:00", 1, "2027-01-31T00:00:00"),
    ],
)
def test_terms_are_calendar_months_of_utc(start: str, months: int, end: str) -> None:
    assert add_months(ms(start), months) == ms(end)


def test_a_term_never_leaves_the_times_that_can_be_written() -> None:
    assert add_months(ms("9998-06-01T00:00:00"), 36) == TIME_MS_MAX
    assert add_months(TIME_MS_MAX + 1, 1) == TIME_MS_MAX


@given(st.integers(0, TIME_MS_MAX), st.integers(1, 1_200))
def test_a_term_keeps_day_and_time_or_ends_on_the_last_day_of_a_shorter_month(start_ms: int, months: int) -> None:
    end_ms = add_months(start_ms, months)
    if end_ms == TIME_MS_MAX:
        return
    start, end = (EPOCH + timedelta(milliseconds=t) for t in (start_ms, end_ms))
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.timetz() == start.timetz()
    assert end.day == start.day or (end.day < start.day and (end + timedelta(days=1)).day == 1)


def test_a_certificate_is_valid_from_its_first_to_its_last_millisecond() -> None:
    consortium = in_state(State.ACTIVE)
    certificate = consortium.certificate()
    start, end = certificate.valid_from_ms, certificate.valid_until_ms
    assert (start, end) == (consortium.now_ms, add_months(consortium.now_ms, 36))
    expected = {
        start - 1: Status.NOT_YET_VALID,
        start: Status.VALID,
        end - 1: Status.VALID,
        end: Status.EXPIRED,
        end + 1: Status.EXPIRED,
    }
    assert {time_ms: status_at(certificate, time_ms).status for time_ms in expected} == expected
    assert (state_at(certificate, end - 1), state_at(certificate, end)) == (State.ACTIVE, State.EXPIRED)
    assert [status_at(certificate, t).valid for t in (start - 1, start, end - 1, end)] == [False, True, True, False]


def test_a_status_says_since_when_and_until_when() -> None:
    certificate = in_state(State.ACTIVE).certificate()
    start, end = certificate.valid_from_ms, certificate.valid_until_ms
    spans = {t: (s.since_ms, s.until_ms) for t in (start - 1, start, end) for s in [status_at(certificate, t)]}
    assert spans == {start - 1: (None, start), start: (start, end), end: (end, None)}


def test_the_public_words_stand_in_both_languages() -> None:
    words = [(status.value, STATUS_ZH[status]) for status in Status]
    assert words == [
        ("not_yet_valid", "尚未生效"),
        ("valid", "有效"),
        ("suspended", "暂停"),
        ("revoked", "撤销"),
        ("cancelled", "注销"),
        ("expired", "过期"),
    ]
    assert status_at(in_state(State.ACTIVE).certificate(), START_MS + DAY_MS).status_zh == "有效"


@pytest.mark.parametrize(
    ("terms", "rule"),
    [
        ({}, ""),
        ({"valid_from_ms": -1}, "starts_too_early"),
        ({"valid_from_ms": 0}, ""),
        ({"valid_from_ms": 180 * DAY_MS}, ""),
        ({"valid_from_ms": 180 * DAY_MS + 1}, "starts_too_late"),
        ({"valid_until_ms": 0}, "validity_empty"),
        ({"valid_until_ms": -DAY_MS}, "validity_empty"),
        ({"valid_until_ms": 1}, ""),
        ({"valid_months": 1}, ""),
        ({"valid_months": 36}, ""),
        ({"valid_months": 37}, "validity_too_long"),
    ],
)
def test_a_grant_keeps_to_the_terms_that_the_policy_permits(terms: dict[str, int], rule: str) -> None:
    consortium = in_state(State.REVIEWED)
    absolute = {name: value if name == "valid_months" else consortium.now_ms + value for name, value in terms.items()}
    assert consortium.submit("cb", replace(grant(), **absolute), "decider") == rule


@pytest.mark.parametrize("start", ["2024-02-29T00:00:00", "2026-01-01T00:00:00", "2025-03-01T12:30:00.001"])
def test_three_years_are_permitted_and_a_millisecond_more_is_not(start: str) -> None:
    consortium = in_state(State.REVIEWED)
    consortium.now_ms = ms(start)
    latest = add_months(consortium.now_ms, 36)
    assert consortium.submit("cb", grant(valid_until_ms=latest + 1), "decider") == "validity_too_long"
    consortium.must("cb", grant(valid_until_ms=latest), "decider")
    assert consortium.certificate().valid_until_ms == latest


@pytest.mark.parametrize(
    ("after_ms", "rule"),
    [
        (0, "suspension_empty"),
        (-1, "suspension_empty"),
        (1, ""),
        (180 * DAY_MS, ""),
        (180 * DAY_MS + 1, "suspension_too_long"),
    ],
)
def test_a_suspension_ends_after_it_begins_within_the_policy(after_ms: int, rule: str) -> None:
    consortium = in_state(State.ACTIVE)
    assert consortium.submit("cb", suspend(until_ms=consortium.now_ms + after_ms)) == rule


def test_a_suspension_in_days_or_without_an_end_counts_from_the_block() -> None:
    for days, expected in ((7, 7), (None, 180)):
        consortium = in_state(State.ACTIVE)
        consortium.must("cb", suspend(days=days))
        suspension = consortium.certificate().suspension
        assert suspension is not None
        assert suspension.until_ms == consortium.now_ms + expected * DAY_MS
    assert in_state(State.ACTIVE).submit("cb", suspend(days=181)) == "suspension_too_long"


def test_a_suspended_certificate_is_not_valid_and_past_the_end_its_revocation_is_due() -> None:
    consortium = in_state(State.ACTIVE)
    consortium.now_ms += DAY_MS
    consortium.must("cb", suspend(days=30))
    certificate = consortium.certificate()
    began, end = consortium.now_ms, consortium.now_ms + 30 * DAY_MS
    during, past = status_at(certificate, end - 1), status_at(certificate, end)
    assert (during.status, during.valid, during.revocation_due) == (Status.SUSPENDED, False, False)
    assert (during.since_ms, during.until_ms) == (began, end)
    assert (past.status, past.valid, past.revocation_due) == (Status.SUSPENDED, False, True)
    assert past.until_ms == certificate.valid_until_ms
    assert status_at(certificate, certificate.valid_until_ms).status is Status.EXPIRED


def test_a_suspension_can_be_lifted_up_to_its_last_millisecond_and_does_not_stop_the_clock() -> None:
    for offset, rule in ((-1, ""), (0, "suspension_ended")):
        consortium = in_state(State.ACTIVE)
        term_end = consortium.certificate().valid_until_ms
        consortium.must("cb", suspend(days=30))
        consortium.now_ms += 30 * DAY_MS + offset
        assert consortium.submit("cb", Restore(NUMBER, CORRECTION)) == rule
        assert consortium.certificate().valid_until_ms == term_end


def test_a_suspension_past_its_end_can_still_be_revoked_or_cancelled() -> None:
    for body in (Revoke(NUMBER, "not_corrected", None), Cancel(NUMBER, REQUEST)):
        consortium = in_state(State.SUSPENDED)
        consortium.now_ms += 200 * DAY_MS
        assert consortium.submit("cb", body) == ""


@pytest.mark.parametrize(
    ("offset", "rule"),
    [(-1, "invalid_from_out_of_range"), (0, ""), (DAY_MS, ""), (DAY_MS + 1, "invalid_from_out_of_range")],
)
def test_a_revocation_reaches_back_to_the_start_at_most(offset: int, rule: str) -> None:
    consortium = in_state(State.ACTIVE)
    start = consortium.certificate().valid_from_ms
    consortium.now_ms = start + DAY_MS
    assert consortium.submit("regulator", Revoke(NUMBER, "forged_report", start + offset)) == rule


def test_a_revocation_counts_from_the_time_it_names() -> None:
    consortium = in_state(State.ACTIVE)
    from_ms = consortium.now_ms + DAY_MS
    consortium.now_ms += 10 * DAY_MS
    before = consortium.certificate()
    consortium.must("cb", Revoke(NUMBER, "forged_report", from_ms))
    certificate = consortium.certificate()
    assert status_at(before, from_ms).status is Status.VALID
    assert status_at(certificate, from_ms).status is Status.REVOKED
    assert status_at(certificate, certificate.valid_until_ms).status is Status.REVOKED
    assert certificate.appeal_until_ms == consortium.now_ms + 60 * DAY_MS


def test_a_record_does_not_speak_for_times_before_its_last_event() -> None:
    consortium = in_state(State.ACTIVE)
    granted = consortium.now_ms
    consortium.now_ms += 10 * DAY_MS
    consortium.must("cb", suspend(days=30))
    with pytest.raises(InputError, match="does not reach back so far: expected a time from"):
        status_at(consortium.certificate(), granted + 1)


def test_a_cancelled_certificate_stays_cancelled_after_its_term() -> None:
    certificate = in_state(State.CANCELLED).certificate()
    assert status_at(certificate, certificate.valid_until_ms + 1).status is Status.CANCELLED


def test_a_certificate_that_starts_later_can_be_suspended_and_restored_before() -> None:
    consortium = in_state(State.REVIEWED)
    start = consortium.now_ms + 100 * DAY_MS
    consortium.must("cb", grant(valid_from_ms=start), "decider")
    assert status_at(consortium.certificate(), start - 1).status is Status.NOT_YET_VALID
    consortium.must("cb", suspend(days=30))
    assert status_at(consortium.certificate(), consortium.now_ms).status is Status.SUSPENDED
    consortium.now_ms += DAY_MS
    consortium.must("cb", Restore(NUMBER, CORRECTION))
    restored = consortium.certificate()
    assert status_at(restored, consortium.now_ms).status is Status.NOT_YET_VALID
    assert status_at(restored, start).since_ms == start


@pytest.mark.parametrize(("offset", "rule"), [(-1, "outside_renewal_window"), (0, "")])
def test_the_renewal_window_opens_180_days_before_the_end(offset: int, rule: str) -> None:
    consortium = in_state(State.ACTIVE)
    consortium.now_ms = consortium.certificate().valid_until_ms - 180 * DAY_MS + offset
    assert consortium.submit("bank-a", Renew("bank-a.0002", NUMBER, DOCUMENTS)) == rule


@pytest.mark.parametrize(("offset", "rule"), [(-1, ""), (0, "wrong_state")])
def test_the_renewal_window_closes_with_the_certificate(offset: int, rule: str) -> None:
    consortium = in_state(State.ACTIVE)
    consortium.now_ms = consortium.certificate().valid_until_ms + offset
    assert consortium.submit("bank-a", Renew("bank-a.0002", NUMBER, DOCUMENTS)) == rule


def test_figures_come_from_the_policy_in_force() -> None:
    policy = Policy(
        certificate_validity_months_max=12,
        certificate_renewal_window_days=10,
        certificate_suspension_days_max=5,
        appeal_window_days=1,
    )
    consortium = in_state(State.ACTIVE, policy)
    certificate = consortium.certificate()
    assert certificate.valid_until_ms == add_months(consortium.now_ms, 12)
    assert consortium.submit("cb", suspend(days=6)) == "suspension_too_long"
    consortium.must("cb", suspend())
    assert consortium.certificate().appeal_until_ms == consortium.now_ms + DAY_MS
    assert consortium.submit("bank-a", Renew(APPLICATION, NUMBER, DOCUMENTS)) == "application_exists"
