"""The public list of certificates over HTTP: its three forms say the same, run nothing, and can be compared."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from ledger.certificate_reading import Found
from ledger.certificate_records import State, Status, status_at
from ledger.certificate_search import Filters
from ledger.times import format_time
from rpc import list_resources
from rpc.certificate_lists import BOM, COLUMNS, FORMULA_BEGINS, OF_THE_LIST, cell
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer, RpcSettings
from tests.ledger.certificate_list_fixtures import BLOCK_MS, Register, naive
from tests.ledger.chain_fixtures import START_MS
from tests.rpc.certificate_list_services import grown, services_over


@pytest.fixture(scope="module")
def register() -> Register:
    return grown()


@pytest.fixture
async def session(register: Register) -> AsyncIterator[aiohttp.ClientSession]:
    server = RpcServer(RpcSettings(port=0, explorer=False), services_over(register), METHODS)
    await server.start()
    async with aiohttp.ClientSession(server.address) as opened:
        yield opened
    await server.stop()


async def got(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, bytes, Any]:
    async with session.get(path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


class Cells(HTMLParser):
    """The cells of a page's table, row by row, and every element and attribute that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.names: set[str] = set()
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}
        if tag == "tr":
            self.rows.append([])
        self._open = tag in ("td", "th")
        if self._open:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


async def test_the_three_forms_hold_the_same_certificates_of_one_block(
    session: aiohttp.ClientSession, register: Register
) -> None:
    height = len(register.kept) - 1
    wanted = naive(register, Filters(), height, START_MS + height * BLOCK_MS)
    status, raw, headers = await got(session, "/certificates.csv")
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert raw.count(b"\r\n") == len(wanted) + 1
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert [row["number"] for row in rows] == wanted
    for row in rows:
        found = register.kept[height][row["number"]]
        worth = status_at(found.certificate, START_MS + height * BLOCK_MS)
        assert (row["status"], row["status_zh"]) == (worth.status.value, worth.status_zh)
        assert row["holder_name"] == cell(found.certificate.holder_name)
        assert row["holder_id"] == found.scheme.holder_id
        assert row["valid_until"] == format_time(found.certificate.valid_until_ms)
        assert (row["as_of"], row["chain_id"]) == (str(height), bytes(register.genesis.chain_id).hex())
    _, made, _ = await got(session, "/certificates.json")
    listed = json.loads(made)
    assert (listed["as_of"], listed["count"]) == (height, len(wanted))
    assert listed["csv_sha256"] == sha256(raw).hexdigest()
    of_each = [{name: cell(text) for name, text in item.items()} for item in listed["certificates"]]
    assert of_each == [{name: text for name, text in row.items() if name not in OF_THE_LIST} for row in rows]
    for language in ("en", "zh"):
        _, page, _ = await got(session, f"/certificates.html?lang={language}")
        cells = Cells()
        cells.feed(page.decode())
        assert [row[0] for row in cells.rows[1:]] == wanted
        assert cells.rows[1:] == [list(item.values()) for item in listed["certificates"]]
        assert listed["csv_sha256"] in page.decode()


async def test_filters_leave_out_what_does_not_fit_and_a_past_time_says_what_was(
    session: aiohttp.ClientSession, register: Register
) -> None:
    time_ms = START_MS + 25 * BLOCK_MS + 7
    wanted = naive(register, Filters(status=Status.SUSPENDED), 25, time_ms)
    assert wanted
    _, made, _ = await got(session, f"/certificates.json?status=suspended&at={format_time(time_ms)}")
    listed = json.loads(made)
    assert [item["number"] for item in listed["certificates"]] == wanted
    assert (listed["as_of"], listed["time"]) == (25, format_time(time_ms))
    _, made, _ = await got(session, "/certificates.json?category=6&at=25&product=ct-1")
    numbers = [item["number"] for item in json.loads(made)["certificates"]]
    assert numbers == naive(register, Filters(category=6, product="ct-1"), 25, START_MS + 25 * BLOCK_MS)


@pytest.mark.parametrize("begin", [*FORMULA_BEGINS, " =", "\n="])
def test_no_cell_of_csv_begins_as_a_formula(begin: str) -> None:
    assert cell(f"{begin}1+1|cmd")[0] == "'"
    assert cell(f"a{begin}") == f"a{begin}"


async def test_no_cell_of_the_list_begins_as_a_formula(session: aiohttp.ClientSession) -> None:
    _, raw, _ = await got(session, "/certificates.csv")
    texts = [text for row in csv.reader(io.StringIO(raw.decode(), newline="")) for text in row]
    assert any(text.startswith("'=") for text in texts)
    assert not [text for text in texts if text.startswith(FORMULA_BEGINS)]


async def test_nothing_of_a_certificate_becomes_part_of_the_page(session: aiohttp.ClientSession) -> None:
    _, page, headers = await got(session, "/certificates.html")
    cells = Cells()
    cells.feed(page.decode())
    assert any('<b>"Bank"</b>' in text for row in cells.rows for text in row)
    assert not cells.names & {"b", "script", "img", "a", "link", "form"}
    assert not [name for name in cells.names if re.search(r"\.(on|href|src|style)", name)]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_byte_order_mark_comes_where_it_is_asked_for_and_is_not_in_the_digest(
    session: aiohttp.ClientSession,
) -> None:
    _, plain, _ = await got(session, "/certificates.csv?at=20")
    _, marked, _ = await got(session, "/certificates.csv?at=20&bom=1")
    assert marked == BOM.encode() + plain
    assert not plain.startswith(BOM.encode())
    _, made, _ = await got(session, "/certificates.json?at=20")
    assert json.loads(made)["csv_sha256"] == sha256(plain).hexdigest()


async def test_a_reader_who_has_the_list_is_told_so_until_something_else_is_asked(
    session: aiohttp.ClientSession,
) -> None:
    _, _, headers = await got(session, "/certificates.csv?at=20")
    tag = headers["ETag"]
    status, body, again = await got(session, "/certificates.csv?at=20", **{"If-None-Match": tag})
    assert (status, body, again["ETag"]) == (304, b"", tag)
    for other in ("csv?at=21", "json?at=20", "csv?at=20&bom=1", "csv?at=20&category=6"):
        status, _, _ = await got(session, f"/certificates.{other}", **{"If-None-Match": tag})
        assert status == 200


async def test_a_list_keeps_its_tag_until_a_certificate_changes_or_a_term_begins_or_ends() -> None:
    register = grown()
    changed = len(register.kept)
    found = register.granted(START_MS)
    ends_ms = START_MS + changed * BLOCK_MS + 3 * BLOCK_MS // 2
    active = {"state": State.ACTIVE, "suspension": None, "revocation": None}
    ending = replace(found.certificate, valid_from_ms=START_MS, valid_until_ms=ends_ms, **active)
    register.commit(Found(ending, found.scheme))
    for _ in range(4):
        register.commit()
    register.follow()
    server = RpcServer(RpcSettings(port=0, explorer=False), services_over(register), METHODS)
    await server.start()
    async with aiohttp.ClientSession(server.address) as session:

        async def asked(at: str, tag: str = "") -> tuple[int, str, str, bytes]:
            status, body, headers = await got(session, f"/certificates.csv?at={at}", **{"If-None-Match": tag})
            return status, headers["ETag"], headers["As-Of-Block"], body

        _, tag, block, body = await asked(str(changed))
        assert (tag[:3], block) == ('W/"', str(changed))
        seen: dict[str, list[list[str]]] = {}
        for height in range(1, changed + 5):
            for late_ms in (0, BLOCK_MS // 2, BLOCK_MS - 1):
                at = format_time(START_MS + height * BLOCK_MS + late_ms)
                status, found, block, body = await asked(at)
                assert (status, block) == (200, str(height))
                rows = [
                    [cell for name, cell in row.items() if name not in OF_THE_LIST]
                    for row in csv.DictReader(io.StringIO(body.decode(), newline=""))
                ]
                assert seen.setdefault(found, rows) == rows, "one tag, one content"
                assert (await asked(at, found))[0] == 304
        assert len(seen) > 20
        later = str(changed + 4)
        status, again, block, body = await asked(later, (await asked(str(changed + 3)))[1])
        assert (status, block, body) == (304, later, b""), "blocks that change no certificate leave the list as it is"
        strong = again.removeprefix("W/")
        assert (await asked(later, f'"x", {strong}'))[0] == 304, "a proxy may have made it a strong one"
        register.commit(register.granted(START_MS))
        register.follow()
        assert (await asked(str(changed + 5), again))[0] == 200
    await server.stop()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("holder_id=91110000600037341M", "bad_holder_id"),
        ("granted_from=2026-02-01&granted_to=2026-01-01", "dates_backwards"),
        ("colour=red", "invalid_params"),
        ("category=6&category=7", "invalid_params"),
        ("limit=3", "invalid_params"),
        ("cursor=abc", "invalid_params"),
        ("lang=fr", "invalid_params"),
        ("bom=yes", "invalid_params"),
        ("category=x", "invalid_params"),
        ("category=100", "invalid_params"),
        ("status=fine", "invalid_params"),
        ("at=99999", "not_found"),
        ("holder=nosuch", "not_found"),
        ("at=" + "9" * 40, "bad_input"),
        ("product=" + "x" * 5_000, "query_too_long"),
    ],
)
async def test_what_no_list_can_be_of_is_refused_by_name(
    session: aiohttp.ClientSession, query: str, reason: str
) -> None:
    status, body, _ = await got(session, f"/certificates.json?{query}")
    assert status in (400, 404, 414)
    assert json.loads(body)["error"]["data"]["reason"] == reason


async def test_a_filter_that_cannot_be_is_told_in_words(session: aiohttp.ClientSession) -> None:
    _, body, _ = await got(session, "/certificates.json?category=x")
    assert json.loads(body)["error"]["message"] == "category: not a valid value: expected int | null, got str"
    _, body, _ = await got(session, "/certificates.json?status=fine")
    assert json.loads(body)["error"]["message"] == "status: not one of the possible values: got 'fine'"


async def test_only_so_many_lists_are_made_at_a_time(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_resources, "LISTS_AT_ONCE", 0)
    status, body, _ = await got(session, "/certificates.csv")
    assert (status, json.loads(body)["error"]["data"]["retryable"]) == (503, True)
    monkeypatch.setattr(list_resources, "LISTS_AT_ONCE", 1)
    for _ in range(3):  # each gives its place back
        assert (await got(session, "/certificates.csv"))[0] == 200


async def test_a_list_that_cannot_be_finished_is_cut_off_and_never_looks_whole(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from primitives.errors import StorageError

    def broken(*_: object, **__: object) -> Any:
        yield b"number\r\n"
        raise StorageError("row of the store damaged")

    monkeypatch.setattr(list_resources, "list_parts", broken)
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await asyncio.wait_for(got(session, "/certificates.csv"), 10)


async def test_the_head_of_a_list_comes_without_it(session: aiohttp.ClientSession) -> None:
    async with session.head("/certificates.csv") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["ETag"]


def test_every_column_has_a_name_in_both_languages() -> None:
    for names in COLUMNS.values():
        assert len(set(names)) == 2
        assert names[0].isascii()
