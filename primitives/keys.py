"""Ed25519 keys: the only signer and the only verifier of consensus, batches and notes (PyNaCl, libsodium).

One verifier everywhere, because verifiers disagree on degenerate keys, and disagreement forks a chain. Keys are
registered only if they are canonical points of the prime-order subgroup.
"""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import CryptoError

from primitives.errors import SignatureError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32


class SigningKey:
    """A secret Ed25519 key of 32 seed bytes; its representation never shows them."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise SignatureError("a signing key's seed has the wrong length", expected=SEED_BYTES, got=len(seed))
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls, seed: bytes) -> SigningKey:
        """Return the key of 32 bytes that the caller drew at random."""
        return cls(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`; the same message gives the same bytes."""
        return bytes(bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES])

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether `signature` is `public`'s over `message`; never raises on bad bytes."""
    if len(signature) != SIGNATURE_BYTES or len(public) != PUBLIC_KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


def check_public_key(public: bytes) -> None:
    """Raise `SignatureError` unless `public` may be registered: 32 bytes, canonical, of the prime-order subgroup."""
    if len(public) != PUBLIC_KEY_BYTES:
        raise SignatureError("a public key has the wrong length", expected=PUBLIC_KEY_BYTES, got=len(public))
    if not bindings.crypto_core_ed25519_is_valid_point(public):
        raise SignatureError(
            "not an acceptable Ed25519 public key",
            expected="a canonical point of the prime-order subgroup",
            got=public,
            hint="make a new key with `chainnode keys new`",
        )
