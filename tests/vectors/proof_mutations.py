"""Mutations of any proof: of its text, of the note in it, of the bytes of its extra data; by name, from a seed.

Each function yields (name, mutated bytes). What a mutation of the kinds' own fields is stands in `proof_lies`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from random import Random

Named = Iterator[tuple[str, bytes]]
ZEROS = base64.b64encode(bytes(32)) + b"\n"
HUGE = 100_000


def flips(data: bytes, count: int, seed: str, what: str) -> Named:
    """Yield flips of one bit at places that are spread over the bytes."""
    random = Random(seed)
    for number in range(count):
        place = len(data) * number // count + random.randrange(max(1, len(data) // count))
        place = min(place, len(data) - 1)
        bit = random.randrange(8)
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        yield f"{what}: a bit flipped in part {number} of {count}", bytes(changed)


def cuts(data: bytes, count: int, what: str) -> Named:
    """Yield truncations."""
    for number in range(count):
        size = len(data) * number // count
        yield f"{what}: cut after part {number} of {count}", data[:size]
    yield f"{what}: its last byte missing", data[:-1]


def encodings(text: bytes) -> Named:
    """Yield the text in other encodings and with characters that no proof has."""
    yield "text: CR LF at the end of each line", text.replace(b"\n", b"\r\n")
    yield "text: CR LF at the end of the first line", text.replace(b"\n", b"\r\n", 1)
    yield "text: CR for LF", text.replace(b"\n", b"\r")
    yield "text: a byte order mark first", b"\xef\xbb\xbf" + text
    yield "text: in UTF-16", text.decode().encode("utf-16")
    yield "text: a NUL first", b"\0" + text
    yield "text: a NUL at the end", text + b"\0"
    yield "text: a NUL in the first line", text.replace(b"\n", b"\0\n", 1)
    yield "text: a byte that is not UTF-8", text + b"\xff\n"
    yield "text: a lone surrogate as three bytes", text + b"\xed\xa0\x80\n"
    yield "text: a surrogate in the first line", text.replace(b"\n", b"\xed\xb3\xbf\n", 1)
    yield "text: an overlong newline", text.replace(b"\n", b"\xc0\x8a", 1)
    yield "text: a line separator of Unicode", text.replace(b"\n", b"\xe2\x80\xa8", 1)
    yield "text: an empty line first", b"\n" + text
    yield "text: a space first", b" " + text
    yield "text: a space at the end", text + b" "
    yield "text: the newline at the end missing", text[:-1]
    yield "text: another newline at the end", text + b"\n"
    yield "text: twice", text + text
    yield "text: nothing", b""
    yield "text: a newline", b"\n"


def heads(text: bytes) -> Named:
    """Yield a tlog-proof's text with another head: heading, extra data's line, index, path."""
    heading, extra, index, rest = text.split(b"\n", 3)
    path, _, note = rest.partition(b"\n\n") if not rest.startswith(b"\n") else (b"", b"", rest[1:])

    def of(*lines: bytes) -> bytes:
        return b"\n".join((*lines, b"", note))

    hashes = path.split(b"\n") if path else []
    yield "heading: missing", of(extra, index, *hashes)
    yield "heading: of version 2", of(b"c2sp.org/tlog-proof@v2", extra, index, *hashes)
    yield "heading: in capitals", of(heading.upper(), extra, index, *hashes)
    yield "heading: a space behind it", of(heading + b" ", extra, index, *hashes)
    yield "heading: twice", of(heading, heading, extra, index, *hashes)
    yield "extra: its line missing", of(heading, index, *hashes)
    yield "extra: its line twice", of(heading, extra, extra, index, *hashes)
    yield "extra: nothing", of(heading, b"extra ", index, *hashes)
    yield "extra: without its word", of(heading, extra[6:], index, *hashes)
    yield "extra: another word", of(heading, b"Extra " + extra[6:], index, *hashes)
    yield "extra: two spaces", of(heading, b"extra  " + extra[6:], index, *hashes)
    yield "extra: a tab", of(heading, b"extra\t" + extra[6:], index, *hashes)
    yield "extra: behind the index", of(heading, index, extra, *hashes)
    for name, line in spellings(extra[6:]):
        yield f"extra: {name}", of(heading, b"extra " + line, index, *hashes)
    number = int(index[6:])
    yield "index: its line missing", of(heading, extra, *hashes)
    yield "index: its line twice", of(heading, extra, index, index, *hashes)
    for name, said in (
        ("one less", number - 1),
        ("one more", number + 1),
        ("0", 0 if number else 7),
        ("2^32 more", 2**32 + number),
        ("2^31", 2**31),
        ("2^53", 2**53),
        ("2^63 - 1", 2**63 - 1),
        ("2^63", 2**63),
        ("2^64", 2**64),
    ):
        yield f"index: {name}", of(heading, extra, b"index %d" % said, *hashes)
    for name, said_text in (
        ("a zero before it", b"index 0%d" % number),
        ("a plus before it", b"index +%d" % number),
        ("hexadecimal", b"index 0x%x" % number),
        ("a fraction", b"index %d.0" % number),
        ("an exponent", b"index %de0" % number),
        ("an underscore", b"index 1_%d" % number),
        ("a space behind it", b"index %d " % number),
        ("two spaces", b"index  %d" % number),
        ("full-width digits", f"index {number}".translate({48 + i: 0xFF10 + i for i in range(10)}).encode()),
        ("none", b"index "),
        ("of 5,000 digits", b"index " + b"9" * 5_000),
    ):
        yield f"index: {name}", of(heading, extra, said_text, *hashes)
    for name, changed in paths(hashes):
        yield f"path: {name}", of(heading, extra, index, *changed)


def paths(hashes: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the lines of a path, truncated, padded, in another order and spelled otherwise."""
    zeros = ZEROS.strip()
    yield "a hash more", [*hashes, zeros]
    yield "a hash more at its beginning", [zeros, *hashes]
    yield "up to 63 hashes", [*hashes, *[zeros] * (63 - len(hashes))]
    yield "64 hashes", [*hashes, *[zeros] * (64 - len(hashes))]
    yield "10,000 hashes", [*hashes, *[zeros] * 10_000]
    if not hashes:
        return
    yield "nothing", []
    yield "an empty line in it", [hashes[0], b"", *hashes[1:]]
    for place in sorted({0, len(hashes) // 2, len(hashes) - 1}):
        yield f"hash {place} missing", hashes[:place] + hashes[place + 1 :]
        yield f"hash {place} twice", hashes[: place + 1] + hashes[place:]
        yield f"hash {place} of zeros", [*hashes[:place], zeros, *hashes[place + 1 :]]
    for place in range(len(hashes)):
        data = bytearray(base64.b64decode(hashes[place]))
        data[place % 32] ^= 1 << place % 8
        yield f"a bit of hash {place} flipped", [*hashes[:place], base64.b64encode(data), *hashes[place + 1 :]]
    if len(hashes) > 1:
        yield "turned round", hashes[::-1]
        for place in range(len(hashes) - 1):
            swapped = [*hashes]
            swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
            yield f"hashes {place} and {place + 1} swapped", swapped
    first = base64.b64decode(hashes[0])
    yield "a hash of 31 bytes", [base64.b64encode(first[:31]), *hashes[1:]]
    yield "a hash of 33 bytes", [base64.b64encode(first + b"\0"), *hashes[1:]]
    yield "a hash in hex", [first.hex().encode(), *hashes[1:]]
    for name, line in spellings(hashes[0]):
        yield f"first hash {name}", [line, *hashes[1:]]


def spellings(line: bytes) -> Named:
    """Yield other spellings of the same bytes in base64."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bare = line.rstrip(b"=")
    yield "with a space in it", line[:8] + b" " + line[8:]
    yield "with a tab behind it", line + b"\t"
    yield "with a carriage return behind it", line + b"\r"
    yield "with more padding", line + b"="
    yield "with a star in it", line[:8] + b"*" + line[9:]
    yield "begun with padding", b"=" + line
    if bare != line:
        yield "without its padding", bare
        last = bytes([alphabet[alphabet.index(bare[-1:]) | 1]])
        if last != bare[-1:]:
            yield "with bits set that no byte has", bare[:-1] + last + line[len(bare) :]
    other = line.replace(b"+", b"-").replace(b"/", b"_")
    if other != line:
        yield "in the alphabet for addresses", other


def notes(text: bytes, start: int = 0) -> Named:
    """Yield a text whose note, from `start` on, says or is signed otherwise."""
    head, note = text[:start], text[start:]
    body, _, tail = note.partition(b"\n\n")
    origin, size, root = body.split(b"\n")
    lines = tail.split(b"\n")[:-1]

    def said(*body_lines: bytes) -> bytes:
        return head + b"\n".join((*body_lines, b"", *lines, b""))

    def signed(*signatures: bytes) -> bytes:
        return head + b"\n".join((body, b"", *signatures, b""))

    number = int(size)
    for name, other in (
        ("in capitals", origin.upper()),
        ("another name", b"x" + origin),
        ("another chain's id", origin[:-64] + b"00" * 32),
        ("a letter of the id changed", origin[:-1] + (b"0" if origin[-1:] != b"0" else b"1")),
        ("without the id", origin[:-65]),
        ("a space behind it", origin + b" "),
        ("nothing", b""),
    ):
        yield f"origin: {name}", said(other, size, root)
    for name, count in (
        ("one less", number - 1),
        ("one more", number + 1),
        ("0", 0),
        ("2^53", 2**53),
        ("2^63 - 1", 2**63 - 1),
        ("2^63", 2**63),
        ("2^64", 2**64),
        ("negative", -number),
    ):
        yield f"size: {name}", said(origin, b"%d" % count, root)
    for name, other in (("a zero before it", b"0" + size), ("a plus before it", b"+" + size), ("nothing", b"")):
        yield f"size: {name}", said(origin, other, root)
    raw = base64.b64decode(root)
    yield "root: of zeros", said(origin, size, base64.b64encode(bytes(32)))
    yield "root: a bit flipped", said(origin, size, base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])))
    yield "root: of 31 bytes", said(origin, size, base64.b64encode(raw[:-1]))
    yield "root: of 64 bytes", said(origin, size, base64.b64encode(raw * 2))
    for name, line in spellings(root):
        yield f"root: {name}", said(origin, size, line)
    yield "checkpoint: an extension line", said(origin, size, root, b"extension")
    yield "checkpoint: an empty line more", said(origin, size, root, b"")
    yield "checkpoint: origin and size swapped", said(size, origin, root)
    yield "checkpoint: without a root", said(origin, size)
    yield "signatures: none", signed()
    yield "signatures: only the log's", signed(lines[0])
    yield "signatures: without the log's", signed(*lines[1:])
    yield "signatures: the log's repeated in place of the cosigners'", signed(*[lines[0]] * len(lines))
    for place in range(1, len(lines)):
        name = f"signatures: cosigner {place}"
        yield f"{name} missing", signed(*lines[:place], *lines[place + 1 :])
        other = lines[1 if place != 1 else 2]
        yield f"{name} replaced by another one repeated", signed(*lines[:place], other, *lines[place + 1 :])
        yield (
            f"{name} under another one's name",
            signed(*lines[:place], _under(lines[place], other), *lines[place + 1 :]),
        )
        yield (
            f"{name} with another one's bytes",
            signed(*lines[:place], _under(other, lines[place]), *lines[place + 1 :]),
        )
    for place, line in enumerate(lines):
        name = "the log" if place == 0 else f"cosigner {place}"
        for what, changed in _line_changes(line):
            yield f"signatures: {name}, {what}", signed(*lines[:place], changed, *lines[place + 1 :])
    yield (
        "signatures: only the first cosigner, as often as there are lines",
        signed(lines[0], *[lines[1]] * (len(lines) - 1)),
    )
    yield "signatures: 257 lines", signed(*lines, *[lines[0]] * (257 - len(lines)))
    yield "signatures: 20,000 lines", signed(*lines, *[lines[1]] * 20_000)
    yield "signatures: an empty line between them", signed(lines[0], b"", *lines[1:])
    yield "signatures: text behind them", signed(*lines, b"and more")


def _under(line: bytes, other: bytes) -> bytes:
    """Return a signature line under the name of another one, the bytes of its signature unchanged."""
    _, name, _ = other.split(b" ")
    dash, _, data = line.split(b" ")
    raw, id_ = base64.b64decode(data), base64.b64decode(other.split(b" ")[2])[:4]
    return b" ".join((dash, name, base64.b64encode(id_ + raw[4:])))


def _line_changes(line: bytes) -> Named:
    dash, name, data = line.split(b" ")
    raw = base64.b64decode(data)

    def of(changed: bytes) -> bytes:
        return b" ".join((dash, name, base64.b64encode(changed)))

    def flipped(place: int, bit: int = 0) -> bytes:
        changed = bytearray(raw)
        changed[place] ^= 1 << bit
        return of(bytes(changed))

    yield "first bit of the key's id flipped", flipped(0, 7)
    yield "first byte behind the key's id changed", flipped(4)
    yield "a bit of the point flipped", flipped(len(raw) - 40, 3)
    yield "last bit flipped", flipped(len(raw) - 1, 7)
    yield "the group's order added to the scalar", of(_with_order(raw))
    yield "a signature of zeros", of(raw[:-64] + bytes(64))
    yield "a signature of a small point and zero", of(raw[:-64] + b"\1" + bytes(63))
    yield "a byte missing", of(raw[:-1])
    yield "a byte more", of(raw + b"\0")
    yield "no signature behind the id", of(raw[:4])
    yield "a hyphen for the dash", b" ".join((b"-", name, data))
    yield "two spaces", b"  ".join((dash, name, data))
    yield "a word more", line + b" x"
    yield "another name", b" ".join((dash, name + b"x", data))
    if len(raw) == 76:
        yield "a second later", of(raw[:4] + (int.from_bytes(raw[4:12], "big") + 1).to_bytes(8, "big") + raw[12:])
        yield "at a time of 2^63", of(raw[:4] + (2**63).to_bytes(8, "big") + raw[12:])
        yield "without its time", of(raw[:4] + raw[12:])


def _with_order(raw: bytes) -> bytes:
    """Return a signature with the group's order added to its scalar: a lax verifier takes it for the same."""
    order = 2**252 + 27742317777372353535851937790883648493
    return raw[:-32] + (int.from_bytes(raw[-32:], "little") + order).to_bytes(32, "little")


def shapes(extra: bytes) -> Named:
    """Yield extra data in other forms of MessagePack, with huge counts, or nested deeply."""
    count = extra[0] & 15
    rest = extra[1:]
    version, behind = extra[1], extra[2:]
    yield "a long array head of 16 bits", b"\xdc\x00" + bytes([count]) + rest
    yield "a long array head of 32 bits", b"\xdd\x00\x00\x00" + bytes([count]) + rest
    yield "a field more", bytes([extra[0] + 1]) + rest + b"\xc0"
    yield "a field fewer", bytes([extra[0] - 1]) + rest
    yield "its last field missing", bytes([extra[0] - 1]) + rest[:-1]
    yield "a map", bytes([0x80 | count]) + rest
    yield "the version in 8 bits", extra[:1] + b"\xcc" + bytes([version]) + behind
    yield "the version in signed 8 bits", extra[:1] + b"\xd0" + bytes([version]) + behind
    yield "the version in 16 bits", extra[:1] + b"\xcd\x00" + bytes([version]) + behind
    yield "the version in 32 bits", extra[:1] + b"\xce\x00\x00\x00" + bytes([version]) + behind
    yield "the version in 64 bits", extra[:1] + b"\xcf" + bytes(7) + bytes([version]) + behind
    yield "the version as a float", extra[:1] + b"\xcb" + {1: b"\x3f\xf0", 2: b"\x40\x00"}[version] + bytes(6) + behind
    yield "the version as text", extra[:1] + b"\xa1" + str(version).encode() + behind
    yield "the version as nil", extra[:1] + b"\xc0" + behind
    yield "the version as true", extra[:1] + b"\xc3" + behind
    yield "the version as an extension", extra[:1] + b"\xd4\x01" + bytes([version]) + behind
    for number in sorted({0, version - 1, version + 1, 127}):
        yield f"of version {number}", extra[:1] + bytes([number]) + behind
    yield "of version -1", extra[:1] + b"\xff" + behind
    yield "of version 2^64 - 1", extra[:1] + b"\xcf" + b"\xff" * 8 + behind
    yield "a byte behind the end", extra + b"\0"
    yield "nil behind the end", extra + b"\xc0"
    yield "twice", extra + extra
    yield "an array of 2^32 - 1 fields", b"\xdd\xff\xff\xff\xff" + rest
    yield "bytes of 2^32 - 1", extra[:2] + b"\xc6\xff\xff\xff\xff" + behind
    yield "nothing but the head of a huge array", b"\xdd\xff\xff\xff\xff"
    yield "nil", b"\xc0"
    yield "an empty array", b"\x90"
    yield f"{HUGE:,} arrays in one another", b"\x91" * HUGE
    yield f"an array of {HUGE:,} nils", b"\xdd" + HUGE.to_bytes(4, "big") + b"\xc0" * HUGE
    yield "a byte that MessagePack does not use", b"\xc1" + rest
    yield "JSON", b'{"version":%d}' % version
    yield from _long_forms(extra)


def _long_forms(extra: bytes) -> Named:
    """Yield the first text, bytes of 32, and array of bytes in longer forms than they need."""
    place = extra.find(b"\xc4\x20")
    yield "bytes with a length of 16 bits", extra[:place] + b"\xc5\x00\x20" + extra[place + 2 :]
    yield "bytes with a length of 32 bits", extra[:place] + b"\xc6\x00\x00\x00\x20" + extra[place + 2 :]
    yield "bytes as text", extra[:place] + b"\xd9\x20" + extra[place + 2 :]
    last = extra.rfind(b"\xc4\x20")
    if last != place:
        yield "the last bytes with a length of 16 bits", extra[:last] + b"\xc5\x00\x20" + extra[last + 2 :]
        yield "the last bytes of 31", extra[:last] + b"\xc4\x1f" + extra[last + 2 : last + 33] + extra[last + 34 :]
