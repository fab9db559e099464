"""Pages of governance, evidence, ends, rules and what a node keeps: what they show, and hostile texts in all of it."""

from __future__ import annotations

import itertools
from dataclasses import replace as replaced
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.catalogue import CATALOGUE_2
from ledger.governance_bodies import (
    AddCatalogue,
    AddMember,
    ChangePolicy,
    ExcludeMember,
    Figure,
    RemoveValidator,
    Withdraw,
)
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from primitives.ids import Hash
from rpc.explorer.asking import Asked
from rpc.explorer.keeping import archive, held
from rpc.explorer.language import texts
from rpc.methods.gov import ProposalResult, proposals_under_way
from rpc.ports import ArchivedSegment, ArchiveStatus, Ending, NodeStatus, PeerStatus, Services, Version
from tests.ledger.governance_fixtures import Founded, genesis_of
from tests.rpc.explorer.conftest import HOSTILE
from tests.rpc.explorer.html import Element
from tests.rpc.explorer.test_hostile import assert_harmless
from tests.rpc.explorer.test_pages import assert_whole

TURNED = "Ban\u202eknab\u202c A\u200b"
DAY_MS = 86_400_000
BANKS = 7
PAGES = [
    "/proposals",
    "/proposal/OPEN",
    "/proposal/ENDED",
    "/rules",
    "/expiry",
    "/archive",
    "/evidence",
    "/event/OPEN",
]


@pytest.fixture(scope="module")
def council() -> Founded:
    """The chain that all tests here look at: `decided` fills it."""
    return Founded(BANKS, outsiders=2, rules=(1, 2))


@pytest.fixture
def archived() -> ArchiveStatus:
    segment = ArchivedSegment(1, 3, "ab" * 32, 3, 9, 900, 500, 1_767_225_600_000, HOSTILE)
    return ArchiveStatus(3, 0, 7, 5, False, "", 0, 0, HOSTILE, None, [segment], 6)


@pytest.fixture
def services(council: Founded, archived: ArchiveStatus) -> Services:
    """A node of the council that sees all others but one up, and what ends of theirs."""

    def status() -> NodeStatus:
        return NodeStatus("", "node-0", "bank-0", "validator", council.chain.height, 0, 0, "node-1", 3, False, "1")

    def peers() -> list[PeerStatus]:
        height = council.chain.height
        return [PeerStatus(f"node-{i}", f"bank-{i}", "", i != 3, height, votes=True) for i in range(1, BANKS)]

    def endings() -> list[Ending]:
        days = {"node-1": 3, "node-2": 20, "node-0": -1, "node-3": 170}
        return [
            Ending("node_certificate", name, "bank-1", council.now_ms + n * DAY_MS, HOSTILE) for name, n in days.items()
        ]

    node: Any = SimpleNamespace(
        status=status, peers=peers, endings=endings, ready=lambda: (True, []), version=lambda: Version("1", 1, "s", "3")
    )
    archive: Any = SimpleNamespace(status=lambda: archived)
    unused: Any = None
    reads = LedgerReader(council.store, council.genesis)
    return Services(reads, unused, node, lambda: council.now_ms, archive=archive)


@pytest.fixture(scope="module")
def decided(council: Founded) -> dict[str, Hash]:
    """Proposals at each stage, by its name."""
    made = {"enacted": council.propose(ChangePolicy((Figure("certificate_suspension_days_max", 90),), 0))}
    council.vote(made["enacted"], 0, 1, 2, 3, 4)
    made["withdrawn"] = council.propose(ExcludeMember("bank-8"), "bank-1")
    assert council.say("bank-1", Withdraw(made["withdrawn"])).applied
    made["expired"] = council.propose(ExcludeMember("bank-7"), "bank-2", term_ms=15)
    council.block()
    council.block()
    entry = replace(genesis_of(10, 4).members[9], name=HOSTILE + TURNED, ca_certificate="")
    made["open"] = council.propose(AddMember(entry), "bank-3")
    council.vote(made["open"], 0)
    council.vote(made["open"], 1, approve=False)
    made["catalogue"] = council.propose(
        AddCatalogue(3, council.now_ms + DAY_MS, HOSTILE, CATALOGUE_2.categories), "bank-2"
    )
    made["planned"] = council.propose(
        ChangePolicy((Figure("appeal_window_days", 7),), council.chain.height + 99), "bank-4"
    )
    council.vote(made["planned"], 0, 1, 2, 3, 4)
    made["set"] = council.propose(RemoveValidator("node-6", True))
    return made


def named(path: str, decided: dict[str, Hash]) -> str:
    return path.replace("OPEN", decided["open"].hex()).replace("ENDED", decided["expired"].hex())


def rows(page: Element, section: str) -> list[list[str]]:
    body = page.one("section", aria_labelledby=section).one("tbody")
    return [[cell.text for cell in row if cell.tag in ("td", "th")] for row in body.all("tr")]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_whole_and_harmless_in_both_languages(browse, decided: dict[str, Hash], path: str) -> None:
    for language in ("en", "zh"):
        page = await browse(named(path, decided), Accept_Language=language)
        assert_whole(page, language)
        assert_harmless(page)


async def test_proposals_under_way_and_those_that_ended_are_listed_apart(browse, decided: dict[str, Hash]) -> None:
    page = await browse("/proposals")
    assert [row[:4] for row in rows(page, "waiting")] == [
        ["Admit a member bank-9", "◷ open", "bank-3", "1 of 5 needed, 1 against"],
        ["A new version of the catalogue 3", "◷ open", "bank-2", "0 of 4 needed"],
        ["Remove a validator node-6", "◷ open", "bank-0", "0 of 5 needed"],
    ]
    ended = {row[1].split()[-1]: row[0] for row in rows(page, "ended")}
    assert ended == {
        "expired": "Exclude a member bank-7",
        "withdrawn": "Exclude a member bank-8",
        "enacted": "Other figures of the policy",
    }
    for stage in ("enacted", "withdrawn", "expired"):
        one = await browse(f"/proposal/{decided[stage].hex()}")
        assert stage in one.one("h1").text
        assert one.all("section", aria_labelledby="consequences") == []


async def test_many_proposals_to_suspend_wallets_hide_no_other(
    browse, monkeypatch: pytest.MonkeyPatch, decided: dict[str, Hash]
) -> None:
    assert decided

    def many(services: Services) -> list[ProposalResult]:
        found = proposals_under_way(services)
        suspension = {"type": "suspend_wallet", "wallet": "ab" * 32}
        return [replace(found[0], action=suspension)] * 120 + found

    monkeypatch.setattr("rpc.explorer.proposals.proposals_under_way", many)
    listed = [row[0] for row in rows(await browse("/proposals"), "waiting")]
    assert len(listed) == 123
    assert listed[0].startswith("A wallet is suspended for good abab")
    assert listed[-1] == "Remove a validator node-6"


async def test_a_proposal_shows_each_vote_and_what_it_would_do_now(browse, decided: dict[str, Hash]) -> None:
    page = await browse(f"/proposal/{decided['open'].hex()}")
    votes = [item.text for item in page.one("ul", class_="votes").all("li")]
    assert votes == [
        "bank-0 ✓ approves",
        "bank-1 ✕ rejects",
        *(f"bank-{i} ○ has not voted" for i in range(2, BANKS)),
    ]
    assert page.one("section", aria_labelledby="consequences").all("ins")[0].text.startswith("</script><script>")
    page = await browse(f"/proposal/{decided['set'].hex()}")
    dry = page.one("section", aria_labelledby="consequences")
    assert [[cell.text for cell in row if cell.tag in ("td", "th")] for row in dry.all("tbody")[0].all("tr")] == [
        ["Now", "7", "2", "5"],
        ["After it", "6", "1", "4"],
    ]
    assert "Fewer faults borne" in dry.text
    assert "✓ yes 5 of 6 are up, 4 decide." in dry.text
    assert dry.all("ul")[1].text == "node-3: not linked"
    assert [item.text.split(",")[0] for item in dry.all("ul")[-1].all("li")] == [
        "✕ ended Node’s certificate node-0",
        "! urgent Node’s certificate node-1",
        "! soon Node’s certificate node-2",
    ]
    await browse("/proposal/xy", 400)
    await browse(f"/proposal/{'00' * 32}", 404)


async def test_what_waits_for_votes_stands_on_the_first_page_and_is_led_to_by_its_event(
    browse, decided: dict[str, Hash]
) -> None:
    page = await browse("/")
    waiting = page.one("section", aria_labelledby="waiting").all("li")
    assert [item.text for item in waiting][:1] == ["Admit a member ( bank-3 ): 1 of 5 needed"]
    assert_harmless(page)
    event = await browse(f"/event/{decided['open'].hex()}")
    assert f"/proposal/{decided['open'].hex()}" in [link.attributes["href"] for link in event.one("main").all("a")]


async def test_a_vote_links_to_what_it_is_on(browse, council: Founded, decided: dict[str, Hash]) -> None:
    reader = LedgerReader(council.store, council.genesis)
    said = [view for height in range(council.chain.height) for view in reader.block_events(height)]
    vote = [view for view in said if KINDS[view.event.kind].name == "governance.vote"][-1]
    page = await browse(f"/event/{vote.id.hex()}")
    links = [link.attributes["href"] for link in page.one("section", aria_labelledby="body").all("a")]
    assert f"/proposal/{decided['planned'].hex()}" in links


async def test_rules_show_figures_shares_and_the_catalogue_in_force(browse, decided: dict[str, Hash]) -> None:
    page = await browse("/rules")
    figures = {row[0].split(" ")[-1]: row[1:] for row in rows(page, "figures")}
    assert figures["appeal_window_days"] == ["60 → 7", "0 – 1,000"]
    assert figures["block_events_max"][0] == "16,384"
    shares = {row[0]: row[1:] for row in rows(page, "thresholds")}
    assert shares["Remove a source"] == ["more than two thirds", "5", "more than a third"]
    versions = [heading.text for heading in page.one("section", aria_labelledby="catalogue").all("h3")]
    assert versions == ["Version 2 ✓ in force", "Version 1"]


async def test_what_ends_is_counted_by_spans_and_listed_first_to_end_first(browse, council: Founded) -> None:
    page = await browse("/expiry?days=30")
    figures = {item.one("dt").text: item.one("dd").text for item in page.one("dl", class_="figures").all("div")}
    assert figures == {
        "Ended, still in use": "1",
        "Within 30 days": "2",
        "Within 90 days": "2",
        "Within 180 days": "3",
    }
    listed = [row[:2] for row in rows(page, "ends")]
    assert [row[0].split()[-1] for row in listed] == ["node-0", "node-1", "node-2"]
    assert [row[1] for row in listed] == ["✕ ended 1 days ago", "! urgent 3 days", "! soon 20 days"]
    weeks = page.one("section", aria_labelledby="weeks")
    bars = [int(bar.one("title").text.split()[-1]) for bar in weeks.one("svg", role="img").all("rect")]
    assert [week for week, count in enumerate(bars) if count] == [0, 2, 24]
    for refused in ("days=31", "days=x", "after=-1"):
        await browse(f"/expiry?{refused}", 400)


async def test_ends_are_paged(browse, services: Services, council: Founded, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Ending("root_ca", f"bank-{i:03d}", "bank-1", council.now_ms + i * 1_000, "chain") for i in range(60)]
    monkeypatch.setattr(services.node, "endings", lambda: many)
    seen, path = [], "/expiry"
    while path:
        page = await browse(path)
        seen += [row[0].split()[-1] for row in rows(page, "ends")]
        more = page.all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    assert seen == [item.name for item in many]


async def test_what_a_node_keeps_is_shown_with_its_archive(browse, council: Founded, decided: dict[str, Hash]) -> None:
    page = await browse("/archive")
    parts = [item.text for item in page.one("figure", class_="held").all("li")]
    assert parts == ["Blocks 0 to 3: bodies in the archive", f"Blocks 4 to {council.chain.height}: whole, in the store"]
    assert rows(page, "archive")[0][:2] == ["1 – 3", "9"]


def test_the_parts_of_a_chain_meet() -> None:
    for base, archived, height in itertools.product((0, 4), (0, 3, 6), (1, 10)):
        parts = held(min(base, height), min(archived, height), height)
        assert parts[0]["first"] == 0
        assert parts[-1]["last"] == height
        assert all(one["last"] == other["first"] for one, other in itertools.pairwise(parts))


async def test_a_node_without_an_archive_says_so(council: Founded, services: Services) -> None:
    asked = Asked(replaced(services, archive=None), {}, {}, lambda function: function())
    assert archive(asked).values["archive"] is None


async def test_characters_that_nobody_sees_are_written_out(browse, decided: dict[str, Hash]) -> None:
    page = await browse(f"/proposal/{decided['open'].hex()}")
    assert "Ban⟨U+202E⟩knab⟨U+202C⟩ A⟨U+200B⟩" in page.one("section", aria_labelledby="action").text
    assert not set(page.raw_text) & set("\u202e\u202c\u200b")
    assert texts("zh")["stage.open"] in (await browse("/proposals?lang=zh")).text
