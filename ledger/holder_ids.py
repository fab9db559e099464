"""Ids of organisations that hold certificates, with their check digits: a wrong one is found before it is signed for.

Two schemes: China's unified social credit identifier (USCC, GB 32100: 18 characters, modulo 31) and the legal entity
identifier (LEI, ISO 17442: 20 characters, modulo 97-10 of ISO 7064). Whether a block is valid hangs on this check, so
it is the project's own. Not here: whether such an organisation exists.
"""

from __future__ import annotations

import re

USCC_PATTERN = re.compile(r"[0-9A-HJ-NP-RTUW-Y]{2}[0-9]{6}[0-9A-HJ-NP-RTUW-Y]{10}")
LEI_PATTERN = re.compile(r"[0-9A-Z]{18}[0-9]{2}")
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_MODULUS = len(_USCC_ALPHABET)
_USCC_WEIGHT_BASE = 3
_LEI_MODULUS, _LEI_REMAINDER = 97, 1


def is_uscc(text: str) -> bool:
    """Say whether text is a USCC whose check character is right."""
    if not USCC_PATTERN.fullmatch(text):
        return False
    total = sum(_USCC_ALPHABET.index(c) * pow(_USCC_WEIGHT_BASE, i, _USCC_MODULUS) for i, c in enumerate(text[:-1]))
    return _USCC_ALPHABET[-total % _USCC_MODULUS] == text[-1]


def is_lei(text: str) -> bool:
    """Say whether text is an LEI whose two check digits are right."""
    if not LEI_PATTERN.fullmatch(text):
        return False
    return int("".join(str(int(c, 36)) for c in text)) % _LEI_MODULUS == _LEI_REMAINDER


def is_holder_id(text: str) -> bool:
    """Say whether text is an id by which a certificate's holder may be named."""
    return is_uscc(text) or is_lei(text)
