"""The benchmark of subscribers: what they count, however the bytes come."""

from __future__ import annotations

import asyncio
import time
from unittest.mock import MagicMock

import pytest

from bench.subscriber_reader import Reader, Told
from ledger.times import format_time
from rpc.websocket_frames import text_frame_head

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def frame(text: bytes) -> bytes:
    return text_frame_head(len(text)) + text


@pytest.mark.parametrize("piece", [1, 7, 200, 1 << 20])
async def test_each_notification_is_counted_once_however_the_bytes_come(piece: int) -> None:
    at = format_time(int(time.time() * 1_000) - 2_000).encode()
    sizes = [10, 100, 300, 70_000]
    told = [frame(b'{"result":{"x":"%b","time":"%b"}}' % (b"x" * size, at)) for size in sizes]
    data = HEAD + frame(b'{"id":1,"result":{}}') + b"".join(told)
    found = Told()
    reader = Reader(found, "localhost")
    transport = MagicMock()
    reader.connection_made(transport)
    for place in range(0, len(data), piece):
        reader.data_received(data[place : place + piece])
        if piece == 1 and place > 2_000:
            piece = 4_096
            reader.data_received(data[place + 1 :])
            break
    assert found.notifications == len(sizes)
    assert reader.subscribed.done()
    assert all(1.9 < delay < 60 for delay in found.delays)
    assert transport.write.call_count == 2, "the upgrade and the subscription"
    assert asyncio.get_running_loop() is reader.subscribed.get_loop()
