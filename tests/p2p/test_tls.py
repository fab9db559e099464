"""What a certificate proves: made by hand, judged without a socket."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2p.certificates import certificate_pem, issue_node_certificate, load_private_key, node_uri, private_key_pem
from p2p.config import TlsFiles
from p2p.handshake import Hello, check_hello, common_protocol, goodbye_reason
from p2p.reasons import PeerRefused
from p2p.tls import PeerIdentity, TrustAnchors, make_context
from primitives.encoding import encode
from primitives.errors import InputError, UsageError
from tests.p2p.network_fixtures import CHAIN_ID, DAY_MS, Consortium


def issue(consortium: Consortium, member: str = "bank-a", name: str = "node-1", now_ms: int | None = None):
    ca_key, ca_certificate = consortium.ca(member)
    return issue_node_certificate(
        ca_key,
        ca_certificate,
        node_name=name,
        member=member,
        chain_id=CHAIN_ID,
        hosts=["localhost", "::1", "10.0.0.1"],
        now_ms=now_ms or consortium.now_ms,
    )


def forge(consortium: Consortium, *uris: str, ca: bool = False) -> bytes:
    """Return a certificate that bank-a's CA issued for any URIs."""
    ca_key, ca_certificate = consortium.ca("bank-a")
    moment = datetime.datetime.fromtimestamp(consortium.now_ms / 1_000, datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    builder = x509.CertificateBuilder(
        issuer_name=ca_certificate.subject,
        subject_name=x509.Name([]),
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=moment - datetime.timedelta(days=1),
        not_valid_after=moment + datetime.timedelta(days=1),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.add_extension(names, critical=False).sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_node_certificate_proves_name_member_and_end(consortium: Consortium) -> None:
    _, certificate = issue(consortium)
    anchors = TrustAnchors(consortium.member_cas, CHAIN_ID)
    identity = anchors.identify(certificate.public_bytes(Encoding.DER), consortium.now_ms)
    assert identity == PeerIdentity("node-1", "bank-a", int(certificate.not_valid_after_utc.timestamp() * 1_000))


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ((), "certificate_invalid"),
        (("https://bank-a.example/node-1",), "certificate_invalid"),
        ((node_uri(CHAIN_ID, "bank-a", "x"), node_uri(CHAIN_ID, "bank-a", "y")), "certificate_invalid"),
        ((node_uri(CHAIN_ID, "bank-a", "../x"),), "certificate_invalid"),
        ((node_uri(CHAIN_ID, "bank-a", "x") + "/more",), "certificate_invalid"),
        ((node_uri(CHAIN_ID, "BANK-A", "x"),), "certificate_invalid"),
        ((node_uri(CHAIN_ID, "bank-b", "x"),), "certificate_wrong_member"),
        ((node_uri(CHAIN_ID, "bank-z", "x"),), "certificate_unknown_ca"),
        ((node_uri(b"", "bank-a", "x"),), "certificate_wrong_chain"),
    ],
)
def test_a_certificate_of_a_members_ca_is_refused_where_it_names(
    uris: tuple[str, ...], reason: str, consortium: Consortium
) -> None:
    with pytest.raises(PeerRefused) as caught:
        TrustAnchors(consortium.member_cas, CHAIN_ID).identify(forge(consortium, *uris), consortium.now_ms)
    assert caught.value.why == reason


def test_a_ca_is_no_node(consortium: Consortium) -> None:
    leaf = forge(consortium, node_uri(CHAIN_ID, "bank-a", "x"), ca=True)
    with pytest.raises(PeerRefused, match="not a node's"):
        TrustAnchors(consortium.member_cas, CHAIN_ID).identify(leaf, consortium.now_ms)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_as_a_certificate_and_as_hello(consortium: Consortium, garbage: bytes) -> None:
    with pytest.raises(PeerRefused):
        TrustAnchors({}, CHAIN_ID).identify(garbage, 0)
    own = Hello(1, 1, CHAIN_ID, "a", bytes(8), "", b"")
    with pytest.raises(PeerRefused):
        check_hello(garbage, own=own, certified_name="a")


def test_a_hello_that_is_too_large_is_refused() -> None:
    own = Hello(1, 1, CHAIN_ID, "a", bytes(8), "", b"")
    with pytest.raises(PeerRefused, match="too large"):
        check_hello(encode(Hello(1, 1, CHAIN_ID, "a", bytes(8), "", bytes(2_000))), own=own, certified_name="a")


def test_two_members_cannot_share_a_ca(consortium: Consortium) -> None:
    pem = consortium.member_cas["bank-a"]
    with pytest.raises(InputError, match="bank-a and bank-b"):
        TrustAnchors({"bank-a": pem, "bank-b": pem}, CHAIN_ID)


def test_a_member_may_have_two_cas_during_a_change_over(consortium: Consortium) -> None:
    old, new = consortium.ca("bank-a", days_ago=3), consortium.ca("bank-a")
    anchors = TrustAnchors({"bank-a": certificate_pem(old[1]) + certificate_pem(new[1])}, CHAIN_ID)
    _, certificate = issue(consortium)
    assert anchors.identify(certificate.public_bytes(Encoding.DER), consortium.now_ms).member == "bank-a"


@pytest.mark.parametrize("pem", ["", "rubbish", "é"])
def test_a_ca_that_cannot_be_read_is_named(pem: str) -> None:
    with pytest.raises(InputError, match="bank-a"):
        TrustAnchors({"bank-a": pem}, CHAIN_ID)


def test_a_node_certificate_is_no_ca(consortium: Consortium) -> None:
    with pytest.raises(InputError, match="not a CA"):
        TrustAnchors({"bank-a": certificate_pem(issue(consortium)[1])}, CHAIN_ID)


def test_own_files_that_cannot_be_used_are_named(consortium: Consortium) -> None:
    anchors = TrustAnchors(consortium.member_cas, CHAIN_ID)
    missing = TlsFiles(consortium.directory / "no.key", consortium.directory / "no.crt")
    with pytest.raises(UsageError, match=r"no\.key"):
        make_context(missing, anchors, server_side=True)


def test_an_expired_ca_issues_nothing_and_bad_names_are_refused(consortium: Consortium) -> None:
    with pytest.raises(UsageError, match="expired"):
        issue(consortium, now_ms=consortium.now_ms + 4_000 * DAY_MS)
    with pytest.raises(UsageError, match="name"):
        issue(consortium, name="Node 1")


def test_a_private_key_survives_its_pem(consortium: Consortium) -> None:
    key, _ = consortium.ca("bank-a")
    assert load_private_key(private_key_pem(key)).private_numbers() == key.private_numbers()
    with pytest.raises(UsageError, match="TLS key"):
        load_private_key(b"rubbish")


@pytest.mark.parametrize(
    ("own", "other", "common"),
    [
        ((1, 1), (1, 1), 1),
        ((3, 1), (2, 2), 2),
        ((2, 2), (3, 1), 2),
        ((3, 2), (3, 1), 3),
        ((1, 1), (3, 2), None),
        ((3, 2), (1, 1), None),
    ],
)
def test_two_nodes_use_the_newest_protocol_that_both_speak(
    own: tuple[int, int], other: tuple[int, int], common: int | None
) -> None:
    mine = Hello(*own, CHAIN_ID, "a", bytes(8), "", b"")
    theirs = Hello(*other, CHAIN_ID, "b", bytes(8), "", b"")
    assert common_protocol(mine, theirs) == common
    if common is None:
        with pytest.raises(PeerRefused, match=f"expected {own[1]} to {own[0]}, got {other[1]} to {other[0]}"):
            check_hello(encode(theirs), own=mine, certified_name="b")
    else:
        assert check_hello(encode(theirs), own=mine, certified_name="b") == theirs


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain_id": bytes(32)}, "wrong_chain"),
        ({"name": "a"}, "wrong_name"),
        ({"name": ""}, "wrong_name"),
        ({"instance": bytes(7)}, "bad_handshake"),
        ({"instance": bytes(9)}, "bad_handshake"),
        ({"protocol": 3, "protocol_oldest": 2}, "protocol_version"),
        ({"protocol": 0, "protocol_oldest": 0}, "protocol_version"),
    ],
)
def test_a_hello_is_refused_that_does_not_fit_the_chain_the_certificate_or_the_release(
    change: dict[str, object], reason: str
) -> None:
    mine = Hello(1, 1, CHAIN_ID, "a", bytes(8), "", b"")
    theirs = Hello(1, 1, CHAIN_ID, "b", bytes(8), "", b"")
    assert check_hello(encode(theirs), own=mine, certified_name="b") == theirs
    with pytest.raises(PeerRefused) as caught:
        check_hello(encode(replace(theirs, **change)), own=mine, certified_name="b")
    assert caught.value.why == reason


def test_why_a_peer_leaves_is_one_of_our_own_words_whatever_it_says() -> None:
    assert goodbye_reason(b"wrong_chain") == "remote_wrong_chain"
    for said in (b"", b"invented", b"wrong_chain ", b"\xff\xfe"):
        assert goodbye_reason(said) == "said_goodbye"


def test_a_certificate_speaks_for_nobody_before_its_time_or_after_it(consortium: Consortium) -> None:
    _, certificate = issue(consortium)
    anchors = TrustAnchors(consortium.member_cas, CHAIN_ID)
    first_ms = int(certificate.not_valid_before_utc.timestamp() * 1_000)
    last_ms = int(certificate.not_valid_after_utc.timestamp() * 1_000)
    leaf = certificate.public_bytes(Encoding.DER)
    for now_ms in (first_ms, last_ms):
        assert anchors.identify(leaf, now_ms).name == "node-1"
    for now_ms, reason in ((first_ms - 1, "certificate_not_yet_valid"), (last_ms + 1, "certificate_expired")):
        with pytest.raises(PeerRefused) as caught:
            anchors.identify(leaf, now_ms)
        assert caught.value.why == reason
