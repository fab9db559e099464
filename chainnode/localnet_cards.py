"""The invented card network of a local network, as the samples have it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

SWITCH = ("99990000", "SWTCCNBJ")
TERMINALS = {"103900000000001/12345678": "FTP-2026-06-000001", "87654321": "FTP-2026-05-000002"}
BEIJING_MINUTES = 480


def institution_code(index: int) -> str:
    """Return the invented code by which card messages name the bank with this index."""
    return f"{9000 + index:04d}0000"


def card_prefix(index: int) -> str:
    """Return how the invented cards of the bank with this index begin."""
    return f"6299{index:03d}"


def card_network_file(agents: Sequence[str]) -> bytes:
    """Return the JSON file that names institutions, card prefixes and terminals; `agents` are the banks' BICs."""
    codes = [institution_code(index) for index in range(len(agents))]
    network = {
        "institutions": dict([*zip(codes, agents, strict=True), SWITCH]),
        "card_prefixes": {card_prefix(index): code for index, code in enumerate(codes)},
        "terminals": TERMINALS,
        "utc_offset_minutes": BEIJING_MINUTES,
    }
    return msgspec.json.format(msgspec.json.encode(network)) + b"\n"
