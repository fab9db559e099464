"""Arrow columns out of places in bytes: numpy gathers what lies there, and its buffers are the columns.

Pure. Here: binary, text, whole numbers, decimals, times, dates, words. Not here: which fields there are (`tables`).
All sizes are in bytes; `data` must go on for PADDING bytes behind the last field, which windows reach into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Sizes = NDArray[np.int32]
Array = Any  # pyarrow publishes no types

PADDING: Final = 64
"""What may be read behind a field; no text of a statement is longer."""

DECIMAL: Final = pa.decimal128(38, 0)
TIME: Final = pa.timestamp("ms", tz="UTC")
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.dtype("V2"))
_DASHES: Final = np.array([8, 13, 18, 23])
_UUID_CHARACTERS: Final = 36


def windows(data: Bytes, size: int) -> NDArray[np.void]:
    """Return a view in which item i is the `size` bytes of `data` from i on."""
    found: NDArray[np.void] = np.ndarray((len(data) - size + 1,), np.dtype(f"V{size}"), data, strides=(1,))
    return found


def _valid(present: NDArray[np.bool_] | None) -> Array:
    if present is None or bool(present.all()):
        return None
    return pa.py_buffer(np.packbits(present, bitorder="little"))


def _offsets(sizes: Sizes) -> Array:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.py_buffer(offsets)


def binary(data: Bytes, places: Places, sizes: Sizes, size: int) -> Array:
    """Return a column of values that have `size` bytes, or are null where they have none."""
    present = sizes == size
    chosen = places if present.all() else places[present]
    gathered = windows(data, size)[chosen]
    return pa.Array.from_buffers(
        pa.binary(), len(places), [_valid(present), _offsets(np.where(present, size, 0)), pa.py_buffer(gathered)]
    )


def digests(values: bytes | Bytes, size: int) -> Array:
    """Return a column of values of `size` bytes that lie one behind the other."""
    count = len(values) // size
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(size)
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(values)])


def text(data: Bytes, places: Places, sizes: Sizes) -> Array:
    """Return a column of text, null where it is empty."""
    present = sizes > 0
    width = int(sizes.max(initial=0))
    if not width:
        return pa.nulls(len(places), pa.string())
    gathered = windows(data, width)[places].view(np.uint8).reshape(-1, width)
    flat = gathered if (sizes == width).all() else gathered[np.arange(width) < sizes[:, None]]
    return pa.Array.from_buffers(
        pa.string(), len(places), [_valid(present), _offsets(sizes), pa.py_buffer(np.ascontiguousarray(flat))]
    )


def integers(data: Bytes, places: Places, sizes: Sizes) -> NDArray[np.int64]:
    """Return whole numbers of 1, 2, 4 or 8 bytes, most significant first; what has none is 0."""
    wide = np.ndarray((len(data) - 7,), np.dtype(">u8"), data, strides=(1,))[places].astype(np.uint64)
    shift = (64 - 8 * sizes.astype(np.int64)).clip(0, 63).astype(np.uint64)
    found = (wide >> shift).astype(np.int64)
    return np.where(sizes > 0, found, 0)


def decimals(values: NDArray[np.int64], present: NDArray[np.bool_]) -> Array:
    """Return a column of decimal(38, 0), as Arrow has it: 128 bits, least significant first."""
    wide = np.zeros((len(values), 2), np.int64)
    wide[:, 0] = values  # none is negative
    return pa.Array.from_buffers(DECIMAL, len(values), [_valid(present), pa.py_buffer(wide)])


def times(values_ms: NDArray[np.int64]) -> Array:
    """Return a column of times, from milliseconds since 1970."""
    return pa.Array.from_buffers(TIME, len(values_ms), [None, pa.py_buffer(np.ascontiguousarray(values_ms))])


def dates(numbers: NDArray[np.int64]) -> Array:
    """Return a column of dates from numbers YYYYMMDD, null where that is 0.

    Days since 1970 as Hinnant's "chrono-compatible low-level date algorithms" count them.
    """
    present = numbers > 0
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return pa.Array.from_buffers(
        pa.date32(), len(numbers), [_valid(present), pa.py_buffer(np.where(present, days, 0).astype(np.int32))]
    )


def uuids(data: Bytes, places: Places, sizes: Sizes) -> Array:
    """Return a column of the written form of UUIDs, null where there is none."""
    present = sizes > 0
    raw = windows(data, 16)[places[present]].view(np.uint8)
    digits = _HEX[raw].view(np.uint8).reshape(-1, 32)
    written = np.full((len(digits), _UUID_CHARACTERS), ord("-"), np.uint8)
    written[:, np.setdiff1d(np.arange(_UUID_CHARACTERS), _DASHES)] = digits
    offsets = _offsets(np.where(present, _UUID_CHARACTERS, 0).astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(places), [_valid(present), offsets, pa.py_buffer(written)])


def words(numbers: NDArray[Any], names: Sequence[str | None]) -> Array:
    """Return a column of the words that numbers stand for: number i for `names[i]`, null for None.

    In memory each word is there once; in a file it is text like any other.
    """
    indexes = np.ascontiguousarray(numbers.astype(np.int32))
    absent = np.array([name is None for name in names])
    present = None if not absent.any() else ~absent[indexes]
    values = pa.array(["" if name is None else name for name in names], pa.string())
    keys = pa.Array.from_buffers(pa.int32(), len(indexes), [_valid(present), pa.py_buffer(indexes)])
    return pa.DictionaryArray.from_arrays(keys, values)


def plain(values: NDArray[Any], type_: Array) -> Array:
    """Return a column of whole numbers of an Arrow type."""
    return pa.array(values, type_)
