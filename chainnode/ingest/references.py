"""Checks of the codes that institutions, payments and certificates go by: BIC, LEI, CNAPS, UETR, IBAN.

Shape, country and check digits: whether an institution exists is not known here. Sources: ISO 9362 (BIC), ISO 17442
with ISO 7064 MOD 97-10 (LEI), the numbers of China's payment systems with 11 digits and one of ISO 7064 MOD 11,10
(CNAPS; GB/T 17710), RFC 9562 version 4 as ISO 20022 writes it (UETR), ISO 13616 with the registry of its countries
(IBAN; an account is private, so what was wrong with it is told without it).

The rules are schwifty's (BIC, IBAN) and python-stdnum's (LEI, MOD 11,10). Both are imported with the first code of
theirs: together they take 55 ms and 13 MB, which `--help` does not pay. Institutions are few and come again, so what
was judged of their codes is remembered, up to `MEMORY_ENTRIES` of each; accounts are not.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ledger.payments import BIC_PATTERN, CERTIFICATE_NUMBER_PATTERN, CNAPS_PATTERN, LEI_PATTERN, AgentScheme
from primitives.errors import InputError

MEMORY_ENTRIES = 8_192

_BIC = re.compile(BIC_PATTERN)
_LEI = re.compile(LEI_PATTERN)
_CNAPS = re.compile(CNAPS_PATTERN)
_CERTIFICATE = re.compile(CERTIFICATE_NUMBER_PATTERN)
_UETR = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Za-z0-9]{1,30}", re.ASCII)
_REASON = re.compile(r"[A-Z0-9]{4}")


def check_bic(text: str, *, where: str | None = None) -> str:
    """Return `text` if it is a BIC of 8 or 11 characters in a country that there is; InputError otherwise."""
    _matching(_BIC, text, "not a BIC", "8 or 11 characters such as BKAACNBJXXX", where)
    if not _is_bic(text):
        expected = "a country of ISO 3166 in characters 5 and 6"
        raise InputError("BIC of no country", where=where, expected=expected, got=repr(text[4:6]))
    return text


@lru_cache(maxsize=MEMORY_ENTRIES)
def _is_bic(text: str) -> bool:
    from schwifty import BIC

    # Kosovo has BICs under a code that ISO 3166 leaves to its users.
    return text[4:6] == "XK" or BIC(text, allow_invalid=True).is_valid


def check_lei(text: str, *, where: str | None = None) -> str:
    """Return `text` if it is an LEI with right check digits; InputError otherwise."""
    _matching(_LEI, text, "not an LEI", "18 letters or digits and 2 check digits", where)
    if not _is_lei(text):
        raise InputError("LEI has wrong check digits", where=where, expected="remainder 1 modulo 97", got="another")
    return text


@lru_cache(maxsize=MEMORY_ENTRIES)
def _is_lei(text: str) -> bool:
    from stdnum import lei

    return lei.is_valid(text)


def check_iban(text: str, *, where: str | None = None) -> str:
    """Return the IBAN in capitals, if form of its country and check digits are right.

    InputError otherwise, which does not repeat it.
    """
    got = f"{len(text)} characters"
    if _IBAN.fullmatch(text) is None:
        expected = "2 capitals, 2 check digits, then letters and digits, without spaces"
        raise InputError("not an IBAN", where=where, expected=expected, got=got)
    from schwifty import IBAN
    from schwifty.exceptions import InvalidChecksumDigits, InvalidCountryCode, SchwiftyException

    try:
        return str(IBAN(text))
    except InvalidChecksumDigits:
        raise InputError(
            "IBAN has wrong check digits", where=where, expected="remainder 1 modulo 97", got=got
        ) from None
    except InvalidCountryCode:
        raise InputError(
            "IBAN of a country that has none", where=where, expected="a country of ISO 13616's registry", got=got
        ) from None
    except SchwiftyException:
        expected = "length and digits as its country has them"
        raise InputError("IBAN not of its country's form", where=where, expected=expected, got=got) from None


def check_cnaps(text: str, *, where: str | None = None) -> str:
    """Return `text` if it is a CNAPS line number with a right check digit; InputError otherwise."""
    _matching(_CNAPS, text, "not a CNAPS code", "12 digits", where)
    if not _is_cnaps(text):
        expected = "a last digit by ISO 7064 MOD 11,10"
        raise InputError("CNAPS code has a wrong check digit", where=where, expected=expected, got="another")
    return text


@lru_cache(maxsize=MEMORY_ENTRIES)
def _is_cnaps(text: str) -> bool:
    from stdnum.iso7064 import mod_11_10

    return mod_11_10.is_valid(text)


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
        return AgentScheme.CNAPS, check_cnaps(text, where=where)
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
