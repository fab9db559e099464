"""Log lines: one JSON object each, always placed, never a secret."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from chainnode.logs import Position, configure_logs, get_logger, on_loop_fault, trace_id


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(level: str = "info", form: str = "json") -> tuple[io.StringIO, Position]:
    stream, position = io.StringIO(), Position("bank-a")
    configure_logs(position, level=level, form=form, stream=stream)
    return stream, position


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_says_when_what_who_and_where() -> None:
    stream, position = configured()
    position.height, position.view = 7, 2
    token = trace_id.set("abc")
    get_logger("p2p").warning("peer_disconnected", peer="bank-b", why="flood")
    trace_id.reset(token)
    (line,) = lines(stream)
    assert list(line)[:7] == ["ts", "level", "event", "node", "height", "view", "trace_id"]
    assert str(line["ts"]).endswith("Z")
    assert (line["level"], line["event"], line["node"], line["height"], line["view"]) == (
        "warning",
        "peer_disconnected",
        "bank-a",
        7,
        2,
    )
    assert (line["peer"], line["part"], line["trace_id"]) == ("bank-b", "p2p", "abc")


def test_records_of_other_libraries_have_the_same_shape() -> None:
    stream, _ = configured()
    logging.getLogger("asyncio").error("task %s died", "x")
    (line,) = lines(stream)
    assert line["event"] == "task x died"
    assert line["node"] == "bank-a"


def test_secrets_and_payloads_are_withheld() -> None:
    stream, _ = configured()
    get_logger("rpc").info(
        "submitted", token="t0ps3cret", payload=b"card 4111", blob=b"z" * 33, hash=b"\x01" * 32, seed="ab"
    )
    (line,) = lines(stream)
    assert "t0ps3cret" not in stream.getvalue()
    assert "4111" not in stream.getvalue()
    assert (line["token"], line["payload"], line["seed"]) == ("withheld", "withheld", "withheld")
    assert (line["blob"], line["hash"]) == ("33 bytes", "01" * 32)


def test_long_text_is_cut_and_newlines_stay_inside_the_line() -> None:
    stream, _ = configured()
    get_logger("rpc").info("refused", text="x\n" * 5_000)
    (line,) = lines(stream)
    assert len(str(line["text"])) == 400


def test_exception_is_named_in_one_line_without_values() -> None:
    stream, _ = configured()
    secret = "hunter2"  # a local of the frame that fails
    try:
        raise ValueError("broken" + secret[:0])
    except ValueError:
        get_logger("node").error("stopped", exc_info=True)
    (line,) = lines(stream)
    assert line["error"] == "ValueError: broken"
    assert "test_logs.py" in str(line["frames"])
    assert "hunter2" not in stream.getvalue()


def test_level_filters() -> None:
    stream, _ = configured(level="error")
    get_logger("node").info("quiet")
    get_logger("node").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_console_form_is_for_people() -> None:
    stream, _ = configured(form="console")
    get_logger("node").info("started")
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConnectionResetError(), {"level": "info", "event": "connection_broke", "error": "ConnectionResetError"}),
        (RuntimeError("unable to write; the handler is closed"), {"level": "info", "event": "connection_broke"}),
        (RuntimeError("a defect"), {"level": "error", "error": "RuntimeError: a defect"}),
        (OSError(28, "No space left on device"), {"level": "error"}),
    ],
    ids=["reset", "closed", "defect", "disk"],
)
def test_a_broken_connection_that_nobody_waits_for_is_no_error_and_all_else_is(
    error: Exception, line: dict[str, object]
) -> None:
    stream, _ = configured()
    loop = asyncio.new_event_loop()
    try:
        on_loop_fault(loop, {"message": "nobody waits", "exception": error})
    finally:
        loop.close()
    (found,) = lines(stream)
    assert found.items() >= line.items()
    assert ("frames" in found) == (line["level"] == "error")
