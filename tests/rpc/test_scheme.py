"""What the certification scheme keeps beside applications and certificates, by a chain of the third rules."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from chainnode.decisions import Prepared, Upon
from chainnode.identity import KeyFile, new_key
from ledger.accreditations import USUAL_STANDARD, AccreditedRole
from ledger.event_json import record_to_json
from ledger.genesis import GenesisAccreditation
from ledger.members import Officer
from ledger.rules import RULES_SCHEME
from tests.rpc.conftest import START_MS, Client, MemoryNode, genesis_of_four_banks, key_of
from tests.rpc.explorer.html import read_html
from tests.rpc.explorer.test_shown import given_of
from tests.rpc.test_records import APPLICATION, NUMBER, evidence, life, submit
from tests.web.test_pages import run_node

__all__ = ["submit"]

LEI = "300300BANKA000DEMO03"
SCOPE = ["contact", "<b>contactless</b>"]
Submit = Callable[..., Awaitable[dict[str, Any]]]


def officer(number: int) -> KeyFile:
    return new_key("officer", member="cb", role="certification", seed=bytes([number + 1]) * 32)


def accredited(member: str, role: AccreditedRole) -> GenesisAccreditation:
    return GenesisAccreditation(member, role, (6,), START_MS, START_MS + 86_400_000, USUAL_STANDARD[role])


@pytest.fixture
def node() -> MemoryNode:
    genesis = genesis_of_four_banks()
    officers = tuple(Officer(officer(number).source, "certification") for number in range(2))
    members = tuple(replace(each, officers=officers) if each.id == "cb" else each for each in genesis.members)
    terms = (accredited("lab", AccreditedRole.LABORATORY), accredited("ins", AccreditedRole.INSPECTOR))
    return MemoryNode(replace(genesis, members=members, rules=RULES_SCHEME, accreditations=terms))


async def decided(client: Client, token: str, node: MemoryNode, kind: str, body: dict[str, Any], made: Any) -> Any:
    """Let two officers sign a decision upon what made a case, and submit it as its decider; return the outcome."""
    upon = Upon(made["count"], made["hash"])
    prepared = Prepared(node.chain.chain_id.hex(), "cb", kind, body, upon)
    signed = record_to_json(prepared.signed(officer(0)).signed(officer(1)).event())
    node.member, node.key_use = "cb", "decider"
    row = {"kind": kind, "schema": 2, "body": signed}
    return (await client.call("ledger_submit", {"events": [row]}, token=token))["events"][0]["outcome"]


@pytest.fixture
async def granted(client: Client, token: str, node: MemoryNode, submit: Submit) -> None:  # a fixture
    first, *road, grant = life()
    node.member, node.key_use = first[0], first[1]
    row = {"kind": first[2], "schema": 2, "body": first[3] | {"holder_id": LEI, "scope": SCOPE}}
    (applied,) = (await client.call("ledger_submit", {"events": [row]}, token=token))["events"]
    assert applied["outcome"]["applied"], applied
    for step in road:
        assert (await submit(*step))["outcome"]["applied"], step
    found = (await client.call("cert_getApplication", [APPLICATION]))["application"]
    assert (found["state"], found["scope"], found["holder_id"], found["number"]) == ("reviewed", SCOPE, LEI, None)
    assert len(found["evidence"]) == 5
    assert (await decided(client, token, node, grant[2], grant[3], found["history"]))["applied"]


async def test_an_application_is_told_with_its_scope_as_of_any_height(client: Client, granted: None) -> None:
    answer = await client.call("cert_getApplication", {"application": APPLICATION})
    assert (answer["application"]["state"], answer["application"]["number"]) == ("granted", NUMBER)
    assert answer["height"] == answer["as_of"] == 6
    before = (await client.call("cert_getApplication", [APPLICATION, 2]))["application"]
    assert (before["state"], before["body"], before["history"]["count"]) == ("accepted", "cb", 2)
    for missing in ([APPLICATION, 0], ["bank-a.9999"]):
        assert (await client.error("cert_getApplication", missing))["code"] == -32001
    assert (await client.error("cert_getApplication", ["no application"]))["code"] == -32602


async def test_a_certificate_is_told_with_what_stands_beside_it(
    client: Client,
    token: str,
    node: MemoryNode,
    submit: Submit,  # a fixture
    granted: None,
) -> None:
    beside = (await client.call("cert_get", [NUMBER]))["scheme"]
    assert (beside["holder_id"], beside["scope"], beside["issues"]) == (LEI, SCOPE, 1)
    assert beside["decider"] == key_of("cb", "decider").public.hex()
    assert beside["reviewer"] == key_of("cb", "source").public.hex()
    assert (beside["surveillance"], beside["decision"], beside["evidence"]) == (None, None, [])
    visit = {"passed": False, "grave": True, "findings": ["seal_broken"], "correct_by": None}
    event = await submit(
        "ins",
        "source",
        "certificate.surveil",
        {"number": NUMBER, **visit, "evidence": [evidence("site_check", "ins") | {"digest": "ab" * 32}]},
    )
    assert event["outcome"]["applied"], event
    answer = await client.call("cert_get", [NUMBER])
    seen, decision = answer["scheme"]["surveillance"], answer["scheme"]["decision"]
    assert {name: seen[name] for name in visit} == visit
    assert (seen["event_id"], seen["member"]) == (event["id"], "ins")
    assert (answer["status"]["status"], decision["what"], decision["before"]) == ("suspended", "suspension", "active")
    assert (decision["event_id"], decision["appealed"]) == (event["id"], None)
    assert [item["kind"] for item in answer["scheme"]["evidence"]] == ["site_check"]
    revocation = {"number": NUMBER, "reason": "seal_broken", "invalid_from": None}
    rulings = answer["scheme"]["rulings"]
    assert (beside["rulings"]["count"], rulings["count"]) == (1, 2), "the grant, then the suspension by rule"
    assert beside["officers"] == [beside["reviewer"], beside["decider"]]
    assert answer["scheme"]["officers"] == [*beside["officers"], key_of("ins", "source").public.hex()]
    assert (await decided(client, token, node, "certificate.revoke", revocation, rulings))["applied"]
    again = await decided(client, token, node, "certificate.revoke", revocation, rulings)
    assert again["rule"] == "wrong_state"


async def test_a_decision_without_its_officers_is_refused_by_name(
    client: Client,
    token: str,
    node: MemoryNode,
    submit: Submit,  # a fixture
    granted: None,
) -> None:
    revocation = {"number": NUMBER, "reason": "seal_broken", "invalid_from": None}
    alone = await submit("cb", "decider", "certificate.revoke", revocation)
    assert alone["outcome"]["rule"] == "four_eyes_needed"
    stale = {"count": 1, "hash": "00" * 32}
    assert (await decided(client, token, node, "certificate.revoke", revocation, stale))["rule"] == "bad_approval"


async def test_the_page_of_a_certificate_shows_its_scope_as_text(client: Client, granted: None) -> None:
    status, body, _ = await client.get(f"/certificate/{NUMBER}", {"Accept": "text/html"})
    page = body.decode()
    assert status == 200
    assert LEI in page
    assert "&lt;b&gt;contactless&lt;/b&gt;" in page
    assert "<b>contactless" not in page
    assert 'data-claim="history.body.scope.1" data-value="&lt;b&gt;contactless&lt;/b&gt;"' in page


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_pages_of_the_scheme_show_what_browsers_find_proved_and_each_other_value_is_a_lie(
    client: Client,
    node: MemoryNode,
    submit: Submit,  # a fixture
    granted: None,
    language: str,
) -> None:
    visit = {"number": NUMBER, "passed": False, "grave": True, "findings": ["seal_broken"], "correct_by": None}
    filed = evidence("site_check", "ins") | {"digest": "ab" * 32}
    event = await submit("ins", "source", "certificate.surveil", visit | {"evidence": [filed]})
    node.checkpoint()
    events = (await client.call("cert_history", [NUMBER]))["events"]
    shown = (events[0]["id"], events[5]["id"], event["id"])
    paths = [f"/certificate/{NUMBER}", *(f"/event/{each}" for each in shown)]
    given = []
    for path in paths:
        _, body, _ = await client.get(path, {"Accept": "text/html", "Accept-Language": language})
        given += await given_of(client, read_html(body.decode()), path, language)
    judged = json.loads(run_node("judging.mjs", text=json.dumps(given)))
    assert [each["failed"] for each in judged] == [[]] * 5
    assert [each["unnoticed"] for each in judged] == [[]] * 5
    marks = {claim["name"] for each in given for claim in each["page"]["claims"]}
    assert {"body.approvals.1.signature", "body.scope.1", "body.findings.0"} <= marks
