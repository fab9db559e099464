"""Logs: JSON lines on stderr with ts, level, event, node, height, view, trace_id; never payloads or secrets.

Here: how every log record of the process is shaped, whichever library it comes from. Not here: what is logged. A record
is made of slugs and short values: bytes longer than a hash are replaced by their length, fields named like secrets or
payloads are withheld.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import ssl
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

VALUE_CHARACTERS_MAX = 400
_BYTES_SHOWN_MAX = 32
_WITHHELD = frozenset(
    {
        "payload",
        "body",
        "seed",
        "secret",
        "token",
        "password",
        "authorization",
        "private_key",
        "event_bytes",
        "batch_bytes",
    }
)

trace_id: contextvars.ContextVar[str] = contextvars.ContextVar("trace_id", default="")
"""The id of the request that is being served in this task; rpc sets it."""

Record = MutableMapping[str, Any]  # Any: structlog's own type of a record


class Position:
    """Where this node's replica stands, for every log line; owned and moved by the node's loop."""

    __slots__ = ("height", "node", "view")

    def __init__(self, node: str = "") -> None:
        self.node = node
        self.height = 0
        self.view = 0


def configure_logs(
    position: Position, *, level: str = "info", form: str = "json", stream: TextIO | None = None
) -> None:
    """Send every record of structlog and of the standard library through one shape to `stream` (stderr)."""
    stream = sys.stderr if stream is None else stream
    shared: list[Any] = [  # Any: a processor's type differs between structlog and its standard-library bridge
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _Place(position),
        _withhold,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    if form == "json":
        render: Any = structlog.processors.JSONRenderer(sort_keys=False, default=str)
    else:
        render = structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="ts")
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _exception_in_one_line,
                _order,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line per request belongs to debugging, not to a node's log.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; the name says which part of the node speaks."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name).bind(part=name)
    return logger


def on_loop_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # Any: asyncio's own type
    """Take what nobody waits for any more: the end of a broken connection is no fault of this node, anything else is.

    TLS in the event loop reports a reset, or a write to a link that was just cut, after whoever used it has gone.
    """
    error = context.get("exception")
    cut = isinstance(error, RuntimeError) and "the handler is closed" in str(error)
    if cut or isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
        get_logger("loop").info("connection_broke", error=type(error).__name__)
        return
    loop.default_exception_handler(context)


class _Place:
    def __init__(self, position: Position) -> None:
        self._position = position

    def __call__(self, _logger: object, _method: str, record: Record) -> Record:
        record["node"] = self._position.node
        record["height"] = record.get("height", self._position.height)
        record["view"] = record.get("view", self._position.view)
        current = trace_id.get()
        if current and "trace_id" not in record:
            record["trace_id"] = current
        return record


def _withhold(_logger: object, _method: str, record: Record) -> Record:
    for key, value in list(record.items()):
        if key.lower() in _WITHHELD:
            record[key] = "withheld"
        elif isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
            record[key] = data.hex() if len(data) <= _BYTES_SHOWN_MAX else f"{len(data)} bytes"
        elif isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
            record[key] = value[: VALUE_CHARACTERS_MAX - 1] + "…"
    return record


def _exception_in_one_line(_logger: object, _method: str, record: Record) -> Record:
    """Turn `exc_info` into the names and places of the frames: their local values may hold secrets."""
    info = record.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[1] is not None:
        record["error"] = f"{info[0].__name__}: {info[1]}"[:VALUE_CHARACTERS_MAX]
        frames = []
        trace = info[2]
        while trace is not None:
            code = trace.tb_frame.f_code
            frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        record["frames"] = frames
    return record


def _order(_logger: object, _method: str, record: Record) -> Record:
    """Put the fields that every line has first, in a fixed order."""
    first = ("ts", "level", "event", "node", "height", "view", "trace_id")
    return {key: record[key] for key in first if key in record} | {k: v for k, v in record.items() if k not in first}
