"""The limits of the listener that have to be told to clients, in one place.

Not here: limits of the format (`ledger.batches`, `ledger.events`) and what the operator sets (`server.RpcSettings`).
"""

from __future__ import annotations

BATCH_CALLS_MAX = 100
READ_BODY_BYTES_MAX = 1024 * 1024
BODY_BYTES_MAX = 8 * 1024 * 1024
# Larger bodies take milliseconds to parse and are parsed beside the loop.
PARSED_INLINE_BYTES_MAX = 128 * 1024
# Larger bodies of callers with a token are submissions; whether there is room is asked before they are parsed.
SUBMISSION_BYTES_MIN = 64 * 1024
# WebSocket connections, and requests that one of them may have under way; its next ones wait unread.
WEBSOCKETS_MAX = 256
WEBSOCKET_REQUESTS_MAX = 64
# Subscriptions, of all connections together and of one.
SUBSCRIPTIONS_MAX = 1_024
SUBSCRIPTIONS_A_CONNECTION_MAX = 32
