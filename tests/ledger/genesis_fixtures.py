"""A small genesis for tests: four banks with a validator each, and members that act through them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.genesis import Genesis, GenesisMember, GenesisSource, GenesisValidator
from ledger.members import Officer, Role
from ledger.policy import Policy
from primitives.keys import SigningKey

TIME_MS = 1_767_225_600_000
BANKS = {"bank-a": "BKAACNBJ", "bank-b": "BKABCNBJ", "bank-c": "BKACCNBJ", "bank-d": "BKADCNBJ"}
OTHERS = {
    "cb": (Role.CERTIFICATION_BODY, ("reviewer", "decider")),
    "lab": (Role.LABORATORY, ("laboratory",)),
    "regulator": (Role.REGULATOR, ("regulator",)),
}


def public_key(name: str) -> bytes:
    """Return the public key that a name stands for."""
    return bytes(SigningKey.generate(sha256(name.encode()).digest()).public)


@cache
def certificate_pem(name: str, ca: bool | None = True) -> str:
    """Return a self-signed certificate, of a CA or not; with None it does not say which."""
    key = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(key, None).public_bytes(serialization.Encoding.PEM).decode()


def bank(name: str) -> GenesisMember:
    """Return a bank with one source, one officer, its CA and its BIC."""
    return GenesisMember(
        id=name,
        name=name.replace("-", " ").title(),
        roles=(Role.BANK,),
        ca_certificate=certificate_pem(name),
        agents=(BANKS[name],),
        sources=(GenesisSource(public_key(f"{name} source"), (Role.BANK,)),),
        officers=(Officer(public_key(f"{name} officer"), "approver"),),
    )


def outsider(name: str) -> GenesisMember:
    """Return a member that runs no node: a role, and a source for each of its desks."""
    role, desks = OTHERS[name]
    sources = tuple(GenesisSource(public_key(f"{name} {desk}"), (role,)) for desk in desks)
    return GenesisMember(name, name.upper(), (role,), "", (), sources, ())


def validator(name: str, index: int) -> GenesisValidator:
    """Return a bank's validator, named like the bank."""
    keys = [public_key(f"{name} {use}") for use in ("vote", "cosign", "log")]
    return GenesisValidator(name, name, keys[0], keys[1], keys[2], f"127.0.0.1:{7400 + 10 * index}")


def small_genesis() -> Genesis:
    """Return the genesis: four banks, a certification body with two keys, a laboratory and a regulator."""
    return Genesis(
        chain="test-net",
        time_ms=TIME_MS,
        members=(*(bank(name) for name in BANKS), *(outsider(name) for name in OTHERS)),
        validators=tuple(validator(name, index) for index, name in enumerate(BANKS)),
        policy=Policy(),
        catalogues=PUBLISHED_CATALOGUES,
    )
