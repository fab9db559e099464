"""The limits of the listener that have to be told to clients, in one place.

Not here: limits of the format (`ledger.batches`, `ledger.events`) and what the operator sets (`server.RpcSettings`).
"""

from __future__ import annotations

BATCH_CALLS_MAX = 100
READ_BODY_BYTES_MAX = 1024 * 1024
BODY_BYTES_MAX = 8 * 1024 * 1024
