"""A certificate as a W3C Verifiable Credential, and the Bitstring Status Lists that say what became of it since.

Source: W3C Verifiable Credentials Data Model 2.0, Bitstring Status List 1.0. Pure: the ledger's records in, JSON out.
Not here: signatures (`chainnode.interop.jose`).

A credential's place in the lists is that of its grant or import among all that were applied of its certification body,
in the order of the log from 0 on: whoever reads the log finds the same, and a place once given never changes.
"""

from __future__ import annotations

import enum
import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chainnode.interop.jose import base64url
from ledger.certificate_records import Certificate, Status
from ledger.times import format_time

CONTEXT = "https://www.w3.org/ns/credentials/v2"
WORDS = {"@vocab": "https://www.w3.org/ns/credentials/undefined-term#"}
"""What the W3C gives to terms that have no published vocabulary yet."""
BITS_MIN = 131_072
"""The least that the recommendation admits (16 KiB), so that one certificate stays among many."""
TTL_MS = 300_000
"""For so long may a verifier use a list that it has, before it looks for a newer one."""


class Purpose(enum.StrEnum):
    """What a list tells: what is final, or what may end again."""

    REVOCATION = "revocation"
    SUSPENSION = "suspension"


MEANT: Mapping[Purpose, frozenset[Status]] = {
    Purpose.REVOCATION: frozenset({Status.REVOKED, Status.CANCELLED}),
    Purpose.SUSPENSION: frozenset({Status.SUSPENDED}),
}
"""The statuses for which a list has a 1. Terms are for `validFrom` and `validUntil` to tell."""


def credential_of(
    certificate: Certificate,
    *,
    issuer: str,
    chain_id: str,
    place: int,
    lists: Mapping[Purpose, str],
    proof: str,
) -> dict[str, Any]:
    """Return a certificate as a credential of `issuer`; `lists` has the URL of each, `proof` the ledger's own."""
    product = certificate.product
    return {
        "@context": [CONTEXT, WORDS],
        "id": f"urn:chainnode:{chain_id}:certificate:{certificate.number}",
        "type": ["VerifiableCredential", "FintechProductCertificate"],
        "issuer": {"id": issuer, "name": certificate.body},
        "validFrom": format_time(certificate.valid_from_ms),
        "validUntil": format_time(certificate.valid_until_ms),
        "credentialSubject": {
            "type": "FintechProduct",
            "certificateNumber": certificate.number,
            "name": product.name,
            "model": product.model,
            "version": product.version,
            "category": certificate.category,
            "catalogueVersion": certificate.catalogue,
            "holder": {"member": certificate.holder, "name": certificate.holder_name},
        },
        "credentialStatus": [entry(purpose, place, url) for purpose, url in lists.items()],
        "evidence": [{"type": "LedgerStatusProof", "chainId": chain_id, "tlogProof": proof}],
    }


def entry(purpose: Purpose, place: int, url: str) -> dict[str, str]:
    """Return where a list tells about the credential of a place."""
    return {
        "id": f"{url}#{place}",
        "type": "BitstringStatusListEntry",
        "statusPurpose": purpose.value,
        "statusListIndex": str(place),
        "statusListCredential": url,
    }


def status_list_credential(
    purpose: Purpose, encoded: str, *, issuer: str, url: str, from_ms: int, until_ms: int
) -> dict[str, Any]:
    """Return the credential that carries a list, to be served at `url`."""
    return {
        "@context": [CONTEXT],
        "id": url,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer,
        "validFrom": format_time(from_ms),
        "validUntil": format_time(until_ms),
        "credentialSubject": {
            "id": f"{url}#list",
            "type": "BitstringStatusList",
            "statusPurpose": purpose.value,
            "encodedList": encoded,
            "ttl": TTL_MS,
        },
    }


def encoded_list(granted: Sequence[str], marked: Iterable[str]) -> str:
    """Return the list that has a 1 at the place of each marked number among those granted; others' count for nothing.

    Place 0 is the first byte's highest bit. GZIP without a time, so that the same list is the same text.
    """
    places = {number: place for place, number in enumerate(granted)}
    bits = bytearray((max(BITS_MIN, len(granted)) + 7) // 8)
    for number in marked:
        place = places.get(number)
        if place is not None:
            bits[place >> 3] |= 0x80 >> (place & 7)
    return f"u{base64url(gzip.compress(bytes(bits), compresslevel=9, mtime=0))}"
