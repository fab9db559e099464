"""The certification mark on a certificate's page: what it is worth, whether a scanned code matches, and its picture."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.certificate_records import read_certificate
from ledger.mark_codes import BASE_CHARACTERS_MAX, check_chain, check_hash, checked_base, parse_mark
from ledger.mark_errors import MarkCodeError
from ledger.state_at import StateAt
from primitives.errors import UsageError
from rpc.errors import Code, RpcError, invalid_params
from rpc.explorer.asking import Asked, Picture, ask, path_to
from rpc.mark_pictures import mark_png, mark_svg
from rpc.methods.marks import MarkResult, get_mark, is_licensed
from rpc.ports import Services

USES_SHOWN = 25


@dataclass(frozen=True, slots=True)
class MarkShown:
    """The mark for a page: its picture where it may be used, and what came of the code by which the reader came.

    `scanned` is `matches`, `forged`, `other_chain` or `foreign_code`; None where nobody scanned anything.
    """

    result: MarkResult
    licensed: bool
    picture: str
    more_uses: int
    scanned: str | None


def mark_of(services: Services, number: str, scanned: str | None) -> MarkShown:
    """Return what the page of a certificate shows of its mark."""
    result = ask(get_mark, services, number=number)
    more = max(0, len(result.uses) - USES_SHOWN)
    picture = path_to("certificate", number, "mark.svg")
    return MarkShown(result, is_licensed(result), picture, more, _scanned(services, number, result.height, scanned))


def _scanned(services: Services, number: str, height: int, text: str | None) -> str | None:
    """Return what a code that somebody scanned is, held against the certificate of its number."""
    header, certificate = services.reads.header(height), read_certificate(StateAt(services.reads, height), number)
    if text is None or header is None or certificate is None:
        return None
    try:
        code = parse_mark(number, text)
        check_chain(code, header.chain_id)
        check_hash(code, header.chain_id, certificate)
    except MarkCodeError as error:
        return error.reason
    return "matches"


def mark_as_svg(asked: Asked) -> Picture:
    """The mark as SVG, its code leading to the page that shows it."""
    number, code = _code(asked)
    return Picture(f"{number}.svg", "image/svg+xml", mark_svg(code, number).encode())


def mark_as_png(asked: Asked) -> Picture:
    """The mark as PNG."""
    number, code = _code(asked)
    return Picture(f"{number}.png", "image/png", mark_png(code, number))


def _code(asked: Asked) -> tuple[str, str]:
    """Return a certificate's number and the code of its mark; refused unless the mark may be used now."""
    number = asked.parts["number"]
    found = ask(get_mark, asked.services, number=number)
    if not is_licensed(found):
        raise RpcError(
            Code.NOT_FOUND,
            "mark_not_licensed",
            "the mark of this certificate may not be used",
            where=number,
            expected="licensed",
            got=found.standing,
        )
    try:
        site = checked_base(asked.origin)
    except UsageError:
        expected = f"at most {BASE_CHARACTERS_MAX} characters, in small letters"
        raise invalid_params("not a site's name", where="Host", expected=expected, got=asked.origin) from None
    return number, f"{site}/certificate/{number}?mark={found.mark}"
