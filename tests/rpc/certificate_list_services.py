"""What lists of certificates are asked of: the services over a register of certificates in memory, and nothing else."""

from __future__ import annotations

from typing import Any, cast

from primitives.ids import TimeMs
from rpc.ports import Services
from tests.ledger.certificate_list_fixtures import BLOCK_MS, Register
from tests.ledger.chain_fixtures import START_MS

BLOCKS = 40


def grown(seed: int = 3) -> Register:
    """Return a register whose certificates lived for some blocks."""
    register = Register(seed=seed)
    register.grow(BLOCKS)
    return register


def services_over(register: Register) -> Services:
    """Return services that read it; the clock stands somewhat behind the newest block."""
    nobody = cast("Any", None)  # Any: neither port is asked
    now_ms = TimeMs(START_MS + len(register.kept) * BLOCK_MS)
    return Services(reads=register.reader, gateway=nobody, node=nobody, now_ms=lambda: now_ms, index=register.index)
