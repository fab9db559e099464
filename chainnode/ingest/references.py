"""Checks of the codes that institutions, payments and certificates go by: BIC, LEI, CNAPS, UETR, IBAN.

Shape and check digits only: whether an institution exists is not known here. Sources: ISO 9362 (BIC), ISO 17442 with
ISO 7064 MOD 97-10 (LEI), CNAPS line numbers of 12 digits, RFC 9562 version 4 as ISO 20022 writes it (UETR), ISO 13616
with the same check digits (IBAN; an account is private, so what was wrong with it is told without it).
"""

from __future__ import annotations

import re

from ledger.payments import BIC_PATTERN, CERTIFICATE_NUMBER_PATTERN, CNAPS_PATTERN, LEI_PATTERN, AgentScheme
from primitives.errors import InputError

_BIC = re.compile(BIC_PATTERN)
_LEI = re.compile(LEI_PATTERN)
_CNAPS = re.compile(CNAPS_PATTERN)
_CERTIFICATE = re.compile(CERTIFICATE_NUMBER_PATTERN)
_UETR = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Za-z0-9]{11,30}")
_REASON = re.compile(r"[A-Z0-9]{4}")


def check_bic(text: str, *, where: str | None = None) -> str:
    """Return `text` if it has the shape of a BIC of 8 or 11 characters; InputError otherwise."""
    return _matching(_BIC, text, "not a BIC", "8 or 11 characters such as BKAACNBJXXX", where)


def check_lei(text: str, *, where: str | None = None) -> str:
    """Return `text` if it is an LEI with right check digits; InputError otherwise."""
    _matching(_LEI, text, "not an LEI", "18 letters or digits and 2 check digits", where)
    if _remainder(text) != 1:
        raise InputError("LEI has wrong check digits", where=where, expected="remainder 1 modulo 97", got="another")
    return text


def check_iban(text: str, *, where: str | None = None) -> str:
    """Return `text` if it is an IBAN with right check digits; InputError otherwise, which does not repeat it."""
    got = f"{len(text)} characters"
    if _IBAN.fullmatch(text) is None:
        expected = "2 capitals, 2 check digits, then letters and digits, without spaces"
        raise InputError("not an IBAN", where=where, expected=expected, got=got)
    if _remainder(text[4:] + text[:4]) != 1:
        raise InputError("IBAN has wrong check digits", where=where, expected="remainder 1 modulo 97", got=got)
    return text


def _remainder(text: str) -> int:
    """Return ISO 7064's remainder modulo 97: letters count as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in text)) % 97


def check_cnaps(text: str, *, where: str | None = None) -> str:
    """Return `text` if it has the shape of a CNAPS line number; InputError otherwise."""
    return _matching(_CNAPS, text, "not a CNAPS code", "12 digits", where)


def check_uetr(text: str, *, where: str | None = None) -> bytes:
    """Return the 16 bytes of a UETR; InputError unless it is a lower-case UUID of version 4."""
    _matching(_UETR, text, "not a UETR", "a lower-case UUID of version 4", where)
    return bytes.fromhex(text.replace("-", ""))


def check_reason(text: str, *, where: str | None = None) -> str:
    """Return `text` if it has the shape of an ISO 20022 external reason code (`AC04`); InputError otherwise."""
    return _matching(_REASON, text, "not a reason code", "4 capital letters or digits", where)


def check_certificate_number(text: str, *, where: str | None = None) -> str:
    """Return `text` if it has the shape of a certificate's number; InputError otherwise."""
    return _matching(_CERTIFICATE, text, "not a certificate number", "such as FTP-2026-06-000123", where)


def agent_code(text: str, *, where: str | None = None) -> tuple[AgentScheme, str]:
    """Return the scheme that a code of an institution belongs to, and the code; InputError if none fits."""
    if _CNAPS.fullmatch(text):
        return AgentScheme.CNAPS, text
    if _LEI.fullmatch(text):
        return AgentScheme.LEI, check_lei(text, where=where)
    return AgentScheme.BIC, check_bic(text, where=where)


def same_code(code: str) -> str:
    """Return the form in which codes are compared: a BIC of 8 characters names the head office, XXX."""
    return code + "XXX" if len(code) == 8 else code


def head_office(code: str) -> str:
    """Return the code of the head office that a BIC of 11 characters is a branch of; other codes stay as they are."""
    return code[:8] + "XXX" if len(code) == 11 else code


def _matching(pattern: re.Pattern[str], text: str, what: str, expected: str, where: str | None) -> str:
    if pattern.fullmatch(text) is None:
        # Not the text: where a column is off by one, this is an account or a name.
        raise InputError(what, where=where, expected=expected, got=f"{len(text)} characters")
    return text
