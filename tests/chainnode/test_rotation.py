"""New TLS certificates and root CAs of a home: files that are put in place, and what waits for a vote."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.joining import read_ca_entry
from chainnode.localnet import Localnet
from chainnode.rotation import next_ca, promote_ca, renew_tls, rotate_ca, waits_for_ca, write_ca_entry
from p2p.tls import TrustAnchors
from primitives.errors import UsageError

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    net = Localnet(tmp_path / "net")
    with net.held():
        net.found(4, base_port=21_900, now_ms=NOW_MS, step=lambda _: None)
    return Home(net.directory / "nodes" / "bank-b")


def renewed(home: Home, pem: str) -> str:
    """Renew a home's certificate and return for whom a CA says that it speaks."""
    import ssl

    renew_tls(home, name="bank-b", member="bank-b", hosts=["127.0.0.1"], now_ms=NOW_MS)
    der = ssl.PEM_cert_to_DER_cert(home.tls_certificate.read_text())
    anchors = TrustAnchors({"bank-b": pem}, read_genesis(home.genesis).chain_id)
    return anchors.identify(der, NOW_MS).name


def test_a_renewed_certificate_is_of_the_members_ca_and_new(home: Home) -> None:
    before = home.tls_certificate.read_text(), home.tls_key.read_text()
    assert renewed(home, home.ca_certificate.read_text()) == "bank-b"
    after = home.tls_certificate.read_text(), home.tls_key.read_text()
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert not home.tls_key.stat().st_mode & 0o077


def test_without_the_key_of_the_ca_nothing_is_renewed(home: Home) -> None:
    home.ca_key.unlink()
    before = home.tls_certificate.read_text()
    with pytest.raises(UsageError, match="no key of the member's CA"):
        renewed(home, home.ca_certificate.read_text())
    assert home.tls_certificate.read_text() == before


def test_a_new_root_ca_waits_beside_the_present_one_until_the_chain_knows_it(home: Home) -> None:
    present = home.ca_certificate.read_text()
    entry = read_ca_entry(rotate_ca(home, "bank-b", NOW_MS))
    following = next_ca(home)[0].read_text()
    assert entry == {"member": "bank-b", "ca_certificate": following}
    assert waits_for_ca(home)
    assert not promote_ca(home, present), "not approved yet"
    assert renewed(home, present) == "bank-b"
    with pytest.raises(UsageError, match="another root CA waits already"):
        rotate_ca(home, "bank-b", NOW_MS)
    assert promote_ca(home, following)
    assert not waits_for_ca(home)
    assert home.ca_certificate.read_text() == following
    assert (home.keys / "retired-1" / "ca.crt").read_text() == present
    assert renewed(home, following) == "bank-b"
    for path in home.keys.rglob("*.key"):
        assert not path.stat().st_mode & 0o077


def test_the_entry_of_a_ca_is_that_of_the_certificate_alone(home: Home) -> None:
    entry = write_ca_entry(home, "bank-b", home.ca_certificate)
    assert json.loads(entry.read_text())["ca_certificate"] == home.ca_certificate.read_text()
    assert "PRIVATE" not in entry.read_text()
