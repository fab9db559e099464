"""Agreeing on the secret of a pair of members, for a day: X25519 with the keys that both announced, then HKDF.

Here: the derivation, and which keys of two members hold on a day. Not here: where keys are announced
(`ledger.pairing_keys`), files of secret keys (`chainnode.pairing`). Sources: RFC 7748 (X25519), RFC 5869 (HKDF with
SHA-256), domain §4.

The secret covers the chain, both members' names in order, both public keys and the days from which they hold, so that
no key agrees on one secret for two pairs, chains or periods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from ledger.pairing_keys import PairingKey, key_on_day
from primitives.encoding import encode
from primitives.errors import UsageError
from primitives.exchange import check_exchange_key
from primitives.hashing import DOMAIN

PAIR_SECRET_BYTES = 32
_SALT = DOMAIN + b"pair-secret"


@dataclass(frozen=True, slots=True)
class Party:
    """A member and the pairing key of it that holds."""

    member: str
    key: PairingKey


def agree(chain_id: bytes, secret_key: bytes, own: Party, other: Party) -> bytes:
    """Return the secret (32 bytes) of two members while these keys of them hold; both sides derive the same.

    Raises `InputError` for a key that agrees on nothing secret, `UsageError` where `secret_key` (32 bytes) is not that
    of one's own public key.
    """
    check_exchange_key(other.key.key)
    if public_of(secret_key) != own.key.key:
        raise UsageError("the secret key is not that of the announced one", expected=own.key.key.hex())
    first, second = sorted((own, other), key=lambda party: party.member)
    covered = [
        bytes(chain_id),
        *(part for party in (first, second) for part in (party.member, party.key.key, party.key.from_day)),
    ]
    derivation = HKDF(algorithm=SHA256(), length=PAIR_SECRET_BYTES, salt=_SALT, info=encode(covered))
    return derivation.derive(crypto_scalarmult(secret_key, other.key.key))


def public_of(secret_key: bytes) -> bytes:
    """Return the X25519 public key of a secret one (32 bytes each)."""
    return crypto_scalarmult_base(secret_key)


@dataclass(frozen=True, slots=True)
class Agreements:
    """What one member can agree on with each other: the keys that all announced, and its own secret ones.

    `announced` gives each member's keys, ascending by day; `secret_keys` those of one's own by public key, as far as
    they are here still. What was derived is remembered as long as this lasts.
    """

    chain_id: bytes
    member: str
    announced: Mapping[str, Sequence[PairingKey]]
    secret_keys: Mapping[bytes, bytes] = field(repr=False)
    _derived: dict[tuple[str, PairingKey, PairingKey], bytes] = field(default_factory=dict, repr=False)

    def secret_with(self, other: str, day: int) -> bytes | None:
        """Return the secret shared with a member on a day (YYYYMMDD, UTC); None where one of both announced no key.

        Raises `UsageError` where the announced key's secret part is not here: another secret would meet nothing.
        """
        own = key_on_day(self.announced.get(self.member, ()), day)
        theirs = key_on_day(self.announced.get(other, ()), day)
        if own is None or theirs is None:
            return None
        place = other, own, theirs
        if place not in self._derived:
            secret_key = self.secret_keys.get(own.key)
            if secret_key is None:
                raise UsageError(
                    f"the secret part of the pairing key that holds on {day} is not here",
                    expected=own.key.hex(),
                    hint="bring back its file from the home that announced it; one that was erased comes back nowhere",
                )
            self._derived[place] = agree(self.chain_id, secret_key, Party(self.member, own), Party(other, theirs))
        return self._derived[place]
