"""The draw itself: commitments, the seed, and which certificates it selects. Pure functions of bytes and integers.

Each certificate has as many tickets as its weight, numbers of 64 bits that follow from the seed and its number alone;
the lowest tickets win, each certificate once. Tickets are independent and uniform, so the first winner is one of
weight w with probability w / W (W: the sum of all weights), the next likewise among those that remain: selection by
weight without replacement, in integers. No certificate's tickets hang on what others there are, so anybody checks one
alone. Equal tickets (less than one draw in a million at 100,000 certificates) go to the lower number.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from ledger.inspection_records import Drawn
from primitives.encoding import encode
from primitives.hashing import DOMAIN, domain_hash
from primitives.ids import Hash

TICKET_BYTES: Final = 8
TICKETS_A_HASH: Final = 4
RISK_BASE: Final = 1
RISK_FAILED_SURVEILLANCE: Final = 2
RISK_FAILED_INSPECTION: Final = 2
RISK_OPEN_FINDINGS: Final = 1
RISK_WAS_SUSPENDED: Final = 1
_TICKETS: Final = DOMAIN + b"inspection-tickets\0"


def commitment_of(chain_id: bytes, draw: str, member: str, secret: bytes) -> Hash:
    """Return what a member commits to: its own name is in it, so that nobody can commit to another's secret."""
    return domain_hash("inspection-commitment", encode((chain_id, draw, member, secret)))


def seed_of(chain_id: bytes, draw: str, block: bytes, reveals: Sequence[tuple[str, bytes]]) -> Hash:
    """Return the seed: of the closing block's hash and of all reveals (member, secret), ascending by member."""
    return domain_hash("inspection-seed", encode((chain_id, draw, block, tuple(sorted(reveals)))))


def risk_of(*, failed_surveillance: bool, failed_inspection: bool, open_findings: bool, was_suspended: bool) -> int:
    """Return the risk by which a category's weight is multiplied: 1, and more for what was found before (up to 7)."""
    return (
        RISK_BASE
        + RISK_FAILED_SURVEILLANCE * failed_surveillance
        + RISK_FAILED_INSPECTION * failed_inspection
        + RISK_OPEN_FINDINGS * open_findings
        + RISK_WAS_SUSPENDED * was_suspended
    )


def lowest_ticket(seed: bytes, number: str, weight: int) -> bytes:
    """Return the lowest of a certificate's tickets, 8 bytes, big-endian.

    Ticket j is bytes 8(j mod 4) to 8(j mod 4) + 8 of SHA-256(tag, seed, one byte j div 4, number).
    """
    assert 1 <= weight <= TICKETS_A_HASH << 8, f"weight {weight}"
    name, lowest = number.encode(), b"\xff" * TICKET_BYTES
    for first in range(0, weight, TICKETS_A_HASH):
        digest = sha256(_TICKETS + seed + bytes([first // TICKETS_A_HASH]) + name).digest()
        for place in range(min(TICKETS_A_HASH, weight - first)):
            lowest = min(lowest, digest[TICKET_BYTES * place : TICKET_BYTES * place + TICKET_BYTES])
    return lowest


def lowest_of(drawn: Iterable[Drawn], count: int) -> tuple[Drawn, ...]:
    """Return those with the lowest tickets, the lowest first."""
    return tuple(heapq.nsmallest(count, drawn, key=lambda item: (item.ticket, item.number)))
