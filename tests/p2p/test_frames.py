"""The frame reader against any split of the stream, and against anything else."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.frames import (
    FRAGMENT_BYTES,
    HEADER_BYTES,
    PREAMBLE,
    BadFragment,
    BadHandshake,
    FrameDecoder,
    FrameError,
    FrameTooLarge,
    FrameVersionRefused,
    Truncated,
    UnknownKind,
    encode_fragments,
    encode_frame,
)

LIMITS = {1: 40, 2: 4 * FRAGMENT_BYTES, 3: 4 * FRAGMENT_BYTES}


def read(stream: bytes, cuts: list[int], *, expect_preamble: bool = True) -> list[tuple[int, bytes]]:
    decoder = FrameDecoder(LIMITS, expect_preamble=expect_preamble)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    got = [frame for at, to in itertools.pairwise(edges) for frame in decoder.feed(stream[at:to])]
    decoder.finish()
    return got


small = st.tuples(st.just(1), st.binary(max_size=40))
large = st.tuples(
    st.sampled_from([2, 3]),
    st.integers(0, 3 * FRAGMENT_BYTES).map(lambda size: (b"0123456789abcdef!" * (size // 17 + 1))[:size]),
)


@given(st.lists(small | large, max_size=8), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_any_split_of_the_stream_yields_the_same_frames(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = PREAMBLE + b"".join(b"".join(encode_fragments(kind, payload)) for kind, payload in messages)
    assert read(stream, cuts) == messages


def test_a_stream_read_byte_by_byte_yields_the_same_frames() -> None:
    stream = PREAMBLE + encode_frame(1, b"x" * 40) + encode_frame(2, b"") + encode_frame(1, b"")
    assert read(stream, list(range(len(stream)))) == [(1, b"x" * 40), (2, b""), (1, b"")]


def test_a_small_frame_overtakes_a_message_in_fragments() -> None:
    payload = bytes(2 * FRAGMENT_BYTES + 5)
    first, second, last = encode_fragments(2, payload)
    assert [len(part) - HEADER_BYTES for part in (first, second, last)] == [FRAGMENT_BYTES, FRAGMENT_BYTES, 5]
    vote = encode_frame(1, b"vote")
    stream = PREAMBLE + first + vote + second + vote + last
    assert read(stream, [9, 70_000]) == [(1, b"vote"), (1, b"vote"), (2, payload)]


@given(st.binary(max_size=300), st.booleans(), st.lists(st.integers(0, 300), max_size=5))
def test_random_bytes_end_in_a_typed_error_or_in_frames(garbage: bytes, after_preamble: bool, cuts: list[int]) -> None:
    with contextlib.suppress(FrameError):  # any other exception fails the test
        frames = read((PREAMBLE if after_preamble else b"") + garbage, cuts)
        assert all(len(payload) <= LIMITS[kind] for kind, payload in frames)


MORE = 0x8000_0000


def header(word: int, kind: int) -> bytes:
    return word.to_bytes(4, "big") + bytes([kind])


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", BadHandshake),
        (b"X", BadHandshake),
        (PREAMBLE[:6] + b"\x00\x02", FrameVersionRefused),
        (PREAMBLE + encode_frame(9, b""), UnknownKind),
        (PREAMBLE + header(41, 1), FrameTooLarge),
        (PREAMBLE + header(0x7FFF_FFFF, 2), FrameTooLarge),
        (PREAMBLE + (header(MORE | FRAGMENT_BYTES, 2) + bytes(FRAGMENT_BYTES)) * 5, FrameTooLarge),
        (PREAMBLE + header(MORE | 40, 1), BadFragment),
        (PREAMBLE + header(MORE, 2), BadFragment),
        (
            PREAMBLE + header(MORE | FRAGMENT_BYTES, 2) + bytes(FRAGMENT_BYTES) + header(MORE | FRAGMENT_BYTES, 3),
            BadFragment,
        ),
        (PREAMBLE + header(MORE | FRAGMENT_BYTES, 2) + bytes(FRAGMENT_BYTES) + header(0, 2), BadFragment),
        (b"", Truncated),
        (PREAMBLE[:5], Truncated),
        (PREAMBLE + header(3, 1)[:4], Truncated),
        (PREAMBLE + header(3, 1) + b"ab", Truncated),
        (PREAMBLE + header(MORE | FRAGMENT_BYTES, 2) + bytes(FRAGMENT_BYTES), Truncated),
    ],
)
def test_a_stream_that_is_not_ours_is_refused_with_its_own_error(stream: bytes, error: type[FrameError]) -> None:
    with pytest.raises(error) as caught:
        read(stream, [])
    assert caught.type is error


def test_frames_before_the_bad_one_are_delivered() -> None:
    frames = FrameDecoder(LIMITS).feed(PREAMBLE + encode_frame(1, b"good") + encode_frame(9, b"bad"))
    assert next(frames) == (1, b"good")
    with pytest.raises(UnknownKind):
        next(frames)
