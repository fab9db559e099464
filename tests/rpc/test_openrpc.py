"""The OpenRPC document: complete, well formed, and true of what the node answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from rpc.errors import Code
from rpc.methods import (
    accreditation_proofs,
    archive,
    audit,
    blocks,
    capabilities,
    catalogue,
    certificate_history,
    certificate_list,
    certificate_scheme,
    certificate_status,
    certificates,
    deadlines,
    events,
    evidence,
    expiry,
    gov,
    gov_accreditations,
    gov_check,
    gov_policy,
    inspections,
    marks,
    misuse,
    net,
    payment_certificates,
    payment_disclosures,
    payment_pairing,
    payment_views,
    payments,
    proofs,
    reconciliation,
    registers,
    search,
    snapshots,
    submit,
    subscribe,
    tokens,
    totals,
    wallets,
)
from rpc.methods.catalogue import METHODS, document
from rpc.registry import Method

MODULES = (
    accreditation_proofs,
    archive,
    audit,
    blocks,
    capabilities,
    catalogue,
    certificate_history,
    certificate_list,
    certificate_scheme,
    certificate_status,
    certificates,
    deadlines,
    events,
    gov,
    gov_accreditations,
    gov_check,
    gov_policy,
    marks,
    misuse,
    inspections,
    evidence,
    expiry,
    net,
    payment_certificates,
    payment_disclosures,
    payment_pairing,
    payment_views,
    payments,
    proofs,
    reconciliation,
    registers,
    search,
    snapshots,
    submit,
    tokens,
    subscribe,
    totals,
    wallets,
)
NEEDED = {
    "ledger_submit",
    "ledger_submitBatch",
    "ledger_getSource",
    "ledger_getStatus",
    "ledger_getEvent",
    "ledger_getBlock",
    "ledger_getBlocks",
    "ledger_getCheckpoint",
    "ledger_getProof",
    "ledger_getConsistency",
    "ledger_getCapabilities",
    "cert_get",
    "cert_getStatus",
    "cert_list",
    "cert_history",
    "cert_historyProof",
    "payment_get",
    "payment_list",
    "payment_trace",
    "payment_reconciliation",
    "payment_listReconciliation",
    "payment_totals",
    "payment_listTotals",
    "payment_affectedBy",
    "payment_pairingKeys",
    "wallet_get",
    "wallet_list",
    "voucher_get",
    "payment_disclosures",
    "audit_completeness",
    "net_status",
    "net_peers",
    "net_validators",
    "net_evidence",
    "net_evidenceProof",
    "audit_search",
    "ledger_getCheckpoints",
    "ledger_getMemberEvents",
    "ledger_subscribe",
    "ledger_unsubscribe",
    "rpc.discover",
}


def walk(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return json.loads(msgspec.json.encode(document("0.1.0")))


def test_every_method_of_every_module_is_listed_once(described) -> None:
    defined = {item.name for module in MODULES for item in vars(module).values() if isinstance(item, Method)}
    assert defined == set(METHODS)
    assert [item["name"] for item in described["methods"]] == sorted(METHODS)


def test_the_methods_that_others_rely_on_are_there() -> None:
    assert set(METHODS) >= NEEDED


def test_the_document_has_the_shape_of_openrpc(described) -> None:
    assert re.fullmatch(r"1\.\d+\.\d+", described["openrpc"])
    assert {"title", "version"} <= described["info"].keys()
    for item in described["methods"]:
        assert item["summary"]
        assert item["paramStructure"] == "either"
        assert {"name", "schema"} <= item["result"].keys()
        names = [param["name"] for param in item["params"]]
        assert len(set(names)) == len(names)
        required = [param["required"] for param in item["params"]]
        assert required == sorted(required, reverse=True), "required parameters come first"
        for param in item["params"]:
            assert {"name", "schema"} <= param.keys()


def test_every_reference_of_the_document_leads_somewhere(described) -> None:
    references = [item["$ref"] for item in walk(described) if isinstance(item, dict) and "$ref" in item]
    assert references
    for reference in references:
        place: Any = described
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_patterns_are_those_that_json_schema_knows(described) -> None:
    patterns = [item["pattern"] for item in walk(described) if isinstance(item, dict) and "pattern" in item]
    assert patterns
    for pattern in patterns:
        assert isinstance(pattern, str)
        assert pattern.startswith("^")
        assert "\\A" not in pattern
        assert "\\Z" not in pattern


def test_every_code_of_the_api_is_described(described) -> None:
    assert {item["code"] for item in described["components"]["errors"].values()} == {int(code) for code in Code}


def test_results_name_the_height_that_they_speak_for(described) -> None:
    schemas = described["components"]["schemas"]
    for item in described["methods"]:
        if item["name"] == "rpc.discover":
            continue
        properties = schemas[item["result"]["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
        assert "as_of" in properties, item["name"]


async def test_the_document_is_given_by_method_and_by_path(client, described) -> None:
    assert await client.call("rpc.discover") == described
    status, body, headers = await client.get("/openrpc.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == described


async def test_results_decode_as_the_types_that_the_document_is_made_from(client, node) -> None:
    ids = node.commit_events(3)
    node.checkpoint()
    calls: dict[str, object] = {
        "ledger_getBlock": [],
        "ledger_getBlocks": [],
        "ledger_getBlockEvents": [1],
        "ledger_getEvent": [ids[0].hex()],
        "ledger_getStatus": [ids[0].hex()],
        "ledger_getCheckpoint": [],
        "ledger_getConsistency": [1],
        "ledger_getCapabilities": [],
        "net_status": [],
        "net_peers": [],
        "net_validators": [],
        "net_evidence": [],
    }
    for name, params in calls.items():
        result = await client.call(name, params)
        assert json.loads(msgspec.json.encode(msgspec.convert(result, METHODS[name].result))) == result
