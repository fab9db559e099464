"""One call of every method, with which the examples of the OpenRPC document are made; and making them.

They are answers of `RichNode`, the same in every run. `python scripts/make_api_examples.py` writes them down.
"""

from __future__ import annotations

import asyncio
from typing import Any

from primitives.encoding import encode
from rpc.methods.catalogue import METHODS
from rpc.types import base64_text
from tests.rpc.conftest import START_MS, key_of, statement
from tests.rpc.rich_fixtures import OTHER_UETR, SNAPSHOT, Asked, RichNode, number_of, services_of

WITHOUT = {
    "cert_getRegister": "registers came with rules that the chain of the examples does not have",
    "rpc.discover": "its example would be the document that it stands in",
}
EVENT = {
    "kind": "certificate.accept",
    "body": {"application": "bank-a.0001"},
    "reference": "00112233445566778899aabbccddeeff",
    "expires": "2026-01-01T01:00:00Z",
}


def calls_of(node: RichNode, asked: Asked) -> dict[str, dict[str, Any]]:
    """Return the parameters of each call; those that write come last."""
    event_id = node.ids[0].hex()
    node.member, node.key_use = "bank-a", "source"
    batch = node.batch([node.event(9_000, body=encode(statement(9_000)), expires_ms=START_MS + 3_600_000)])
    return {
        "admin_archive": {"older_than_days": 365},
        "admin_createSnapshot": {},
        "admin_getSnapshot": {},
        "admin_readSnapshot": {"name": SNAPSHOT},
        "audit_completeness": {"member": "bank-b", "from": 20},
        "audit_search": {"query": number_of(1)},
        "cert_checkNumbers": {"numbers": [number_of(1), "FTP-2026-06-999999"]},
        "cert_deadlines": {"within_days": 1_200, "limit": 2},
        "cert_get": {"number": number_of(1)},
        "cert_getApplication": {"application": "bank-a.0001"},
        "cert_getMark": {"number": number_of(4)},
        "cert_getMisuse": {},
        "cert_getStatus": {"number": number_of(1), "at": 20},
        "cert_history": {"number": number_of(1), "limit": 1},
        "cert_historyProof": {"number": number_of(4)},
        "cert_getInspection": {"draw": "cb.0001"},
        "cert_inspectionCandidates": {"draw": "cb.0001", "limit": 2},
        "cert_inspections": {"limit": 1},
        "cert_listMisuse": {"state": "undecided", "limit": 1},
        "cert_markEvents": {"number": number_of(1), "limit": 1},
        "cert_list": {"holder": "bank-a", "limit": 1, "number": "FTP-2026", "product": "ct-1"},
        "gov_checkAction": {"action": {"type": "activate_rules", "version": 2, "height": 1_000}},
        "gov_getAccreditationProof": {"member": "lab", "role": "laboratory"},
        "gov_getPolicy": {},
        "gov_listAccreditations": {"member": "lab", "limit": 1},
        "gov_getProposal": {"id": asked.call("gov_listProposals")["proposals"][0]["id"]},
        "gov_listMembers": {"limit": 1},
        "gov_listProposals": {"limit": 1},
        "ledger_getArchive": {},
        "ledger_getBlock": {"height": 7},
        "ledger_getBlockEvents": {"height": 8, "limit": 1},
        "ledger_getBlocks": {"limit": 1},
        "ledger_getCapabilities": {},
        "ledger_getCheckpoint": {},
        "ledger_getCheckpoints": {"limit": 1},
        "ledger_getConsistency": {"old_size": 20},
        "ledger_getEvent": {"event_id": event_id},
        "ledger_getMemberEvents": {"member": "bank-b", "limit": 1},
        "ledger_getProof": {"event_id": event_id},
        "ledger_getSource": {"source": key_of("bank-a", "source").public.hex()},
        "ledger_getStatus": {"event_id": event_id},
        "net_evidence": {"limit": 1},
        "net_evidenceProof": {"event_id": asked.call("net_evidence")["evidence"][0]["event_id"]},
        "net_expiry": {"limit": 2},
        "net_peers": {},
        "net_status": {},
        "net_validators": {},
        "payment_affectedBy": {"certificate": number_of(1), "limit": 1},
        "payment_get": {"uetr": OTHER_UETR, "limit": 1},
        "payment_list": {"limit": 1},
        "payment_disclosures": {"reporter": "bank-b", "answered": False, "limit": 1},
        "payment_pairingKeys": {"limit": 2},
        "voucher_get": {"wallet": asked.call("wallet_list")["wallets"][0]["wallet"], "counter": 0},
        "wallet_get": {"wallet": asked.call("wallet_list")["wallets"][0]["wallet"]},
        "wallet_list": {"limit": 1},
        "payment_listReconciliation": {"limit": 1},
        "payment_listTotals": {"member": "bank-a", "limit": 1},
        "payment_totals": {
            "member": "bank-a",
            "counterparty": "bank-b",
            "currency": "CNY",
            "limit": 1,
            "day": asked.call("payment_listTotals", {"member": "bank-a"})["totals"][0]["day"],
        },
        "payment_reconciliation": {"uetr": OTHER_UETR},
        "payment_trace": {"uetr": OTHER_UETR, "limit": 1},
        "ledger_subscribe": {"topic": "events", "member": "bank-a", "from_height": 40},
        "ledger_unsubscribe": {"subscription": "1"},
        "admin_createToken": {"name": "auditors-desk", "role": "auditor", "member": "bank-b"},
        "admin_listTokens": {},
        "admin_revokeToken": {"name": "desk"},
        "ledger_submitBatch": {"batch": base64_text(batch)},
        "ledger_submit": {"events": [EVENT]},
    }


def made_examples(runner: asyncio.Runner) -> dict[str, Any]:
    """Return parameters and result of one call of each method, by its name."""
    node = RichNode()
    asked = Asked(services_of(node), runner)
    calls = calls_of(node, asked)
    missing = METHODS.keys() - calls.keys() - WITHOUT.keys()
    assert not missing, f"name a call of {', '.join(sorted(missing))} in {__name__}"
    made = {name: {"params": params, "result": asked.call(name, params)} for name, params in calls.items()}
    return dict(sorted(made.items()))
