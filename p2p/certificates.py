"""Makes X.509 certificates: a CA for a member, and TLS certificates for its nodes. For `init` and local networks.

Here: keys, profiles and PEM of what this project issues. Not here: judging what others present (tls). ECDSA P-256,
because every bank's PKI and HSM issues it and OpenSSL's code for it is fast; consensus keys are Ed25519, never these.

A node's certificate bears the URI `chainnode://<chain id in hex>/<member>/<node name>`: a name of ours, which no host
name that a public CA certifies can equal. Host names and addresses stand beside it, for clients of RPC.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from p2p.config import check_name
from primitives.errors import UsageError

CA_DAYS = 3_650
NODE_DAYS = 397
BACKDATED_MINUTES = 10  # clocks of other banks may be behind
URI_SCHEME = "chainnode"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey


def node_uri(chain_id: bytes, member: str, node_name: str) -> str:
    """Return the URI that a node's certificate bears."""
    return f"{URI_SCHEME}://{chain_id.hex()}/{member}/{node_name}"


def client_uri(chain_id: bytes, member: str, role: str, name: str) -> str:
    """Return the URI that the certificate of a client of RPC bears; no node's has this form."""
    return f"{URI_SCHEME}://{chain_id.hex()}/{member}/client/{role}/{name}"


def make_member_ca(member: str, now_ms: int) -> tuple[PrivateKey, x509.Certificate]:
    """Return a new CA key and its self-signed certificate, valid from `now_ms` (minus a margin) for CA_DAYS."""
    check_name(member)
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial makes the subject unlike that of this member's next CA, so that both can be trusted in a change-over.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, member),
            x509.NameAttribute(NameOID.COMMON_NAME, f"chainnode CA of {member}"[:64]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{x509.random_serial_number():x}"[:16]),
        ]
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _builder(subject, subject, key.public_key(), _moment(now_ms), CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(key_id, critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
    )
    return key, builder.sign(key, hashes.SHA256())


def issue_node_certificate(
    ca_key: PrivateKey,
    ca_certificate: x509.Certificate,
    *,
    node_name: str,
    member: str,
    chain_id: bytes,
    hosts: Sequence[str],
    now_ms: int,
) -> tuple[PrivateKey, x509.Certificate]:
    """Return a new node key and its certificate; `hosts` are DNS names and IP addresses.

    Raises UsageError where a name does not fit, or `ca_certificate` has expired.
    """
    check_name(node_name)
    check_name(member)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(node_uri(chain_id, member, node_name))]
    names += [_general_name(host) for host in hosts]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(ca_key, ca_certificate, member, node_name, names, uses, now_ms, NODE_DAYS)


def issue_client_certificate(
    ca_key: PrivateKey,
    ca_certificate: x509.Certificate,
    *,
    name: str,
    member: str,
    role: str,
    chain_id: bytes,
    now_ms: int,
    days: int,
) -> tuple[PrivateKey, x509.Certificate]:
    """Return a new key and the certificate by which a client of RPC shows who it is and asks for a role.

    It is no node's: its URI has another form. Raises as `issue_node_certificate`.
    """
    for text in (name, member, role):
        check_name(text)
    uri = x509.UniformResourceIdentifier(client_uri(chain_id, member, role, name))
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(ca_key, ca_certificate, member, name, [uri], uses, now_ms, days)


def _issue(
    ca_key: PrivateKey,
    ca_certificate: x509.Certificate,
    member: str,
    name: str,
    names: list[x509.GeneralName],
    uses: list[x509.ObjectIdentifier],
    now_ms: int,
    days: int,
) -> tuple[PrivateKey, x509.Certificate]:
    moment = _moment(now_ms)
    if ca_certificate.not_valid_after_utc <= moment:
        raise UsageError(
            "CA certificate has expired", expected=f"after {moment}", got=ca_certificate.not_valid_after_utc
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, member),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    issuer_key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    builder = _builder(
        subject, ca_certificate.subject, key.public_key(), moment, days, ca_certificate.not_valid_after_utc
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False
    )
    return key, builder.sign(ca_key, hashes.SHA256())


def names_of(pem: bytes) -> list[str]:
    """Return the URIs that a certificate in PEM bears; raises UsageError where it is none."""
    try:
        leaf = x509.load_pem_x509_certificate(pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise UsageError("TLS certificate cannot be read", expected="a node's certificate in PEM", got=error) from None
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def private_key_pem(key: PrivateKey) -> bytes:
    """Return an unencrypted PKCS #8 key in PEM: for a file of mode 0600 and nowhere else."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key(pem: bytes) -> PrivateKey:
    """Return the EC key of a PEM file; raises UsageError where it holds none."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError("TLS key cannot be read", expected="an unencrypted EC key in PEM", got=error) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError("TLS key of another type", expected="an EC key", got=type(key).__name__)
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    moment: datetime.datetime,
    days: int,
    not_after_max: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    not_after = moment + datetime.timedelta(days=days)
    if not_after_max is not None:
        not_after = min(not_after, not_after_max)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - datetime.timedelta(minutes=BACKDATED_MINUTES))
        .not_valid_after(not_after)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise UsageError("host of a certificate", expected="a DNS name in ASCII or an IP address", got=host) from None


def _moment(now_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now_ms / 1_000, datetime.UTC).replace(microsecond=0)
