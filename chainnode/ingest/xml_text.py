"""The characters of an XML file: find its encoding, decode it strictly, give it on as UTF-8.

The parser then sees UTF-8 only, so a file cannot say one encoding to a filter and another to us. Source: XML 1.0,
appendix F.
"""

from __future__ import annotations

import codecs
import re

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


def to_utf8(data: bytes, *, where: str) -> bytes:
    """Return the file's text as UTF-8 without a byte order mark; XmlError where the encoding is unknown or broken."""
    body, codec = _sniff(data, where)
    if codec == "utf-8":
        _decode(body, codec, where)  # the parser would find it too, but not say which byte
        return body
    return _decode(body, codec, where).encode()


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


def _decode(body: bytes, codec: str, where: str) -> str:
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise XmlError(
            "text is not in its encoding",
            where=f"{where}:{line}",
            expected=codec.upper(),
            got=f"byte 0x{body[error.start]:02x} at offset {error.start}",
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
