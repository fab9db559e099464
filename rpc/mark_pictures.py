"""The picture of a certification mark: its code, the number for people, and two words; as SVG and PNG.

Nothing in it tells a status: the picture stays on a product for years, and what the certificate is worth is for the
chain to say. Both forms are made of the same dots, in black on white; letters are dots too, so that the picture needs
no font. The code is a QR code with at least 15 % of error correction, drawn three dots a module, with the four modules
around it that ISO/IEC 18004 asks for. Not here: what the code says (`ledger.mark_codes`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from html import escape
from typing import Final

import segno

DOTS_A_MODULE: Final = 3
QUIET_MODULES: Final = 4
FRAME_DOTS: Final = 2
GLYPH_WIDTH: Final = 5
GLYPH_HEIGHT: Final = 7
LINE_DOTS: Final = 11
"""From the top of one line of letters to that of the next."""
PNG_SCALE: Final = 4
PNG_SCALE_MAX: Final = 16
WORDS: Final = "SCAN TO CHECK"
WORDS_ZH: Final = "扫码查验"

_GLYPHS: Final = {
    " ": "00 00 00 00 00 00 00",
    "-": "00 00 00 1F 00 00 00",
    "0": "0E 11 13 15 19 11 0E",
    "1": "04 0C 04 04 04 04 0E",
    "2": "0E 11 01 02 04 08 1F",
    "3": "1F 02 04 02 01 11 0E",
    "4": "02 06 0A 12 1F 02 02",
    "5": "1F 10 1E 01 01 11 0E",
    "6": "06 08 10 1E 11 11 0E",
    "7": "1F 01 02 04 08 08 08",
    "8": "0E 11 11 0E 11 11 0E",
    "9": "0E 11 11 0F 01 02 0C",
    "A": "0E 11 11 1F 11 11 11",
    "B": "1E 11 11 1E 11 11 1E",
    "C": "0E 11 10 10 10 11 0E",
    "D": "1C 12 11 11 11 12 1C",
    "E": "1F 10 10 1E 10 10 1F",
    "F": "1F 10 10 1E 10 10 10",
    "G": "0E 11 10 17 11 11 0F",
    "H": "11 11 11 1F 11 11 11",
    "I": "0E 04 04 04 04 04 0E",
    "J": "07 02 02 02 02 12 0C",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1F",
    "M": "11 1B 15 15 11 11 11",
    "N": "11 11 19 15 13 11 11",
    "O": "0E 11 11 11 11 11 0E",
    "P": "1E 11 11 1E 10 10 10",
    "Q": "0E 11 11 11 15 12 0D",
    "R": "1E 11 11 1E 14 12 11",
    "S": "0F 10 10 0E 01 01 1E",
    "T": "1F 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0E",
    "V": "11 11 11 11 11 0A 04",
    "W": "11 11 11 15 15 15 0A",
    "X": "11 11 0A 04 0A 11 11",
    "Y": "11 11 11 0A 04 04 04",
    "Z": "1F 01 02 04 08 10 1F",
}
"""Letters of five dots by seven: a byte a row from the top, its lowest five bits from the left."""


def mark_svg(code: str, number: str) -> str:
    """Return the picture as SVG, a dot a unit, with words for those who cannot see it."""
    rows = _dots(code, number)
    size = f"{len(rows[0])} {len(rows)}"
    drawn = "".join(f"M{x} {y}h{length}v{height}h-{length}z" for y, x, length, height in _blocks(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" shape-rendering="crispEdges">'
        f"<title>{escape(number)}: {WORDS.lower()} {WORDS_ZH}</title>"
        f'<path fill="#fff" d="M0 0h{len(rows[0])}v{len(rows)}H0z"/><path d="{drawn}"/></svg>\n'
    )


def mark_png(code: str, number: str, scale: int = PNG_SCALE) -> bytes:
    """Return the picture as PNG with one bit a pixel, a dot being `scale` pixels wide."""
    assert 1 <= scale <= PNG_SCALE_MAX, f"scale {scale}"
    rows = _dots(code, number)
    width, height = scale * len(rows[0]), scale * len(rows)
    lines = b"".join(_line(row, scale) * scale for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _dots(code: str, number: str) -> list[bytearray]:
    """Return the picture as rows of dots, 1 being black: frame, code, the number and the words under it."""
    modules = segno.make_qr(code, error="m", boost_error=True).matrix
    drawn = DOTS_A_MODULE * len(modules)
    quiet = DOTS_A_MODULE * QUIET_MODULES + FRAME_DOTS
    texts = (number, WORDS)
    width = max(drawn + 2 * quiet, max(map(_text_width, texts)) + 2 * quiet)
    below = quiet + drawn + DOTS_A_MODULE * QUIET_MODULES
    rows = [bytearray(width) for _ in range(below + len(texts) * LINE_DOTS + FRAME_DOTS)]
    left = (width - drawn) // 2
    for y in range(drawn):
        for x in range(drawn):
            rows[quiet + y][left + x] = modules[y // DOTS_A_MODULE][x // DOTS_A_MODULE]
    for line, text in enumerate(texts):
        _write(rows, text, (width - _text_width(text)) // 2, below + line * LINE_DOTS)
    _frame(rows)
    return rows


def _frame(rows: list[bytearray]) -> None:
    width = len(rows[0])
    for y, row in enumerate(rows):
        if y < FRAME_DOTS or y >= len(rows) - FRAME_DOTS:
            row[:] = b"\1" * width
        row[:FRAME_DOTS] = row[-FRAME_DOTS:] = b"\1" * FRAME_DOTS


def _text_width(text: str) -> int:
    return (GLYPH_WIDTH + 1) * len(text) - 1


def _write(rows: list[bytearray], text: str, left: int, top: int) -> None:
    for place, letter in enumerate(text):
        for y, bits in enumerate(bytes.fromhex(_GLYPHS[letter])):
            for x in range(GLYPH_WIDTH):
                if bits >> (GLYPH_WIDTH - 1 - x) & 1:
                    rows[top + y][left + place * (GLYPH_WIDTH + 1) + x] = 1


def _blocks(rows: list[bytearray]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (row, first dot, length, height) of black blocks: runs of dots that are the same in rows on end."""
    going: dict[tuple[int, int], int] = {}
    for y in range(len(rows) + 1):
        here = set(_runs(rows[y])) if y < len(rows) else set()
        for run in sorted(going.keys() - here):
            top = going.pop(run)
            yield top, *run, y - top
        for run in here:
            going.setdefault(run, y)


def _runs(row: bytearray) -> Iterator[tuple[int, int]]:
    """Yield (first dot, length) of each run of black dots."""
    x = 0
    while (x := row.find(1, x)) >= 0:
        end = row.find(0, x)
        end = len(row) if end < 0 else end
        yield x, end - x
        x = end


def _line(row: bytearray, scale: int) -> bytes:
    """Return one line of a PNG without filter: a bit a pixel, white being 1, padded with white."""
    text = "".join(("0" if dot else "1") * scale for dot in row)
    bits = text + "1" * (-len(text) % 8)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
