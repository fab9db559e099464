"""Every page of the explorer, read as HTML: what it shows, its landmarks, and that it says so in both languages."""

from __future__ import annotations

import itertools
import re

import pytest

from ledger.batches import check_event
from rpc.explorer.language import texts
from rpc.ports import SubmitStatus
from rpc.types import time_text
from tests.rpc.conftest import BANKS
from tests.rpc.explorer.conftest import BIC, HOSTILE, NUMBER, PAIR_KEY, REVOKED, UETR_TEXT, certify, say
from tests.rpc.explorer.html import Element, read_html

PATHS = ["/", "/blocks", "/block/1", "/block/latest", "/certificates", f"/certificate/{NUMBER}", "/payments"]
PATHS += [
    f"/payment/{UETR_TEXT}",
    f"/payment/{PAIR_KEY.hex()}",
    "/members",
    "/member/bank-a",
    "/checkpoints",
    "/search",
]
PATHS += ["/search?q=bank", "/verify", "EVENT"]
PATHS += ["/evidence"]
REFUSED = [
    "/block/999",
    "/block/x",
    "/nowhere",
    f"/event/{'ab' * 32}",
    "/event/xy",
    "/member/nobody",
    "/search?q=nothing",
]


def texts_of(elements: list[Element]) -> list[str]:
    return [element.text for element in elements]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PATHS + REFUSED)
async def test_a_page_is_whole_and_can_be_used_without_eyes_or_mouse(
    client, everything, path: str, language: str
) -> None:
    path = path.replace("EVENT", f"/event/{everything.events['grant'].hex()}")
    _, body, _ = await client.get(path, {"Accept": "text/html", "Accept-Language": language})
    assert_whole(read_html(body.decode()), language)


def assert_whole(page: Element, language: str) -> None:
    """Landmarks, headings in order, labelled fields and tables, and nothing named that is not there."""
    assert page.one("html").attributes["lang"] == {"en": "en", "zh": "zh-Hans"}[language]
    main = page.one("main")
    assert page.one("a", class_="skip").attributes["href"] == f"#{main.attributes['id']}"
    assert page.one("header", class_="top").one("form", role="search").one("input").attributes["name"] == "q"
    assert page.one("footer", class_="bottom")
    assert page.one("head").one("title").text.endswith(texts(language)["brand"])
    levels = [
        int(element.tag[1]) for element in page.where(lambda element: re.fullmatch("h[1-6]", element.tag) is not None)
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels)), levels
    ids = {element.attributes["id"] for element in page.where(lambda element: "id" in element.attributes)}
    for named in page.where(lambda element: "aria-labelledby" in element.attributes):
        assert named.attributes["aria-labelledby"] in ids
    labelled = {label.attributes["for"] for label in page.all("label")}
    for field in [*page.all("input"), *page.all("select")]:
        assert field.attributes["id"] in labelled
    for table in page.all("table"):
        assert table.one("caption").text
        assert all(cell.attributes.get("scope") in ("col", "row") for cell in table.all("th"))
    assert all(nav.attributes["aria-label"] for nav in page.all("nav"))
    assert all(link.attributes["href"] and link.text for link in page.all("a"))


async def test_the_overview_has_a_tile_for_each_validating_member(browse, everything) -> None:
    page = await browse("/")
    tiles = page.one("ul", class_="tiles").all("li", class_="tile")
    assert [tile.one("h3").one("a").text for tile in tiles] == list(BANKS)
    mine = tiles[0]
    assert "leader" in texts_of(mine.all("span", class_="chip"))
    height = everything.node.chain.height
    values = dict(zip(texts_of(mine.all("dt")), texts_of(mine.all("dd")), strict=True))
    assert values["Height"] == str(height)
    assert values["Behind this node"] == "0 blocks"
    assert values["Last vote in a certificate"].startswith(f"{height} ,")
    assert values["Votes counted"] == f"in {height} of the last {height} blocks"
    behind = dict(zip(texts_of(tiles[1].all("dt")), texts_of(tiles[1].all("dd")), strict=True))
    assert behind["Behind this node"] == f"{height} blocks"
    assert "… behind" in texts_of(tiles[1].all("span", class_="chip"))
    never = dict(zip(texts_of(tiles[3].all("dt")), texts_of(tiles[3].all("dd")), strict=True))
    assert never["Last vote in a certificate"] == "none in the newest blocks"  # three sign in this test's chain
    figures = dict(
        zip(
            texts_of(page.one("dl", class_="figures").all("dt")),
            page.one("dl", class_="figures").all("dd"),
            strict=True,
        )
    )
    assert figures["Events in all"].text == "17"
    rate, latency = (figure.one("svg", role="img").all("rect") for figure in page.all("figure"))
    assert len(rate) >= 1
    assert latency == []  # this process submitted nothing
    assert page.one("span", class_="as-of").one("a").attributes["href"] == f"/block/{height}"


async def test_the_live_part_of_the_overview_is_what_the_page_has(client, browse, everything) -> None:
    page = await browse("/")
    live = page.one("div", id="live")
    _, body, _ = await client.get(live.attributes["data-refresh-url"], {"Accept": "text/html"})
    part = read_html(body.decode())
    assert part.text == live.text
    assert part.all("html") == []


async def test_recorded_evidence_is_a_banner_on_the_first_page(browse, everything, accused) -> None:
    page = await browse("/")
    banner = page.one("section", role="alert")
    assert banner.one("h2").text == "⚠ Proven contradictions on the chain: 1"
    assert "node-bank-b" in banner.text
    link = banner.all("a")[-1].attributes["href"]
    assert (await browse(link)).one("h1").text.startswith("Two votes that contradict each other")


async def test_evidence_puts_both_statements_side_by_side(browse, everything, accused) -> None:
    page = await browse("/evidence")
    row = page.one("section", class_="banner") if page.all("section", class_="banner") else page.one("tbody")
    assert "node-bank-b" in row.text
    page = await browse(page.one("tbody").all("a")[0].attributes["href"])
    assert_whole(page, "en")
    both = page.one("table", class_="sides").one("tbody").all("tr")
    assert {line.one("th").text: line.attributes.get("class") for line in both} == {
        "Hash of the block ≠ different": "differs",
        "Signature": None,
    }
    assert [cell.text for cell in both[0].all("td")] == ["0a" * 32, "0b" * 32]
    assert page.one("section", class_="proof").attributes["data-kind"] == "receipt"
    await browse("/evidence/xy", 400)
    await browse(f"/evidence/{everything.events['grant'].hex()}", 404)


async def test_without_evidence_there_is_no_alarm(browse, everything) -> None:
    page = await browse("/")
    assert page.all("section", role="alert") == []


async def test_blocks_are_listed_by_pages_that_meet(browse, everything) -> None:
    node = everything.node
    node.commit_events(1)
    for number in range(20):
        node.commit_events(1, first=100 + number)
    seen, path = [], "/blocks"
    while path:
        page = await browse(path)
        seen += [int(row.all("td")[0].text) for row in page.one("tbody").all("tr")]
        more = page.all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    assert seen == list(range(node.chain.height, -1, -1))


async def test_a_block_names_its_signers_and_its_neighbours(browse, everything) -> None:
    page = await browse("/block/3")
    assert page.one("h1").text == "Block 3"
    signers = page.one("section", aria_labelledby="certificate").one("tbody").all("tr")
    assert [row.all("td")[0].text for row in signers] == ["node-bank-a", "node-bank-b", "node-bank-c"]
    assert page.one("a", rel="prev").attributes["href"] == "/block/2"
    assert page.one("a", rel="next").attributes["href"] == "/block/4"
    by_hash = await browse(f"/block/{everything.node.reader.block(3).hash.hex()}")
    assert by_hash.one("main").text == page.one("main").text
    genesis = await browse("/block/0")
    assert "The genesis block has none" in genesis.text
    assert genesis.all("a", rel="prev") == []


async def test_a_rejection_says_times_as_times_and_beside_them_what_is_recorded(browse, node) -> None:
    until_ms = node.now + 10_000 * 86_400_000
    said = {"number": NUMBER, "reason": "late", "until": time_text(until_ms)}
    certify(node, NUMBER, "bank-a.0001")
    rejected = say(node, "cb", "decider", "certificate.suspend", said)
    rule = (await browse(f"/event/{rejected.hex()}")).one("section", aria_labelledby="rule")
    assert f"got {time_text(until_ms)}" in rule.all("p")[0].text
    recorded = rule.one("span", data_claim="receipt.detail")
    assert f"got {until_ms}" in recorded.text
    assert recorded.text == recorded.attributes["data-value"]


async def test_the_events_of_a_block_are_paged(browse, node) -> None:
    node.commit_events(60)
    seen, path = [], "/block/1"
    while path:
        page = await browse(path)
        rows = page.one("section", aria_labelledby="events").one("tbody").all("tr")
        seen += [row.all("a")[0].attributes["href"] for row in rows]
        more = page.one("section", aria_labelledby="events").all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    assert seen == [f"/event/{view.id.hex()}" for view in node.reader.block_events(1)]


async def test_an_event_shows_body_outcome_place_bytes_and_how_to_believe_it(browse, everything) -> None:
    event_id = everything.events["rejected"].hex()
    view = everything.node.reader.event(everything.events["rejected"])
    page = await browse(f"/event/{event_id}")
    assert page.one("h1").text == "Certificate revoked ✕ rejected"
    assert page.one("section", aria_labelledby="rule").one("code").text == view.outcome.rule
    assert page.one("section", aria_labelledby="body").one("a").attributes["href"] == f"/certificate/{REVOKED}"
    dump = page.one("section", aria_labelledby="place").one("pre").raw_text
    shown = b"".join(bytes.fromhex(line[8:55]) for line in dump.splitlines())
    assert shown == view.leaf
    proof = page.one("section", class_="proof")
    assert proof.attributes["data-proof-url"] == f"/events/{event_id}.tlog-proof"
    assert proof.attributes["data-kind"] == "receipt"
    assert [step.attributes["data-step"] for step in proof.all("li")] == [
        *("policy", "proof", "checkpoint", "log signature", "cosignatures", "event", "header", "outcome", "batch"),
        "source signature",
    ]
    assert f"chainnode prove {event_id}" in proof.one("pre").text


async def test_an_event_that_waits_or_was_refused_says_so(browse, node) -> None:
    node.auto_commit = False
    data = node.event(7)
    node.waiting.append(data)
    event_id = check_event(data)[1]
    assert (await browse(f"/event/{event_id.hex()}")).one("h1").text == "Not in a block yet"
    refused = check_event(node.event(8))[1]
    node.known[refused] = SubmitStatus.REFUSED
    page = await browse(f"/event/{refused.hex()}")
    assert page.one("h1").text == "Refused here"
    assert "The same event will not pass." in page.text
    assert (await browse(f"/event/{'ab' * 32}", 404)).one("h1").text == "Not found"


async def test_certificates_are_filtered_by_status_holder_and_category(browse, everything) -> None:
    async def numbers(query: str) -> list[str]:
        page = await browse(f"/certificates{query}")
        return [row.all("a")[0].text for body in page.all("tbody") for row in body.all("tr")]

    assert await numbers("") == [NUMBER, REVOKED]
    assert await numbers("?status=valid") == [NUMBER]
    assert await numbers("?status=revoked") == [REVOKED]
    assert await numbers("?category=9") == [REVOKED]
    assert await numbers("?category=6&status=revoked") == []
    assert await numbers("?holder=bank-a") == [NUMBER, REVOKED]
    assert await numbers("?holder=bank-b") == []
    chosen = (await browse("/certificates?status=revoked")).one("select", id="status")
    assert [option.attributes["value"] for option in chosen.all("option") if "selected" in option.attributes] == [
        "revoked"
    ]
    assert (await browse("/certificates?status=sold", 400)).one("h1").text == "This cannot be asked so"
    await browse("/certificates?category=x", 400)


async def test_a_certificate_shows_status_record_life_and_evidence(browse, everything) -> None:
    page = await browse(f"/certificate/{REVOKED}")
    assert page.one("h1").text == f"{REVOKED} ✕ revoked"
    life = page.one("ol", class_="timeline").all("li")
    assert [item.one("h3").one("a").text for item in life] == [
        *("Application for a certificate", "Application accepted", "Type examination", "Site check", "Review"),
        *("Certificate granted", "Certificate revoked", "Certificate revoked"),
    ]
    assert [item.attributes.get("class") for item in life][-2:] == [None, "rejected"]
    assert len(page.one("section", aria_labelledby="evidence").one("tbody").all("tr")) == 5
    kinds = [section.attributes["data-kind"] for section in page.all("section", class_="proof")]
    assert kinds == ["status", "history"]
    spans = texts_of(page.one("ol", class_="spans").all("li"))
    assert [span.split()[1] for span in spans] == ["application", "valid", "revoked"]
    assert spans[-1].endswith("–")
    assert page.one("section", aria_labelledby="record").all("a")[0].attributes["href"] == "/member/bank-a"


async def test_a_certificate_is_shown_as_of_a_time_or_height(browse, everything) -> None:
    header = everything.node.reader.header(12)
    page = await browse(f"/certificate/{REVOKED}?at=12")
    assert page.one("h1").text == f"{REVOKED} ✓ valid"
    assert header is not None
    before = await browse(f"/certificate/{REVOKED}?at=2026-01-01T00:00:00Z")
    assert before.one("h1").text == f"{REVOKED} – did not exist"
    assert (await browse(f"/certificate/{REVOKED}?at=1999-01-01T00:00:00Z", 404)).one("h1").text == "Not found"
    await browse(f"/certificate/{REVOKED}?at=yesterday", 400)


async def test_a_payment_puts_both_sides_beside_each_other(browse, everything) -> None:
    page = await browse(f"/payment/{UETR_TEXT}")
    table = page.one("table", class_="sides")
    assert texts_of(table.one("thead").all("th")) == [
        *("Field", "debtor’s bank bank-a", "creditor’s bank bank-b", "intermediary bank-c"),
    ]
    rows = {row.one("th").text: row for row in table.one("tbody").all("tr")}
    assert texts_of(rows["Currency ✓ the same"].all("td")) == ["CNY"] * 3
    assert texts_of(rows["Amount ≠ different"].all("td")) == ["123.46", "123.47", "123.48"]
    assert texts_of(rows["Amount ≠ different"].all("mark")) == ["123.47", "123.48"]
    assert rows["Amount by token ≠ different"].attributes["class"] == "differs"
    assert len(rows["Amount by token ≠ different"].all("mark")) == 1
    assert texts_of(rows["Status"].all("td")) == ["accepted", "settled", "received"]
    assert "They differ in 2 of the fields" in page.one("section", aria_labelledby="sides").text
    hops = page.one("ol", class_="hops").all("li")
    assert [hop.one("strong").text for hop in hops] == ["Debtor’s bank"]
    assert hops[0].all("a")[0].attributes["href"] == f"/search?q={BIC}"
    assert len(page.one("ol", class_="timeline").all("li")) == 3
    assert f"/payment/{PAIR_KEY.hex()}" in [link.attributes["href"] for link in page.all("a")]
    assert "Reconciled by this node’s index" in page.text
    by_key = await browse(f"/payment/{PAIR_KEY.hex()}")
    assert by_key.one("ol", class_="timeline").text == page.one("ol", class_="timeline").text


async def test_payments_of_one_member_are_listed_newest_first(browse, everything) -> None:
    page = await browse("/payments")
    assert [row.all("td")[1].text for row in page.one("tbody").all("tr")] == ["bank-c", "bank-b", "bank-a"]
    page = await browse("/payments?member=bank-b")
    assert [row.all("td")[1].text for row in page.one("tbody").all("tr")] == ["bank-b"]
    page = await browse("/payments?order=asc")
    assert [row.all("td")[1].text for row in page.one("tbody").all("tr")] == ["bank-a", "bank-b", "bank-c"]


async def test_members_and_a_member_show_keys_roles_codes_and_what_it_submitted(browse, everything) -> None:
    page = await browse("/members")
    assert len(page.one("tbody").all("tr")) == 7
    page = await browse("/member/cb")
    kinds = [row.all("a")[0].text for row in page.one("section", aria_labelledby="events").one("tbody").all("tr")]
    assert kinds[:3] == ["Certificate revoked", "Certificate revoked", "Certificate granted"]
    assert len(kinds) == 8
    page = await browse("/member/bank-a")
    assert page.one("h1").text == " ".join(HOSTILE.split())
    assert BIC in page.one("section", aria_labelledby="record").text
    assert page.one("section", class_="proof").attributes["data-kind"] == "completeness"
    assert len(page.one("section", aria_labelledby="sources").one("tbody").all("tr")) == 2


async def test_a_members_events_are_paged_to_the_first(browse, node) -> None:
    for first in (0, 40, 80):
        node.commit_events(40, first=first)
    seen, path = [], "/member/bank-a"
    while path:
        page = await browse(path)
        section = page.one("section", aria_labelledby="events")
        seen += [row.all("a")[0].attributes["href"] for row in section.one("tbody").all("tr")]
        more = section.all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    expected = [
        f"/event/{view.id.hex()}" for height in (3, 2, 1) for view in reversed(node.reader.block_events(height))
    ]
    assert seen == expected


async def test_checkpoints_name_who_signed_and_can_be_downloaded(client, browse, everything) -> None:
    note = everything.node.checkpoint_at(5)
    page = await browse("/checkpoints?size=5")
    cards = page.one("ol", class_="checkpoints").all("li", class_="card")
    assert [card.attributes["data-size"] for card in cards] == [str(everything.node.chain.log_size), "5"]
    assert "marked" in cards[1].attributes["class"]
    lines = texts_of(cards[1].one("ul", class_="items").all("li"))
    assert lines[0] == "as the log: node-bank-a"
    assert [line.split(",")[0] for line in lines[1:]] == [f"cosigned: node-{bank}" for bank in BANKS[:3]]
    assert cards[1].one("pre").raw_text == note
    status, body, headers = await client.get(cards[1].all("a")[-1].attributes["href"])
    assert (status, body.decode()) == (200, note)
    assert headers["Content-Disposition"] == 'attachment; filename="checkpoint-5.note"'


async def test_a_checkpoint_leads_to_the_proof_that_it_extends_the_one_before(browse, everything) -> None:
    everything.node.checkpoint_at(5)
    everything.node.checkpoint_at(9)
    page = await browse("/checkpoints")
    growth = page.one("section", aria_labelledby="growth")
    assert [cell.attributes["data-value"] for cell in growth.all("td")][:2] == ["5", "9"]
    assert len(growth.one("svg").all("rect")) == 3
    links = [link.attributes["href"] for link in page.all("a") if "consistency" in link.attributes["href"]]
    assert links[-1] == "/consistency?old=5&new=9"
    page = await browse(links[-1])
    assert_whole(page, "en")
    proof = everything.node.reader.consistency(5, 9)
    path = page.one("section", aria_labelledby="path").one("ol").all("li")
    assert texts_of(path) == [item.hex() for item in proof.path]
    assert page.one("p", role="status").attributes["data-new"] == "9"
    unsigned = await browse("/consistency?old=4&new=9")
    assert unsigned.all("p", role="status") == []
    assert "No signed note of this size is kept here" in unsigned.text
    for wrong in ("", "?old=9&new=5", "?old=x&new=9", "?old=1&new=999999"):
        await browse(f"/consistency{wrong}", 400)


async def test_the_page_that_verifies_has_places_for_the_script_and_the_command(browse, everything) -> None:
    page = await browse("/verify")
    places = page.where(lambda element: "data-place" in element.attributes)
    assert [place.attributes["data-place"] for place in places] == ["files", "trust", "compare"]
    assert "chainnode verify" in page.one("pre").text


async def test_a_node_that_is_not_ready_says_so_on_the_first_page(browse, node) -> None:
    node.is_ready = False
    page = await browse("/")
    assert "This node is catching up: 12 blocks behind" in page.one("section", aria_labelledby="warnings").text


async def test_an_empty_chain_has_pages_too(browse, node) -> None:
    for path in ("/", "/blocks", "/certificates", "/payments", "/members", "/member/bank-a", "/checkpoints"):
        await browse(path)
