"""What the pages show is what browsers find proved, each value of it, whatever it is; and no other value passes for it.

The pages come from a node with hostile texts in every field. Their marks are read as the browser reads them, the
proofs are verified by the scripts in Node, and then each value that is marked is changed: in its mark, in its text, and
left out.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from msgspec.structs import replace

from ledger.payments import Side, Status
from rpc.explorer.rendering import visible as visible_to_readers
from rpc.explorer.statics import statics
from tests.rpc.explorer.conftest import NUMBER, PAIR_KEY, REVOKED, UETR_TEXT, paid, pay
from tests.rpc.explorer.html import Element, read_html
from tests.web.test_pages import run_node

SYMBOLS = re.compile(r"[✓✕‖◷–≠?\s]*")
PATHS = {
    "event": "/event/{grant}",
    "rejected event": "/event/{rejected}",
    "payment statement": "/event/{creditor}",
    "certificate": f"/certificate/{NUMBER}",
    "revoked certificate": f"/certificate/{REVOKED}",
    "certificate before it was granted": f"/certificate/{NUMBER}?at=1",
    "certificate then": f"/certificate/{NUMBER}?at=3",
    "payment by its UETR": f"/payment/{UETR_TEXT}",
    "payment by its pair key": f"/payment/{PAIR_KEY.hex()}",
    "block": "/block/3",
    "first block": "/block/0",
    "newest block": "/block/latest",
    "member": "/member/bank-a",
    "member without events": "/member/bank-d",
}


def visible(element: Element) -> str:
    """Return an element's text as the scripts read it."""
    parts = []
    for child in element.children:
        if isinstance(child, str):
            parts.append(child)
        elif child.attributes.get("aria-hidden") != "true" or not SYMBOLS.fullmatch(child.raw_text):
            parts.append(visible(child))
    return "".join(parts)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def claims(root: Element, kind: str, row: str = "") -> list[dict[str, str]]:
    """Return what a page marks of a kind of proof, in its order."""
    found = []
    for child in (item for item in root.children if isinstance(item, Element)):
        if "data-unproved" in child.attributes:
            continue
        place = child.attributes.get("data-row", row)
        name = child.attributes.get("data-claim", "")
        if name.startswith(f"{kind}."):
            text = squeezed(visible(child))
            field = name.removeprefix(f"{kind}.")
            name = f"row.{place}.{field}" if place else field
            found.append({"name": name, "value": child.attributes.get("data-value", text), "text": text})
        found += claims(child, kind, place)
    return found


def list_of(page: Element, kind: str) -> dict[str, Any] | None:
    marked = page.where(lambda element: element.attributes.get("data-rows") == kind)
    if not marked:
        return None
    places = [element.attributes["data-row"] for element in marked[0].where(lambda each: "data-row" in each.attributes)]
    return {"places": places, "first": True, "last": True}


async def given_of(client: Any, page: Element, path: str, language: str) -> list[dict[str, Any]]:
    """Return what a browser has to judge a page by, for each of its proofs."""
    words = statics().get(f"words/{language}.json")
    assert words is not None
    policy = (await client.get("/policy"))[1].decode()
    as_of = [element.one("a").text.replace(",", "") for element in page.all("span", class_="as-of")]
    found = []
    for section in page.all("section", class_="proof"):
        kind = section.attributes["data-kind"]
        name, query = unquote(urlsplit(path).path.split("/")[2]), parse_qs(urlsplit(path).query)
        given: dict[str, Any] = {"kind": kind, "subject": name, "policy": policy}
        if kind == "block":
            asked = {"height": "latest" if name == "latest" else int(name)}
            given["block"] = await client.call("ledger_getBlock", asked)
            given["subject"] = str(given["block"]["header"]["height"])
            given["next"] = await client.call("ledger_getBlock", {"height": 1})
        elif kind == "payment":
            rows = page.where(lambda element: "data-event" in element.attributes)
            given["receipts"] = [
                {
                    "place": row.attributes["data-row"],
                    "id": row.attributes["data-event"],
                    "proof": (await client.get(f"/events/{row.attributes['data-event']}.tlog-proof"))[1].decode(),
                }
                for row in rows
            ]
        else:
            status, proof, _ = await client.get(section.attributes["data-proof-url"])
            assert status == 200, proof
            given["proof"] = proof.decode()
        assert "at" not in query or kind in ("status", "history")
        given["page"] = {
            "claims": claims(page, kind),
            "list": list_of(page, kind),
            "asOf": as_of[0] if as_of else None,
            "words": json.loads(words[0].body),
        }
        found.append(given)
    return found


def test_the_scripts_write_out_the_characters_that_pages_write_out() -> None:
    read = """
    import './hooks.mjs';
    const { writtenOut } = await import('../../../rpc/explorer/static/js/honest.mjs');
    const found = [];
    for (let each = 0; each < 0x110000; each++) {
      if (writtenOut(String.fromCodePoint(each)).length > 2) found.push(writtenOut(String.fromCodePoint(each)));
    }
    console.log(JSON.stringify(found));
    """
    expected = [visible_to_readers(chr(each)) for each in range(0x110000)]
    found = json.loads(run_node("--input-type=module", "-", text=read))
    assert found == [text for text in expected if len(str(text)) > 1]


def flipped(data: str) -> str:
    """Return hex with its 30th bit from the end turned."""
    return f"{int(data, 16) ^ 1 << 30:0{len(data)}x}"


def lies_about_a_block(block: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a node may say of a block that is not so."""
    certificate = block["certificate"]
    first, *others = certificate["signatures"]
    told = {
        "another vote": {**certificate, "signatures": [{**first, "signature": flipped(first["signature"])}, *others]},
        "too few votes": {**certificate, "signatures": [first, *others][:2]},
        "one vote thrice": {**certificate, "signatures": [first] * 3},
        "another view": {**certificate, "view": 1},
        "another block": {**certificate, "block_hash": flipped(certificate["block_hash"])},
        "no votes": None,
    }
    leaf = base64.b64decode(block["header_leaf"])
    other = base64.b64encode(leaf[:-1] + bytes([leaf[-1] ^ 1])).decode()
    return {
        **{name: {**block, "certificate": each} for name, each in told.items()},
        "another header": {**block, "header_leaf": other},
        "another batch": {**block, "batch_hashes": [flipped(block["hash"])]},
        "one batch more": {**block, "batch_hashes": [*block["batch_hashes"], flipped(block["hash"])]},
    }


async def test_a_block_without_a_quorum_s_votes_for_it_is_refused(client, everything) -> None:
    _, body, _ = await client.get("/block/3", {"Accept": "text/html"})
    (given,) = await given_of(client, read_html(body.decode()), "/block/3", "en")
    lies = lies_about_a_block(given["block"])
    judged = json.loads(run_node("judging.mjs", text=json.dumps([{**given, "block": lie} for lie in lies.values()])))
    assert [name for name, each in zip(lies, judged, strict=True) if each["holds"]] == []
    assert {each["failed"][0]["name"] for each in judged} == {"header", "votes"}
    asked_for_another = json.loads(run_node("judging.mjs", text=json.dumps([{**given, "subject": "4"}])))
    assert [step["name"] for step in asked_for_another[0]["failed"]] == ["asked"]


async def test_a_payment_whose_receipts_do_not_hold_or_are_of_another_payment_is_refused(client, everything) -> None:
    path = f"/payment/{UETR_TEXT}"
    _, body, _ = await client.get(path, {"Accept": "text/html"})
    (given,) = await given_of(client, read_html(body.decode()), path, "en")
    first, *others = given["receipts"]
    lies = [
        {**given, "receipts": [{**first, "proof": first["proof"][: len(first["proof"]) // 2]}, *others]},
        {**given, "receipts": [{**first, "proof": others[0]["proof"]}, *others]},
        {**given, "receipts": []},
        {**given, "subject": UETR_TEXT.replace("eb63", "eb64")},
    ]
    judged = json.loads(run_node("judging.mjs", text=json.dumps(lies)))
    assert [[step["name"] for step in each["failed"]] for each in judged] == [
        ["receipts"],
        ["receipts"],
        ["receipts"],
        ["asked"],
    ]


async def test_each_hop_of_a_payment_is_compared_for_itself_by_page_and_browser(client, everything) -> None:
    uetr = "2f7b9d0e-3c1a-4e5f-8a6b-7c8d9e0f1a2b"
    hops = (("bank-a", Side.DEBTOR, b"1"), ("bank-b", Side.INTERMEDIARY, b"1"), ("bank-b", Side.INTERMEDIARY, b"2"))
    for member, side, hop in (*hops, ("bank-c", Side.CREDITOR, b"2")):
        body = paid(4, side, Status.ACCEPTED, hop * 16)
        pay(everything.node, member, replace(body, uetr=bytes.fromhex(uetr.replace("-", "")), pair_key=hop * 32))
    everything.node.checkpoint()
    path = f"/payment/{uetr}"
    page = read_html((await client.get(path, {"Accept": "text/html"}))[1].decode())
    marked = {item["name"]: item["value"] for item in claims(page, "payment")}
    assert (marked["together"], marked["agree.tokens.amount"]) == ("same", "same")
    assert [marked[f"sides.{place}.member"] for place in range(4)] == ["bank-a", "bank-b", "bank-b", "bank-c"]
    (judged,) = json.loads(run_node("judging.mjs", text=json.dumps(await given_of(client, page, path, "en"))))
    assert judged["failed"] == []
    assert judged["unnoticed"] == []


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_pages_show_what_browsers_find_proved_and_each_other_value_is_a_lie(
    client, everything, language: str
) -> None:
    events = {name: event.hex() for name, event in everything.events.items()}
    given, names = [], []
    for name, path in PATHS.items():
        address = path.format(**events)
        _, body, _ = await client.get(address, {"Accept": "text/html", "Accept-Language": language})
        found = await given_of(client, read_html(body.decode()), address, language)
        assert found, name
        given += found
        names += [f"{name}, {each['kind']}" for each in found]
    judged = json.loads(run_node("judging.mjs", text=json.dumps(given)))
    assert {name: each["failed"] for name, each in zip(names, judged, strict=True) if each["failed"]} == {}
    assert sum(each["lies"] for each in judged) > 500
    assert {(name, lie) for name, each in zip(names, judged, strict=True) for lie in each["unnoticed"]} == set()
