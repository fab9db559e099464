"""One box: any reference leads to its page, several to a list, and what is not there says so."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.rpc.explorer.conftest import BIC, NUMBER, PAIR_KEY, REVOKED, UETR_TEXT


async def led_to(client, query: str) -> str | None:
    url = f"{client.url}/search?q={quote(query, safe='')}"
    async with client.session.get(url, headers={"Accept": "text/html"}, allow_redirects=False) as response:
        return response.headers.get("Location")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        (NUMBER, f"/certificate/{NUMBER}"),
        (f" {NUMBER.lower()} ", f"/certificate/{NUMBER}"),
        (NUMBER[:-3], f"/certificate/{NUMBER}"),
        ("FTP-2026-09", f"/certificate/{REVOKED}"),
        ("FTP-2026-0", None),
        ("ftp", None),
        (UETR_TEXT, f"/payment/{UETR_TEXT}"),
        (UETR_TEXT.upper().replace("-", ""), f"/payment/{UETR_TEXT}"),
        (PAIR_KEY.hex(), f"/payment/{PAIR_KEY.hex()}"),
        ("bank-b", "/member/bank-b"),
        ("node-bank-b", "/member/bank-b"),
        (BIC, "/member/bank-a"),
        (BIC.lower(), "/member/bank-a"),
        ("cb", "/member/cb"),
        ("4", "/block/4"),
    ],
)
async def test_a_reference_leads_to_its_page(client, everything, query: str, path: str | None) -> None:
    assert await led_to(client, query) == path


async def test_an_event_is_found_by_its_id_and_by_how_it_begins(client, everything) -> None:
    for event_id in everything.events.values():
        for digits in (64, 40, 13):
            assert await led_to(client, event_id.hex()[:digits]) == f"/event/{event_id.hex()}"
    assert await led_to(client, f"0x{event_id.hex().upper()}") == f"/event/{event_id.hex()}"


async def test_a_block_is_found_by_its_hash_and_a_checkpoint_by_its_size(client, browse, everything) -> None:
    block = everything.node.reader.block(2)
    assert await led_to(client, block.hash.hex()) == f"/block/{block.hash.hex()}"
    size = everything.node.chain.log_size
    assert await led_to(client, f"{size}") == f"/checkpoints?size={size}#size-{size}"


async def test_what_means_several_things_is_listed_with_how_it_was_found(browse, everything) -> None:
    everything.node.checkpoint_at(5)
    page = await browse("/search?q=5")
    hits = page.one("ul", class_="hits").all("li")
    assert [(hit.one("span", class_="chip").text, hit.one("small").text) for hit in hits] == [
        ("Block", "by its height"),
        ("Checkpoint", "by the size of the log"),
    ]
    page = await browse("/search?q=ftp")
    assert [hit.one("a").text for hit in page.one("ul", class_="hits").all("li")] == [NUMBER, REVOKED]


@pytest.mark.parametrize(
    "query", ["nothing", "FTP-2026-06-999999", "ab" * 32, "abcd" * 3, "99999", "00000000-0000-4000-8000-000000000000"]
)
async def test_what_is_not_there_is_said_with_the_query_in_the_box(browse, everything, query: str) -> None:
    page = await browse(f"/search?q={query}", 404)
    assert page.one("input", name="q").attributes["value"] == query
    assert query in page.one("p", class_="lead").text


async def test_many_hits_are_cut_and_said_to_be(browse, node, monkeypatch) -> None:
    page = await browse("/search?q=bank-")
    assert len(page.one("ul", class_="hits").all("li")) == 4
    assert "There are more" not in page.text
    monkeypatch.setattr("rpc.methods.search.HITS_MAX", 3)
    page = await browse("/search?q=bank-")
    assert len(page.one("ul", class_="hits").all("li")) == 3
    assert "There are more" in page.text
