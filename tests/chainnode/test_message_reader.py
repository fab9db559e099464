"""Messages in banks' own formats are read in a process beside the node, which is bounded and may fail."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chainnode.home import Home
from chainnode.localnet import Localnet
from chainnode.message_protocol import Answer, Request, frame_of
from chainnode.message_reader import WAITING_MAX, MessageReader
from chainnode.message_worker import WHERE, answer_of
from chainnode.private_store import PrivateStore
from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.payments import PAYMENT_STATEMENT
from primitives.ids import TimeMs
from rpc.errors import Code, RpcError
from rpc.ports import AskedMessage, MessageEvent, NewEvent, ReadMessage
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, sample
from tests.chainnode.ingest.message_fixtures import pacs008

NOW_MS = TimeMs(1_790_000_000_000)
SECRET = "6222021234567890"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    net = Localnet(tmp_path / "net")
    with net.held():
        file = net.found(1, base_port=None, now_ms=int(NOW_MS), step=lambda _: None)
    return Home(Path(file.nodes[0].home))


@pytest.fixture
async def reader_of(home: Home) -> AsyncIterator[Callable[..., MessageReader]]:
    made: list[MessageReader] = []

    def make(**settings: Any) -> MessageReader:
        made.append(MessageReader(home, "bank-a", dict, lambda: NOW_MS, **settings))
        return made[-1]

    yield make
    for reader in made:
        await reader.stop()


def answer(home: Home, payload: str, **asked: Any) -> Answer:
    return answer_of(home, "bank-a", Request(AskedMessage(payload, **asked), int(NOW_MS), {}))


def kept(home: Home) -> int:
    with PrivateStore(home.private) as store:
        return len(store)


async def test_a_message_becomes_events_and_what_is_private_of_it_is_kept(home: Home, reader_of: Any) -> None:
    reader = reader_of()
    first = await reader.read(AskedMessage(pacs008()))
    assert (first.format, len(first.events), first.refused, first.refused_count) == ("iso20022", 2, [], 0)
    assert [(item.where, item.side) for item in first.events] == [
        (f"payload: message 1: transaction {number}: line 1 (CdtTrfTxInf)", "debtor") for number in (1, 2)
    ]
    assert kept(home) == 2
    assert await reader.read(AskedMessage(pacs008())) == first, "the same message is the same events"
    assert await reader_of().read(AskedMessage(pacs008())) == first
    assert kept(home) == 2


async def test_a_message_with_other_options_is_as_it_was_first_stated(reader_of: Any) -> None:
    reader = reader_of()
    first = await reader.read(AskedMessage(pacs008()))
    again = await reader.read(AskedMessage(pacs008(), clear_amounts=True))
    assert [item.event for item in again.events] == [item.event for item in first.events]
    assert {"amount", "amount_commitment"} <= set(again.events[0].differs)


async def test_bytes_come_in_base64(reader_of: Any) -> None:
    reader = reader_of()
    for name in ("03-pacs008", "cards-bank-a", "qr-bank-a"):
        data = base64.b64encode(sample(name)).decode()
        assert (await reader.read(AskedMessage(data, "base64"))).events


async def test_a_bad_message_is_refused_by_place_and_reason_without_its_values(reader_of: Any) -> None:
    reader = reader_of()
    bad = pacs008().replace("SHAR", SECRET, 1)
    with pytest.raises(RpcError) as refused:
        await reader.read(AskedMessage(bad))
    assert (refused.value.code, refused.value.reason) == (Code.INVALID_PARAMS, "bad_message")
    assert refused.value.where == "payload: message 1: transaction 1: line 1 (CdtTrfTxInf)"
    assert SECRET not in str(refused.value)
    found = await reader.read(AskedMessage(bad, skip_bad=True))
    assert (len(found.events), [part.reason for part in found.refused]) == (1, ["bad_message"])


async def test_a_process_that_takes_too_long_is_ended_and_the_next_message_has_another(reader_of: Any) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    reader = reader_of(patience_s=0.2, command=sleeper)
    for _ in range(2):
        with pytest.raises(RpcError) as refused:
            await reader.read(AskedMessage("x"))
        assert (refused.value.code, refused.value.reason) == (Code.UNAVAILABLE, "message_took_too_long")
        assert reader._process is None


async def test_a_process_that_ends_takes_one_message_with_it(reader_of: Any) -> None:
    for ending in ("", "import sys; sys.stdout.buffer.write(b'\\xff' * 64)", "print('x' * 9)"):
        reader = reader_of(command=(sys.executable, "-c", ending))
        with pytest.raises(RpcError) as refused:
            await reader.read(AskedMessage("x"))
        assert (refused.value.reason, refused.value.retryable) == ("message_reader_ended", True)


@pytest.mark.parametrize("kind", [32, 16])
async def test_a_process_that_answers_with_other_events_than_statements_is_not_believed(
    reader_of: Any, tmp_path: Path, kind: int
) -> None:
    event = MessageEvent("payload", "debtor", NewEvent(kind, 1, b"", bytes(16)), [])
    given = Answer(ReadMessage("jsonl", [event], [], 0))
    (tmp_path / "answer").write_bytes(frame_of(msgspec.msgpack.encode(given)))
    saying = f"sys.stdout.buffer.write(open({str(tmp_path / 'answer')!r}, 'rb').read()); sys.stdout.flush()"
    program = f"import sys; {saying}; sys.stdin.read()"
    reader = reader_of(command=(sys.executable, "-c", program))
    if kind == PAYMENT_STATEMENT:
        assert await reader.read(AskedMessage("x")) == given.read
        return
    with pytest.raises(RpcError) as refused:
        await reader.read(AskedMessage("x"))
    assert refused.value.reason == "message_reader_ended"


def test_of_what_was_left_out_a_thousand_parts_are_named_and_all_are_counted(home: Home) -> None:
    found = answer(home, '{"payment": {}}\n' * 1_200, skip_bad=True)
    assert found.read is not None
    assert (len(found.read.refused), found.read.refused_count) == (1_000, 1_200)


async def test_who_stops_waiting_leaves_no_answer_behind_for_the_next(reader_of: Any) -> None:
    reader = reader_of()
    left = asyncio.create_task(reader.read(AskedMessage(pacs008())))
    await asyncio.sleep(0.05)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    found = await reader.read(AskedMessage(sample("qr-bank-a").decode()))
    assert found.format == "jsonl"


async def test_more_than_a_few_messages_do_not_wait(reader_of: Any) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    reader = reader_of(command=sleeper)
    waiting = [asyncio.create_task(reader.read(AskedMessage("x"))) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0.05)
    try:
        with pytest.raises(RpcError) as refused:
            await asyncio.wait_for(reader.read(AskedMessage("x")), 2)
        assert (refused.value.code, refused.value.retryable) == (Code.LIMIT_EXCEEDED, True)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_idle_process_ends(reader_of: Any) -> None:
    reader = reader_of(idle_s=0.05)
    await reader.read(AskedMessage(sample("qr-bank-a").decode()))
    process = reader._process
    assert await asyncio.wait_for(process.wait(), 10) < 0


def test_more_payments_than_a_call_takes_are_refused_and_none_is_kept(home: Home) -> None:
    line = sample("qr-bank-a").decode().splitlines()[0]
    many = "\n".join(line.replace('"reference": "', f'"reference": "{at}-', 1) for at in range(BATCH_EVENTS_MAX + 1))
    found = answer(home, many)
    assert found.refused is not None
    assert (found.refused.what, found.refused.reason) == ("too many payments for one call", "too_many_payments")
    assert kept(home) == 0


def test_what_is_no_text_or_no_base64_is_refused(home: Home) -> None:
    for payload, encoding in (("\ud800", "text"), ("x!", "base64"), ("王", "base64")):
        found = answer(home, payload, encoding=encoding)
        assert found.refused is not None
        assert (found.refused.where, found.refused.fault) == (WHERE, "input")


def test_a_home_without_a_secret_and_a_store_that_fails_are_the_operators(home: Home) -> None:
    home.private.mkdir(mode=0o700)
    (home.private / "keys.bin").write_bytes(b"x" * 64)
    (home.private / "keys.bin").chmod(0o600)
    found = answer(home, pacs008())
    assert found.refused is not None
    assert found.refused.fault == "storage"
    home.reporter.unlink()
    found = answer(home, pacs008())
    assert found.refused is not None
    assert found.refused.fault == "usage"


def test_events_in_json_form_are_no_message(home: Home) -> None:
    found = answer(home, '{"kind": "governance.vote", "body": {}}')
    assert found.refused is not None
    assert found.refused.what == "events are not taken here"


def test_a_node_loads_no_adapter_beside_its_keys() -> None:
    program = (
        "import sys, chainnode.main, chainnode.node;"
        "foreign = ('iso8583', 'schwifty', 'stdnum', 'defusedxml');"
        "print([name for name in sys.modules"
        " if name.split('.')[0] in foreign or name.startswith('chainnode.ingest.')"
        " or name == 'chainnode.message_worker'])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_all_samples_of_a_bank_are_read(home: Home) -> None:
    for path in sorted(SAMPLES.glob("*.xml")):
        found = answer(home, base64.b64encode(path.read_bytes()).decode(), encoding="base64", skip_bad=True)
        assert found.read is not None, path.name
