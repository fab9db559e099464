"""The consortium of the sample payments: its codes, and contexts with secrets that only tests have."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from chainnode.ingest.card_network import parse_card_network
from chainnode.ingest.context import IngestContext, make_context
from primitives.ids import TimeMs

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = REPOSITORY / "samples" / "payments"
BAD = REPOSITORY / "samples" / "bad"
CODES = {
    "BKAACNBJXXX": "bank-a",
    "BKABCNBJXXX": "bank-b",
    "BKACCNBJXXX": "bank-c",
    "BKADCNBJXXX": "bank-d",
    "SWTCCNBJXXX": "switch",
}
CARD_NETWORK = parse_card_network((SAMPLES / "cards.json").read_bytes(), where="cards.json")
RECEIVED_MS = TimeMs(1_776_700_000_000)  # 2026-04-20, when the sample messages came in
MEMBERS = tuple(CODES.values())


def pair_secret(one: str, other: str) -> bytes:
    return hashlib.sha256(f"pair {' '.join(sorted((one, other)))}".encode()).digest()


def context_of(member: str, **changes: Any) -> IngestContext:
    """Return a member's context; `changes` are arguments of make_context."""
    pairs = {other: pair_secret(member, other) for other in MEMBERS if other != member}
    secret = hashlib.sha256(f"reporter {member}".encode()).digest()
    known = {"is_switch": member == "switch", "card_network": CARD_NETWORK, "received_ms": RECEIVED_MS}
    return make_context(member, CODES, secret, pairs, **{**known, **changes})


def sample(name: str) -> bytes:
    """Return the one sample file whose name begins so."""
    (path,) = SAMPLES.glob(f"{name}*")
    return path.read_bytes()
