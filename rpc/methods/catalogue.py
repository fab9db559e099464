"""The whole API: every method of every module, `rpc.discover`, and the OpenRPC document made from them."""

from __future__ import annotations

from functools import cache
from typing import Any

from rpc import openrpc
from rpc.methods import (
    accreditation_proofs,
    archive,
    audit,
    blocks,
    capabilities,
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
from rpc.ports import Services
from rpc.registry import AnyMethod, method, table
from rpc.rights import Access
from rpc.types import NoParams


@method("rpc.discover", params=NoParams, result=dict[str, Any], access=Access.PUBLIC)
def discover(services: Services, params: NoParams) -> dict[str, Any]:
    """The OpenRPC document that describes all of this API."""
    del params
    return document(services.node.version().version)


METHODS: dict[str, AnyMethod] = table(
    blocks.METHODS,
    events.METHODS,
    proofs.METHODS,
    audit.METHODS,
    search.METHODS,
    submit.METHODS,
    capabilities.METHODS,
    certificates.METHODS,
    certificate_list.METHODS,
    certificate_status.METHODS,
    certificate_history.METHODS,
    marks.METHODS,
    misuse.METHODS,
    certificate_scheme.METHODS,
    registers.METHODS,
    deadlines.METHODS,
    inspections.METHODS,
    payments.METHODS,
    payment_views.METHODS,
    reconciliation.METHODS,
    totals.METHODS,
    payment_certificates.METHODS,
    payment_pairing.METHODS,
    wallets.METHODS,
    payment_disclosures.METHODS,
    gov.METHODS,
    gov_accreditations.METHODS,
    accreditation_proofs.METHODS,
    gov_check.METHODS,
    gov_policy.METHODS,
    expiry.METHODS,
    net.METHODS,
    evidence.METHODS,
    archive.METHODS,
    snapshots.METHODS,
    tokens.METHODS,
    subscribe.METHODS,
    (discover,),
)


@cache
def document(version: str) -> dict[str, Any]:
    """Return the OpenRPC document of a node of this version."""
    return openrpc.document(METHODS.values(), version)
