"""Who may speak: TLS 1.3 with certificates on both sides, and the rule that reads a node's name from one.

Here: contexts, the members' CAs as trust anchors, identification of a leaf certificate, names for TLS failures. Not
here: making certificates (certificates), HELLO (handshake), sockets.

OpenSSL checks signatures, validity and purpose against all members' CAs together. That alone would let any member name
any node, so `TrustAnchors.identify` then holds the leaf against the CA of just the member that it names, and of no
other. It must be issued by that CA directly: TLS 1.3 gives us only the leaf, so nothing between may matter.
"""

from __future__ import annotations

import datetime
import re
import ssl
from collections.abc import Mapping

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from p2p.certificates import URI_SCHEME
from p2p.config import NAME_PATTERN, TlsFiles
from p2p.reasons import PeerRefused, Reason
from primitives.errors import InputError, UsageError

LEAF_BYTES_MAX = 16_384

_URI = re.compile(rf"{URI_SCHEME}://([0-9a-f]*)/({NAME_PATTERN.pattern})/({NAME_PATTERN.pattern})", re.ASCII)

_NAME = NAME_PATTERN.pattern
_CLIENT_URI = re.compile(rf"{URI_SCHEME}://([0-9a-f]*)/({_NAME})/client/([a-z]{{1,32}})/({_NAME})", re.ASCII)

_VERIFY_REASONS = {  # OpenSSL's X509_V_ERR_*
    9: Reason.CERTIFICATE_NOT_YET_VALID,
    10: Reason.CERTIFICATE_EXPIRED,
    2: Reason.CERTIFICATE_UNKNOWN_CA,  # unable to get issuer certificate
    7: Reason.CERTIFICATE_UNKNOWN_CA,  # the signature is not by the CA of that name
    18: Reason.CERTIFICATE_UNKNOWN_CA,  # self-signed
    19: Reason.CERTIFICATE_UNKNOWN_CA,  # self-signed in chain
    20: Reason.CERTIFICATE_UNKNOWN_CA,  # unable to get local issuer certificate
    21: Reason.CERTIFICATE_UNKNOWN_CA,  # unable to verify the first certificate
}

_LIBRARY_REASONS = {  # what OpenSSL calls a failure, in SSLError.reason
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.CERTIFICATE_MISSING,
    "UNSUPPORTED_PROTOCOL": Reason.TLS_VERSION,
    "WRONG_SSL_VERSION": Reason.TLS_VERSION,
    "NO_PROTOCOLS_AVAILABLE": Reason.TLS_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": Reason.TLS_VERSION,
    "VERSION_TOO_LOW": Reason.TLS_VERSION,
    "WRONG_VERSION_NUMBER": Reason.NOT_TLS,
    "HTTP_REQUEST": Reason.NOT_TLS,
    "HTTPS_PROXY_REQUEST": Reason.NOT_TLS,
    "UNKNOWN_PROTOCOL": Reason.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": Reason.NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.NOT_TLS,
    "UNEXPECTED_MESSAGE": Reason.NOT_TLS,
    "TLSV1_ALERT_UNKNOWN_CA": Reason.CERTIFICATE_REFUSED,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Reason.CERTIFICATE_REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": Reason.CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Reason.CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Reason.CERTIFICATE_REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Reason.CERTIFICATE_REFUSED,
}


class PeerIdentity(msgspec.Struct, frozen=True):
    """What a certificate proves, and until when."""

    name: str
    member: str
    not_after_ms: int


class ClientIdentity(msgspec.Struct, frozen=True):
    """What a client's certificate says of it, and until when; the role is what its member's CA granted."""

    name: str
    member: str
    role: str
    not_after_ms: int


class TrustAnchors:
    """The CA certificates of all members, for one chain; immutable, a later epoch builds another."""

    def __init__(self, member_cas: Mapping[str, str], chain_id: bytes) -> None:
        """Read each member's PEM, which may hold several CA certificates. Raises InputError where one is unusable.

        Two members' CAs of one subject are refused: OpenSSL looks issuers up by subject, so a member could otherwise
        get another member's nodes turned away.
        """
        self._chain_id_hex = chain_id.hex()
        self._cas: dict[str, list[x509.Certificate]] = {}
        owners: dict[bytes, str] = {}
        for member, pem in member_cas.items():
            self._cas[member] = _read_cas(member, pem)
            for ca in self._cas[member]:
                owner = owners.setdefault(ca.subject.public_bytes(), member)
                if owner != member:
                    raise InputError(
                        "two members' CAs have the same subject",
                        where=f"members {owner} and {member}",
                        got=ca.subject.rfc4514_string(),
                    )
        self.pem = "\n".join(member_cas.values())

    def identify(self, leaf_der: bytes | None, now_ms: int) -> PeerIdentity:
        """Return who a leaf certificate speaks for; raises PeerRefused with the rule that it breaks."""
        (member, name), not_after_ms = self._judge(leaf_der, now_ms, _URI)
        return PeerIdentity(name, member, not_after_ms)

    def identify_client(self, leaf_der: bytes, now_ms: int) -> ClientIdentity:
        """Return who a client's certificate speaks for; raises PeerRefused, for a node's certificate too."""
        (member, role, name), not_after_ms = self._judge(leaf_der, now_ms, _CLIENT_URI)
        return ClientIdentity(name, member, role, not_after_ms)

    def _judge(self, leaf_der: bytes | None, now_ms: int, form: re.Pattern[str]) -> tuple[list[str], int]:
        if leaf_der is None:
            raise PeerRefused(Reason.CERTIFICATE_MISSING, "no certificate shown")
        try:
            leaf = x509.load_der_x509_certificate(leaf_der)
            chain_id_hex, *named = _read_uri(leaf, form)
            is_ca = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
            raise PeerRefused(Reason.CERTIFICATE_INVALID, "certificate cannot be read", got=error) from None
        if is_ca or len(leaf_der) > LEAF_BYTES_MAX:
            raise PeerRefused(Reason.CERTIFICATE_INVALID, "not a node's or a client's certificate: a CA, or too large")
        if chain_id_hex != self._chain_id_hex:
            raise PeerRefused(
                Reason.CERTIFICATE_WRONG_CHAIN, "certificate's chain id", expected=self._chain_id_hex, got=chain_id_hex
            )
        self._check_issuer(leaf, named[0])
        return named, _check_validity(leaf, now_ms)

    def _check_issuer(self, leaf: x509.Certificate, member: str) -> None:
        cas = self._cas.get(member)
        if cas is None:
            raise PeerRefused(Reason.CERTIFICATE_UNKNOWN_CA, "certificate of no member", got=member)
        if not any(_issued(ca, leaf) for ca in cas):
            raise PeerRefused(
                Reason.CERTIFICATE_WRONG_MEMBER,
                "certificate names a member whose CA did not issue it",
                expected=f"the CA of {member}",
                got=leaf.issuer.rfc4514_string(),
            )


def make_context(files: TlsFiles, anchors: TrustAnchors, *, server_side: bool) -> ssl.SSLContext:
    """Return a TLS 1.3 context that shows our certificate and demands one of a member's CA.

    No tickets: a resumed session would skip the CAs that a later epoch has removed. Raises UsageError where our own key
    or certificate cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the name stands in the URI and is checked by `identify`
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    if server_side:
        context.num_tickets = 0
    show_own(context, files)
    context.load_verify_locations(cadata=anchors.pem)
    return context


def show_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Have a context show our certificate. Raises UsageError where it or its key cannot be used."""
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            "TLS key or certificate cannot be used",
            where=f"{files.key}, {files.certificate}",
            got=error,
            hint="put both back from their backup, or let the member's CA issue a new pair",
        ) from None


def reason_of_failure(error: BaseException) -> Reason:
    """Return why a TLS handshake or connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_REASONS.get(error.verify_code, Reason.CERTIFICATE_INVALID)
    if isinstance(error, ssl.SSLError):
        return _LIBRARY_REASONS.get(error.reason or "", Reason.TLS_FAILED)
    if isinstance(error, TimeoutError):
        return Reason.HANDSHAKE_TIMEOUT
    return Reason.CONNECTION_LOST


def usable_cas(member_cas: Mapping[str, str]) -> dict[str, str]:
    """Return those of the members' CAs that `TrustAnchors` takes; of two with one subject, the one that comes first."""
    usable: dict[str, str] = {}
    owners: dict[bytes, str] = {}
    for member, pem in member_cas.items():
        try:
            subjects = {ca.subject.public_bytes() for ca in _read_cas(member, pem)}
        except InputError:
            continue
        if all(owners.setdefault(subject, member) == member for subject in subjects):
            usable[member] = pem
    return usable


def _read_cas(member: str, pem: str) -> list[x509.Certificate]:
    try:
        cas = x509.load_pem_x509_certificates(pem.encode("ascii"))
        are_cas = [ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for ca in cas]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise InputError(
            "CA certificate cannot be read", where=f"member {member}", expected="PEM of CA certificates", got=error
        ) from None
    if not all(are_cas):
        raise InputError("not a CA certificate", where=f"member {member}", expected="basicConstraints CA:TRUE")
    return cas


def _read_uri(leaf: x509.Certificate, form: re.Pattern[str]) -> list[str]:
    """Return the parts of a leaf's URI, the chain's id first; ValueError unless it bears exactly one of this form."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = [
        uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(f"{URI_SCHEME}:")
    ]
    match = form.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        expected = "<member>/<node>" if form is _URI else "<member>/client/<role>/<name>"
        raise ValueError(f"expected one URI {URI_SCHEME}://<chain id>/{expected}, got {len(uris)}")
    return list(match.groups())


def _issued(ca: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_validity(leaf: x509.Certificate, now_ms: int) -> int:
    moment = datetime.datetime.fromtimestamp(now_ms / 1_000, datetime.UTC)
    if moment < leaf.not_valid_before_utc:
        raise PeerRefused(
            Reason.CERTIFICATE_NOT_YET_VALID, "certificate", expected=f"<= {moment}", got=leaf.not_valid_before_utc
        )
    if moment > leaf.not_valid_after_utc:
        raise PeerRefused(
            Reason.CERTIFICATE_EXPIRED, "certificate", expected=f">= {moment}", got=leaf.not_valid_after_utc
        )
    return int(leaf.not_valid_after_utc.timestamp() * 1_000)
