"""JSON Web Signatures with a member's Ed25519 key, and that key as others write it: JWK and did:key.

Source: RFC 7515 and 7519 (compact form), RFC 8037 (EdDSA, OKP keys), the W3C's did:key method, Multibase and
Multicodec. Pure; there is no reader here: who verifies uses a library.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from primitives.keys import SigningKey

ED25519_CODE = b"\xed\x01"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def did_key(public: bytes) -> str:
    """Return the did:key of an Ed25519 key: it holds the key, so that nothing has to be looked up."""
    return f"did:key:{_multibase(public)}"


def key_id(public: bytes) -> str:
    """Return the name of the one key of a did:key, as `kid` has it."""
    return f"{did_key(public)}#{_multibase(public)}"


def jwk(public: bytes) -> dict[str, str]:
    """Return the public key as a JSON Web Key."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64url(public),
        "alg": "EdDSA",
        "use": "sig",
        "kid": key_id(public),
    }


def signed_credential(credential: Mapping[str, Any], key: SigningKey) -> str:
    """Return a credential as a JWT (`vc+jwt`), its issuer being the key itself; the same bytes each time."""
    assert (credential["issuer"] if isinstance(credential["issuer"], str) else credential["issuer"]["id"]) == did_key(
        key.public
    ), "a key signs what it issues"
    head = {"alg": "EdDSA", "typ": "vc+jwt", "cty": "vc", "kid": key_id(key.public)}
    text = ".".join(base64url(_json(part)) for part in (head, credential))
    return f"{text}.{base64url(key.sign(text.encode()))}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _multibase(public: bytes) -> str:
    """Return the key after its Multicodec, in base58btc, which `z` stands for."""
    number, digits = int.from_bytes(ED25519_CODE + public, "big"), ""
    while number:
        number, digit = divmod(number, len(_BASE58))
        digits = _BASE58[digit] + digits
    return f"z{digits}"
