"""The mark by RPC and on the explorer's page: its standing, its picture, and whether a scanned code matches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from chainnode.scanning import code_in
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.mark_bodies import Medium
from ledger.mark_codes import check_hash, parse_mark_code
from ledger.mark_records import MarkLicense
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import verify_status
from ledger.store import MemoryStore
from primitives.encoding import decode
from rpc.errors import RpcError
from rpc.explorer.asking import Asked, ask
from rpc.explorer.marks import USES_SHOWN, mark_as_png, mark_as_svg, mark_of
from rpc.methods import misuse
from rpc.methods.heights import index_of, tip_of
from rpc.methods.marks import get_mark, mark_events
from rpc.methods.misuse import get_misuse, list_misuse
from rpc.ports import Services
from tests.ledger.certificate_fixtures import NUMBER, suspend
from tests.ledger.mark_chain_fixtures import MarkChain
from tests.ledger.mark_fixtures import DECIDE, REPORT, USE, WITHDRAW, document
from tests.ledger.test_mark import use

HOST = "http://127.0.0.1:7401"


def services_of(chain: MarkChain) -> Services:
    """Return the services of a node that holds this chain."""
    unused: Any = None
    return Services(chain.reader, unused, unused, lambda: chain.now_ms)


def asked_of(chain: MarkChain, origin: str = HOST) -> Asked:
    """Return a request for the picture of the mark."""
    unused: Any = None
    return Asked(services_of(chain), {"number": NUMBER}, {}, unused, origin)


@pytest.fixture(scope="module")
def chain() -> MarkChain:
    found = MarkChain().licensed()
    found.act("bank-a", "first", USE)
    found.stable()
    return found


def test_a_mark_is_told_with_its_licence_its_uses_and_proofs_of_what_judges_it(chain: MarkChain) -> None:
    found = ask(get_mark, services_of(chain), number=NUMBER)
    assert (found.standing, found.mark_use, found.height) == ("licensed", "strict", chain.chain.height)
    assert found.license is not None
    assert found.license.media == ["product", "packaging", "manual", "app", "web"]
    assert [(item.medium, item.covers) for item in found.uses] == [("packaging", ["contact"])]
    assert found.mark == chain.code().mark
    assert found.proofs is not None
    verdict = verify_status(found.proofs.license, chain.policy())
    assert verdict.value is not None
    assert decode(MarkLicense, verdict.value, size_max=STATE_VALUE_SIZE_MAX).uses == 1
    assert verify_status(found.proofs.policy, chain.policy()).value is None


def test_at_an_earlier_height_the_mark_is_what_it_was_then(chain: MarkChain) -> None:
    before = ask(get_mark, services_of(chain), number=NUMBER, height=chain.chain.height - 2)
    assert (before.standing, before.license) == ("none", None)


def test_a_mark_of_no_certificate_is_not_found(chain: MarkChain) -> None:
    with pytest.raises(RpcError, match="no certificate"):
        ask(get_mark, services_of(chain), number="FTP-2026-06-000777")


def test_without_a_checkpoint_over_it_a_mark_has_no_proofs_yet() -> None:
    found = MarkChain().licensed()
    found.act("cb", "first", WITHDRAW)
    told = ask(get_mark, services_of(found), number=NUMBER)
    assert (told.standing, told.proofs) == ("withdrawn", None)


def test_reports_are_told_by_number_and_the_newest_without_one() -> None:
    found = MarkChain().licensed()
    assert ask(get_misuse, services_of(found)).misuse is None
    found.act("bank-b", "first", REPORT)
    found.act("regulator", "first", DECIDE)
    told = ask(get_misuse, services_of(found))
    assert told.misuse is not None
    assert told.misuse.decision is not None
    assert (told.count, told.misuse.report, told.misuse.decision.finding) == (1, 1, "confirmed")
    with pytest.raises(RpcError, match="no such report"):
        ask(get_misuse, services_of(found), report=2)


def indexed(chain: MarkChain) -> Services:
    """Return services over a chain and its index."""
    places = Index(MemoryStore())
    follower = IndexFollower(places, chain.reader)
    while follower.follow():
        pass
    return replace(services_of(chain), index=IndexReader(chain.reader, places))


def reported(count: int) -> MarkChain:
    """Return a chain with so many reports, of which every third is decided on."""
    found = MarkChain().licensed()
    for number in range(1, count + 1):
        found.act("bank-b", "first", structs.replace(REPORT, evidence=(document(f"{number}", "bank-b"),)))
        if number % 3 == 0:
            found.act("regulator", "first", structs.replace(DECIDE, report=number))
    return found


def test_reports_are_listed_by_pages_that_meet() -> None:
    services, seen, cursor = indexed(reported(8)), [], None
    while True:
        page = ask(list_misuse, services, state="undecided", limit=2, cursor=cursor)
        seen += [(item.report, item.state) for item in page.reports]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [(number, "undecided") for number in (8, 7, 5, 4, 2, 1)]
    both = ask(list_misuse, services, number=NUMBER, member="bank-a", state="confirmed", order="asc")
    assert [(item.report, item.state) for item in both.reports] == [(3, "confirmed"), (6, "confirmed")]
    assert both.as_of == tip_of(services).height
    assert ask(list_misuse, services, number="FTP-2026-06-000777").reports == []


def test_a_page_of_reports_looks_at_a_bounded_number_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    services = indexed(reported(8))
    monkeypatch.setattr(misuse, "LOOKED_THROUGH_MAX", 3)
    page = ask(list_misuse, services, order="asc")
    assert ([item.report for item in page.reports], page.cursor is None) == ([1, 2, 3], False)
    monkeypatch.setattr(misuse, "LOOKED_THROUGH_MAX", 8)
    page = ask(list_misuse, services, order="asc")
    assert ([item.report for item in page.reports][-1], page.cursor) == (8, None)


def test_a_page_of_undecided_reports_is_made_anew_when_the_index_went_on_meanwhile() -> None:
    services = indexed(reported(4))
    index = index_of(services)
    heights = [index.height() - 1, index.height(), index.height(), index.height()]

    class Moving:
        def height(self) -> int:
            return int(heights.pop(0))

        def __getattr__(self, name: str) -> Any:
            return getattr(index, name)

    moving: Any = Moving()
    page = ask(list_misuse, replace(services, index=moving), state="undecided")
    assert (page.as_of, [item.report for item in page.reports]) == (tip_of(services).height, [4, 2, 1])


def test_a_member_that_there_is_not_has_no_list_of_reports() -> None:
    with pytest.raises(RpcError, match=r"no such member: got nosuch; .*chainnode member list") as error:
        ask(list_misuse, indexed(reported(1)), member="nosuch")
    assert int(error.value.code) == -32001


def test_the_events_about_a_mark_are_listed_in_their_order_by_pages() -> None:
    services, seen, cursor = indexed(reported(3)), [], None
    while True:
        page = ask(mark_events, services, number=NUMBER, limit=2, cursor=cursor)
        seen += [event.kind for event in page.events]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ["mark.license", *["mark.report_misuse"] * 3, "mark.decide_misuse"]


# --- the page


@pytest.mark.parametrize(
    ("scanned", "said"),
    [
        (None, None),
        ("1.0000000000000000.00000000000000000000000000000000", "other_chain"),
        ("anything", "foreign_code"),
    ],
)
def test_a_page_says_what_the_code_is_by_which_its_reader_came(
    chain: MarkChain, scanned: str | None, said: str | None
) -> None:
    assert mark_of(services_of(chain), NUMBER, scanned).scanned == said


def test_a_page_tells_the_right_code_from_a_forged_one(chain: MarkChain) -> None:
    right = chain.code().mark
    assert mark_of(services_of(chain), NUMBER, right).scanned == "matches"
    assert mark_of(services_of(chain), NUMBER, right[:-2] + "00").scanned == "forged_mark"


def test_a_page_counts_the_uses_that_it_leaves_out() -> None:
    found = MarkChain().licensed()
    for number in range(USES_SHOWN + 2):
        found.act("bank-a", "first", use(str(number), Medium.APP))
    assert mark_of(services_of(found), NUMBER, None).more_uses == 2


def test_the_picture_leads_to_the_site_that_was_asked(chain: MarkChain) -> None:
    picture = mark_as_png(asked_of(chain))
    code = parse_mark_code(code_in(picture.data, "mark.png"))
    assert (code.base, code.number, picture.type) == (HOST, NUMBER, "image/png")
    check_hash(code, chain.chain_id, chain.certificate_at())
    assert mark_as_svg(asked_of(chain)).data.startswith(b"<svg ")


def test_a_mark_that_may_not_be_used_has_no_picture() -> None:
    found = MarkChain().licensed()
    found.act("cb", "first", suspend())
    assert not mark_of(services_of(found), NUMBER, None).licensed
    for make in (mark_as_svg, mark_as_png):
        with pytest.raises(RpcError, match="may not be used"):
            make(asked_of(found))


@pytest.mark.parametrize("origin", ["http://", "http://a b", 'http://x"><script>', f"http://{'a' * 300}"])
def test_a_host_that_is_none_is_drawn_into_no_picture(chain: MarkChain, origin: str) -> None:
    with pytest.raises(RpcError, match="not a site"):
        mark_as_svg(asked_of(chain, origin))
