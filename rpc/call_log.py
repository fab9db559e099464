"""The access log: one line for a request that was refused, and one for each where the log is set to debug.

Names and figures only, never parameters, tokens or results. Not here: what the lines say of HTTP (`rpc.server`) and of
connections (`rpc.websocket`).
"""

from __future__ import annotations

import logging

import structlog

from rpc.dispatch import Answer
from rpc.errors import RpcError

log = structlog.get_logger("rpc")
_LEVELS = logging.getLogger("rpc")  # asked before a line is made that nobody reads


def is_logged(answer: Answer | None, refusal: RpcError | None) -> bool:
    """Say whether a request has a line in the log."""
    return _refused(answer, refusal) or _LEVELS.isEnabledFor(logging.DEBUG)


def _refused(answer: Answer | None, refusal: RpcError | None) -> bool:
    if refusal is not None:
        return True
    if answer is not None:
        for called in answer.called:
            if called.code:
                return True
    return False


def log_call(
    answer: Answer | None, refusal: RpcError | None, seconds: float, fields: dict[str, object], path: str
) -> None:
    """Write the line of a request; `fields` say where it came from."""
    fields["ms"] = round(seconds * 1_000, 1)
    if answer is not None:
        fields["methods"] = sorted({called.method for called in answer.called})
        fields["codes"] = sorted({called.code for called in answer.called})
    elif refusal is not None:
        fields["codes"] = [int(refusal.code)]
        fields["reason"] = refusal.reason
    else:
        fields["path"] = path[:100]
    if _refused(answer, refusal):
        log.info("rpc_refused", **fields)
    else:
        log.debug("rpc_answered", **fields)
