"""The characters of an XML file: find its encoding, decode it strictly, give it on as UTF-8.

The parser then sees UTF-8 only, so a file cannot say one encoding to a filter and another to us. Source: XML 1.0,
appendix F.

Messages of China's payment systems (CNAPS 2) stand behind two text blocks, `{H:...}` for their way through the network
and `{S:...}` for a signature: these are passed over. Lines are counted from where the XML begins.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from chainnode.ingest.errors import XmlError

_DECLARATION = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")
_UTF16 = "utf-16"
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "windows-1252": "cp1252",
    "gb2312": "gb18030",  # GB 18030 contains both of its elders
    "gbk": "gb18030",
    "gb18030": "gb18030",
}
_DECLARATION_SCAN_BYTES = 512
PIECE_BYTES = 1024 * 1024
BLOCKS_BYTES_MAX = 4096
_BLOCKS = re.compile(rb"(?:\{[A-Z]:[^{}<>]{0,3000}\}\s{0,8}){1,4}(?=<)")


def without_blocks(data: bytes) -> bytes:
    """Return a file from its XML on, where text blocks of CNAPS 2 stand before it; any other file as it is."""
    if not data.startswith(b"{"):
        return data
    match = _BLOCKS.match(data[:BLOCKS_BYTES_MAX])
    return data if match is None else data[match.end() :]


def to_utf8(data: bytes, *, where: str) -> bytes:
    """Return the file's text as UTF-8 without a byte order mark; XmlError where the encoding is unknown or broken.

    Text is decoded piece by piece, so that a large file does not stand in memory a second time, as characters.
    """
    body, codec = _sniff(without_blocks(data), where)
    pieces = _decoded(body, codec, where)
    if codec == "utf-8":
        for _ in pieces:  # the parser would find a bad byte too, but not say which
            pass
        return body
    return b"".join(piece.encode() for piece in pieces)


def _sniff(data: bytes, where: str) -> tuple[bytes, str]:
    """Return the bytes after a byte order mark and the codec, judged by mark, first bytes and declaration."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise _unknown("UTF-32", where)
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return _checked_utf16(data[len(mark) :], codec, where)
    if data.startswith((b"<\0", b"\0<")):
        return _checked_utf16(data, "utf-16-le" if data.startswith(b"<") else "utf-16-be", where)
    marked = data.startswith(codecs.BOM_UTF8)
    body = data[len(codecs.BOM_UTF8) :] if marked else data
    declared = _declared(body)
    if declared.startswith(_UTF16):
        raise _contradiction("single bytes", declared, where)
    codec = _CODECS.get(declared, "") if declared else "utf-8"
    if not codec:
        raise _unknown(declared, where)
    if marked and codec != "utf-8":
        raise _contradiction("UTF-8", declared, where)
    return body, codec


def _checked_utf16(body: bytes, codec: str, where: str) -> tuple[bytes, str]:
    head = body[:_DECLARATION_SCAN_BYTES].decode(codec, "replace").encode("ascii", "replace")
    declared = _declared(head)
    if declared and declared not in (_UTF16, codec):
        raise _contradiction("UTF-16", declared, where)
    return body, codec


def _declared(body: bytes) -> str:
    match = _DECLARATION.match(body[:_DECLARATION_SCAN_BYTES])
    return match.group(1).decode("ascii").lower() if match else ""


def _decoded(body: bytes, codec: str, where: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)()
    for start in range(0, len(body) or 1, PIECE_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            yield decoder.decode(body[start : start + PIECE_BYTES], start + PIECE_BYTES >= len(body))
        except UnicodeDecodeError as error:
            at = min(start - pending + error.start, len(body) - 1)
            raise XmlError(
                "text is not in its encoding",
                where=f"{where}:{body.count(10, 0, at) + 1}",
                expected=codec.upper(),
                got=f"byte 0x{body[at]:02x} at offset {at}",
            ) from None


def _unknown(name: str, where: str) -> XmlError:
    known = ", ".join(sorted({*_CODECS.values(), _UTF16}))
    return XmlError("encoding not accepted", where=where, expected=known, got=name)


def _contradiction(bytes_say: str, declared: str, where: str) -> XmlError:
    return XmlError(
        "encoding contradicts itself",
        where=where,
        expected=f"what its bytes are: {bytes_say}",
        got=f"declared {declared}",
    )
