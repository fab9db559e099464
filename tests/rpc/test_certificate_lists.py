"""`cert_list`: its filters and pages over certificates that change, its times, and what it refuses by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.certificate_records import Status, status_at
from ledger.certificate_search import Filters
from ledger.times import format_time
from rpc.errors import RpcError
from rpc.explorer.asking import ask
from rpc.methods import certificate_list
from rpc.methods.certificate_list import CertificatesResult, list_certificates
from rpc.methods.search import HITS_MAX, search
from rpc.ports import Services
from tests.ledger.certificate_list_fixtures import BLOCK_MS, DAY_MS, Register, day_of, naive
from tests.ledger.chain_fixtures import START_MS
from tests.rpc.certificate_list_services import grown, services_over


@pytest.fixture(scope="module")
def register() -> Register:
    return grown()


@pytest.fixture(scope="module")
def services(register: Register) -> Services:
    return services_over(register)


def listed(services: Services, **params: object) -> CertificatesResult:
    return ask(list_certificates, services, **params)


def walked(services: Services, **params: object) -> list[str]:
    """Return the numbers on all pages."""
    numbers: list[str] = []
    cursor = None
    for _ in range(1_000):
        page = listed(services, cursor=cursor, **params)
        numbers += [item.number for item in page.certificates]
        cursor = page.cursor
        if cursor is None:
            return numbers
    raise AssertionError("a list without an end")


def refused(services: Services, **params: object) -> RpcError:
    with pytest.raises(RpcError) as caught:
        listed(services, **params)
    return caught.value


ASKED: list[tuple[dict[str, Any], Filters]] = [
    ({}, Filters()),
    ({"number": "FTP-2026"}, Filters(number="FTP-2026")),
    ({"status": "suspended"}, Filters(status=Status.SUSPENDED)),
    ({"status": "valid", "category": 6}, Filters(status=Status.VALID, category=6)),
    ({"holder_name": "BANK", "catalogue": 1}, Filters(holder_name="bank", catalogue=1)),
    ({"holder_id": "hwupkr0mpou8fgxbt394"}, Filters(holder_id="HWUPKR0MPOU8FGXBT394")),
    ({"product": "终端", "holder": "bank-a"}, Filters(product="终端", holder="bank-a")),
]


@pytest.mark.parametrize(("params", "filters"), ASKED, ids=[str(params) for params, _ in ASKED])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_together_hold_all_that_fits_once_and_in_order(
    register: Register, services: Services, params: dict[str, Any], filters: Filters, order: str, limit: int
) -> None:
    height = len(register.kept) - 1
    wanted = naive(register, filters, height, START_MS + height * BLOCK_MS)
    assert wanted
    assert walked(services, order=order, limit=limit, **params) == (wanted if order == "asc" else wanted[::-1])


@given(height=st.integers(0, 30), after_ms=st.integers(0, BLOCK_MS - 1), status=st.sampled_from(list(Status)))
def test_a_list_of_a_past_time_says_what_was_the_case_then(
    register: Register, services: Services, height: int, after_ms: int, status: Status
) -> None:
    time_ms = START_MS + height * BLOCK_MS + after_ms
    wanted = naive(register, Filters(status=status), height, time_ms)
    assert walked(services, at=format_time(time_ms), status=status.value, limit=7) == wanted
    page = listed(services, at=format_time(time_ms), limit=100)
    assert (page.as_of, page.time) == (height, format_time(time_ms))
    for item in page.certificates:
        then = register.kept[height][item.number]
        assert item.status.status == status_at(then.certificate, time_ms).status.value
        assert item.holder_id == then.scheme.holder_id


def test_a_list_as_of_a_height_is_of_its_block_s_time(services: Services) -> None:
    page = listed(services, at=7)
    assert (page.as_of, page.time) == (7, format_time(START_MS + 7 * BLOCK_MS))


@pytest.mark.parametrize(("looked", "past"), [(5, 500), (20_000, 2)])
def test_a_page_that_may_not_look_further_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, register: Register, services: Services, looked: int, past: int
) -> None:
    monkeypatch.setattr(certificate_list, "LOOKED_THROUGH_MAX", looked)
    monkeypatch.setattr(certificate_list, "PAST_MAX", past)
    wanted = naive(register, Filters(status=Status.EXPIRED), 20, START_MS + 20 * BLOCK_MS)
    assert wanted
    pages: list[int] = []
    cursor, numbers = None, []
    while True:
        page = listed(services, at=20, status="expired", cursor=cursor)
        numbers += [item.number for item in page.certificates]
        pages.append(len(page.certificates))
        cursor = page.cursor
        if cursor is None:
            break
    assert numbers == wanted
    assert len(pages) > 1
    assert min(pages) < 30


def test_the_cursor_of_a_list_is_of_its_filters_alone(services: Services) -> None:
    cursor = listed(services, limit=1, category=6).cursor
    for other in ({"category": 9}, {"category": 6, "at": 7}, {"category": 6, "product": "x"}, {}):
        assert refused(services, limit=1, cursor=cursor, **other).reason == "bad_cursor"
    assert listed(services, limit=2, category=6, cursor=cursor).certificates


def test_days_are_in_a_span_from_their_beginning_to_their_end(register: Register, services: Services) -> None:
    height = len(register.kept) - 1
    certificate = next(iter(register.kept[height].values())).certificate
    from_day, until_day = day_of(certificate.valid_from_ms), day_of(certificate.valid_until_ms)
    number = certificate.number
    assert number in walked(services, granted_from=from_day, granted_to=from_day)
    assert number in walked(services, valid_until_from=until_day, valid_until_to=until_day)
    exact = format_time(certificate.valid_from_ms)
    assert number in walked(services, granted_from=exact, granted_to=exact)
    before, after = (day_of(certificate.valid_from_ms + days * DAY_MS) for days in (-1, 1))
    assert number not in walked(services, granted_to=before)
    assert number not in walked(services, granted_from=after)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("91110000600037341M", "the check digits of this USCC are wrong"),
        ("HWUPKR0MPOU8FGXBT395", "the check digits of this LEI are wrong"),
        ("91110000600037341", "neither a USCC nor an LEI"),
        ("Bank A", "neither a USCC nor an LEI"),
        ("９１１１００００６０００３７３４１L", "neither a USCC nor an LEI"),
    ],
)
def test_a_holder_s_id_that_cannot_be_is_refused_by_name(services: Services, text: str, says: str) -> None:
    error = refused(services, holder_id=text)
    assert (error.reason, int(error.code)) == ("bad_holder_id", -32602)
    assert says in str(error)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"granted_from": "2026-02-01", "granted_to": "2026-01-31"}, "dates_backwards"),
        ({"valid_until_from": "2026-02-01T00:00:00Z", "valid_until_to": "2026-01-31"}, "dates_backwards"),
        ({"granted_from": "2026-02-30"}, "invalid_params"),
        ({"granted_to": "yesterday.."}, "invalid_params"),
        ({"at": "2099-01-01T00:00:00Z"}, "invalid_params"),
        ({"at": 10_000}, "not_found"),
        ({"at": "2001-01-01T00:00:00Z"}, "not_found"),
        ({"number": "ftp"}, "invalid_params"),
        ({"number": "FTP-2026-06-000001\n"}, "invalid_params"),
        ({"product": ""}, "invalid_params"),
        ({"product": "a\nb"}, "invalid_params"),
        ({"holder_name": "x" * 201}, "invalid_params"),
        ({"category": 100}, "invalid_params"),
        ({"status": "fine"}, "invalid_params"),
        ({"catalogue": 0}, "invalid_params"),
    ],
    ids=str,
)
def test_what_no_certificate_can_have_is_refused_by_name(
    services: Services, params: dict[str, Any], reason: str
) -> None:
    assert refused(services, **params).reason == reason


def test_a_height_that_the_index_has_not_reached_is_told_and_not_answered_with_what_is_missing() -> None:
    register = grown()
    register.commit(register.granted(START_MS))
    error = refused(services_over(register), at=len(register.kept) - 1)
    assert (error.reason, error.retryable) == ("index_behind", True)


def test_one_box_finds_certificates_by_their_holder_s_id(register: Register, services: Services) -> None:
    height = len(register.kept) - 1
    wanted = naive(register, Filters(holder_id="HWUPKR0MPOU8FGXBT394"), height, START_MS + height * BLOCK_MS)
    answer = ask(search, services, query=" hwupkr0mpou8fgxbt394 ")
    assert [hit.name for hit in answer.hits] == wanted[:HITS_MAX]
    assert {(hit.kind.value, hit.by) for hit in answer.hits} == {("certificate", "holder_id")}
    assert answer.more is (len(wanted) > HITS_MAX)
    assert ask(search, services, query="HWUPKR0MPOU8FGXBT395").hits == []
