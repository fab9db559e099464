"""The overload bench: what its driver makes of answers, how windows are cut, and that a run finds what it planted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.bad_input import bad_requests
from bench.driver import COMMITTED
from bench.flood import Flood, FloodJob, FloodLane, told
from bench.overload import bucket_percentile, buckets, build, committed_windows, memory_bytes
from bench.overload_plot import draw
from bench.workload import BenchSource, http_request, write_frames
from ledger.batches import ParsedBatch, parse_batch
from primitives.keys import SigningKey

GOOD = b'{"result":{"events":[{"id":"00","status":"Committed"}]}}'
FULL = b'{"error":{"code":-32005,"data":{"reason":"gateway_full","retry_after_ms":20}}}'
BAD = b'{"error":{"code":-32602,"data":{"reason":"bad_root"}}}'


def source() -> BenchSource:
    return BenchSource(bytes(32), "bank-a", SigningKey(bytes(range(32))))


def test_an_answer_is_named_by_what_it_says() -> None:
    assert COMMITTED in GOOD
    assert told(GOOD, 1) == ("committed", 0, 1, 0)
    assert told(FULL, 1) == ("gateway_full", -32005, 0, 20)
    pending = b'{"result":{"events":[{"status":"Committed","reason":null},{"status":"Pending","reason":null}]}}'
    assert told(pending, 2) == ("pending", 0, 1, 0)
    refused = b'{"result":{"events":[{"status":"Refused","reason":"expired"}]}}'
    assert told(refused, 1) == ("expired", 0, 0, 0)


def driven(tmp_path: Path, answers: list[bytes], *, bodies: list[bytes], rate: float, expects: dict[int, str]) -> Flood:
    """Run a driver against a node that gives these answers in turn, and again from the first."""
    write_frames(tmp_path / "lane", (http_request(body, "token", "host") for body in bodies))
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                got.append(await reader.readexactly(size))
                body = answers[(len(got) - 1) % len(answers)]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except asyncio.IncompleteReadError:
            writer.close()

    async def main() -> Flood:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        lane = FloodLane("127.0.0.1", port, str(tmp_path / "lane"), 1, expects)
        flood = Flood(FloodJob([lane], rate=rate, seconds=0.5 if rate else 0.0))
        await asyncio.wait_for(flood.run(), 20)
        server.close()
        return flood

    return asyncio.run(main())


def test_a_refused_request_is_sent_again_and_a_good_one_once(tmp_path: Path) -> None:
    flood = driven(tmp_path, [GOOD, FULL, GOOD, GOOD], bodies=[b"a", b"b", b"c"], rate=0.0, expects={})
    assert [(each.what, each.events) for each in flood.answers] == [
        ("committed", 1),
        ("gateway_full", 0),
        ("committed", 1),
        ("committed", 1),
    ]


def test_an_open_loop_sends_on_whatever_the_answers_are(tmp_path: Path) -> None:
    flood = driven(tmp_path, [FULL], bodies=[b"a"], rate=40.0, expects={})
    assert len(flood.answers) > 2
    assert {each.what for each in flood.answers} == {"gateway_full"}


@pytest.mark.parametrize(("answer", "wrong"), [(BAD, 0), (GOOD, 1)])
def test_what_was_planted_has_to_be_answered_as_it_must(tmp_path: Path, answer: bytes, wrong: int) -> None:
    flood = driven(
        tmp_path, [GOOD, FULL, answer, GOOD], bodies=[b"a", b"bad", b"c"], rate=0.0, expects={1: "-32602 bad_root"}
    )
    assert (len(flood.wrong), len(flood.met)) == (wrong, 1 - wrong)
    assert sum(each.events for each in flood.answers) == 2, "it is no good event, whatever the answer"


def test_windows_and_percentiles_are_those_of_the_samples() -> None:
    rows = [{"at_s": number / 2, "committed": 100.0 * number} for number in range(41)]
    assert committed_windows(rows, 20) == pytest.approx([200.0] * 4)
    text = "\n".join(
        f'chainnode_x_seconds_bucket{{le="{bound}"}} {count}'
        for bound, count in (("0.1", 50), ("1.0", 99), ("+Inf", 100))
    )
    growth = buckets(text, "chainnode_x_seconds")
    assert (bucket_percentile(growth, 0.5), bucket_percentile(growth, 0.99)) == (0.1, 1.0)
    assert memory_bytes("VmRSS:\t 100 kB\nRssAnon:\t 60 kB\n") == (100 * 1024, 60 * 1024)


def test_bad_requests_are_bad_and_leave_their_source_where_it_stood() -> None:
    one = source()
    last = one.batch(2)
    before = one.position
    bads = bad_requests(one, last, events=2, others="bank-b", wait="none")
    assert one.position == before
    assert len({bad.name for bad in bads}) == len(bads) >= 17
    assert parse_batch(one.batch(2)).header.previous == before[1]


def test_bad_requests_lie_among_the_good_ones_where_they_are_said_to(tmp_path: Path) -> None:
    one = source()
    first = one.batch(1)
    bodies = [b"bad one", b"bad two"]
    number, previous, last, places = build((one, tmp_path / "lane", 10, 1, "none", "t", "h", bodies))
    data, found = (tmp_path / "lane").read_bytes(), []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size].partition(b"\r\n\r\n")[2])
        data = data[4 + size :]
    assert (number, len(found)) == (11, 12)
    assert [found[place] for place in places] == bodies
    parsed: ParsedBatch = parse_batch(last)
    assert (parsed.hash, parsed.header.number) == (previous, 10)
    assert parse_batch(first).header.number == 0


def test_the_picture_is_xml_with_a_line_for_each_node() -> None:
    rows = [{"at_s": n / 2, "committed": 10.0 * n, "anonymous_mib": [1.0, 2.0, 3.0, 4.0]} for n in range(20)]
    figures = {
        "samples": rows,
        "latency_by_second": [(0, 5.0), (1, 6.0)],
        "peak_events_per_second": 25,
        "offered_events_per_second": 50,
    }
    tree = ElementTree.fromstring(draw(json.loads(json.dumps(figures))))
    assert len(tree.findall(".//{http://www.w3.org/2000/svg}polyline")) == 6
