"""What the code of a certification mark says: a short URL with the certificate's number, its chain and a hash.

    BASE/certificate/NUMBER?mark=1.CHAIN.HASH

BASE is where an explorer is, so that a phone shows the certificate's page; CHAIN are the first 8 bytes of the chain's
id and HASH the first 16 of `mark_hash`, both in lower-case hex. The hash covers what a certificate says for all its
life and nothing that changes, so that a code printed today holds as long as its certificate, whatever its status. It is
no signature: it makes a number that somebody made up, or moved to another chain, not match. Pure. Not here: how the
code is drawn (`rpc.mark_pictures`) and found in a picture (`chainnode.scanning`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.certificate_records import Certificate
from ledger.mark_errors import ForeignCode, ForeignHost, ForgedMark, LookalikeNumber, OtherChain
from primitives.encoding import encode
from primitives.errors import UsageError
from primitives.hashing import domain_hash
from primitives.ids import Hash

VERSION: Final = "1"
CHAIN_BYTES: Final = 8
HASH_BYTES: Final = 16
BASE_CHARACTERS_MAX: Final = 120
"""A longer site makes a code of so many modules that it is hard to read on a product."""
CODE_CHARACTERS_MAX: Final = 512

_HOST = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
_BASE = re.compile(rf"https?://{_HOST}(?::[1-9][0-9]{{0,4}})?(?:/(?!\.{{1,2}}(?:/|$))[A-Za-z0-9._~-]+)*")
_CODE = re.compile(r"(?P<base>[^?#]+?)/certificate/(?P<number>[^/?#&]+)\?mark=(?P<mark>[^&#]+)", re.DOTALL)
_MARK = re.compile(
    rf"{VERSION}\.(?P<chain>[0-9a-f]{{{2 * CHAIN_BYTES}}})\.(?P<hash>[0-9a-f]{{{2 * HASH_BYTES}}})", re.ASCII
)
_LIKE_LATIN = str.maketrans("АВСЕНІЈКМОРЅТХУΑΒΕΖΗΙΚΜΝΟΡΤΥΧ‐‑‒–—−", "ABCEHIJKMOPSTXYABEZHIKMNOPTYX------")
_LIKE_DIGITS = str.maketrans("OILSB", "01158")


@dataclass(frozen=True, slots=True)
class MarkCode:
    """What a code says, not held against anything yet."""

    base: str
    number: str
    chain: bytes
    hash: bytes

    @property
    def text(self) -> str:
        """The code as it is written."""
        return f"{self.base}/certificate/{self.number}?mark={self.mark}"

    @property
    def mark(self) -> str:
        """The part after the number: version, chain and hash."""
        return f"{VERSION}.{self.chain.hex()}.{self.hash.hex()}"


def mark_hash(chain_id: Hash, certificate: Certificate) -> bytes:
    """Return the hash of what a certificate says for all its life, as a code holds it."""
    said = (
        chain_id,
        certificate.number,
        certificate.application,
        certificate.holder,
        certificate.holder_name,
        certificate.product,
        certificate.category,
        certificate.catalogue,
        certificate.body,
        certificate.valid_from_ms,
        certificate.valid_until_ms,
        certificate.predecessor,
    )
    return domain_hash("certificate-mark", encode(said))[:HASH_BYTES]


def mark_code(base: str, chain_id: Hash, certificate: Certificate) -> MarkCode:
    """Return the code of a certificate's mark that leads to the explorer at `base`; UsageError where that is no URL."""
    return MarkCode(checked_base(base), certificate.number, chain_id[:CHAIN_BYTES], mark_hash(chain_id, certificate))


def checked_base(base: str) -> str:
    """Return the URL of an explorer as codes hold it, without a slash at its end."""
    found = base.rstrip("/")
    if len(found) > BASE_CHARACTERS_MAX or _BASE.fullmatch(found) is None:
        expected = (
            f"such as https://explorer.example, at most {BASE_CHARACTERS_MAX} characters, the host in small letters"
        )
        raise UsageError("not the URL of an explorer", expected=expected, got=base)
    return found


def parse_mark_code(text: str) -> MarkCode:
    """Return what a code says; `ForeignCode`, or `LookalikeNumber` where its number only looks like one."""
    if len(text) > CODE_CHARACTERS_MAX:
        raise ForeignCode(
            "not the code of a certification mark", expected=f"at most {CODE_CHARACTERS_MAX} characters", got=len(text)
        )
    match = _CODE.fullmatch(text)
    if match is None:
        raise _foreign(text)
    number = match["number"]
    if re.search(NUMBER_PATTERN, number) is None:
        raise _not_a_number(number, text)
    mark = _MARK.fullmatch(match["mark"])
    if mark is None or _BASE.fullmatch(match["base"]) is None or len(match["base"]) > BASE_CHARACTERS_MAX:
        raise _foreign(text)
    return MarkCode(match["base"], number, bytes.fromhex(mark["chain"]), bytes.fromhex(mark["hash"]))


def parse_mark(number: str, text: str) -> MarkCode:
    """Return what the query of a certificate's page says, its base left empty; `ForeignCode` where it is no mark's."""
    mark = _MARK.fullmatch(text)
    if mark is None:
        raise _foreign(text)
    return MarkCode("", number, bytes.fromhex(mark["chain"]), bytes.fromhex(mark["hash"]))


def check_host(code: MarkCode, bases: Collection[str]) -> None:
    """Raise `ForeignHost` unless a code leads to one of these explorers."""
    if code.base not in bases:
        raise ForeignHost(
            "the code leads to another site",
            expected=" or ".join(sorted(bases)),
            got=code.base,
            hint="do not open it; name the chain's other explorers with --url",
        )


def check_chain(code: MarkCode, chain_id: Hash) -> None:
    """Raise `OtherChain` unless a code is of this chain."""
    if code.chain != chain_id[:CHAIN_BYTES]:
        raise OtherChain("the code is of another chain", expected=chain_id[:CHAIN_BYTES], got=code.chain)


def check_hash(code: MarkCode, chain_id: Hash, certificate: Certificate) -> None:
    """Raise `ForgedMark` unless a code holds the hash of this certificate, which is the one of its number."""
    expected = mark_hash(chain_id, certificate)
    if code.number != certificate.number or code.hash != expected:
        raise ForgedMark(
            f"the code does not match certificate {certificate.number}",
            expected=expected,
            got=code.hash,
            hint="report it with `chainnode cert mark report`",
        )


def looks_like(text: str) -> str | None:
    """Return the number that a person would read, None where nobody would take the text for a number."""
    letters = unicodedata.normalize("NFKC", unquote(text)).upper().translate(_LIKE_LATIN)
    parts = letters.split("-")
    if len(parts) == 4:
        letters = "-".join([parts[0], *(part.translate(_LIKE_DIGITS) for part in parts[1:])])
    return letters if re.search(NUMBER_PATTERN, letters) else None


def _not_a_number(number: str, text: str) -> ForeignCode | LookalikeNumber:
    meant = looks_like(number)
    if meant is None:
        return _foreign(text)
    shown = number.encode("ascii", "backslashreplace").decode()
    return LookalikeNumber(
        "the code's number only looks like one",
        expected=f"{meant}, in A to Z, 0 to 9 and hyphens",
        got=shown,
        hint="report it with `chainnode cert mark report`",
    )


def _foreign(text: str) -> ForeignCode:
    expected = f"SITE/certificate/NUMBER?mark={VERSION}.CHAIN.HASH"
    return ForeignCode("not the code of a certification mark", expected=expected, got=text)
