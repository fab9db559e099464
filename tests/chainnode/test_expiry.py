"""What ends by itself and when: read from files and from the state, told in a warning, counted in metrics."""

from __future__ import annotations

from pathlib import Path

from chainnode.expiry import DAY_MS, WARN_DAYS, ca_endings, end_of, file_ending, own_warnings, warning_of
from chainnode.metrics import LABEL_VALUES_MAX, NodeMetrics
from ledger.certificate_ends import ending_certificates
from ledger.governance_bodies import ReplaceCa
from p2p.certificates import CA_DAYS, certificate_pem, make_member_ca
from rpc.ports import Ending
from tests.ledger.governance_fixtures import START_MS, Founded

FIRST, SECOND = (certificate_pem(make_member_ca("bank-1", START_MS + i * DAY_MS)[1]) for i in range(2))
END_MS = START_MS + CA_DAYS * DAY_MS


def test_the_end_of_a_pem_is_that_of_the_certificate_in_it_that_ends_first() -> None:
    assert end_of(FIRST.encode()) == END_MS
    assert end_of((SECOND + FIRST).encode()) == END_MS
    assert end_of(b"no PEM") is None


def test_a_file_is_read_anew_and_one_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tls.crt"
    assert file_ending("node_certificate", "n", "m", path) == []
    path.write_text(FIRST)
    assert file_ending("node_certificate", "n", "m", path) == [Ending("node_certificate", "n", "m", END_MS, "tls.crt")]
    path.write_text(SECOND)
    assert file_ending("node_certificate", "n", "m", path)[0].ends_ms == END_MS + DAY_MS
    path.write_bytes(b"\xff")
    assert file_ending("node_certificate", "n", "m", path) == []


def test_the_root_cas_of_present_members_end_also_old_ones_while_they_count() -> None:
    council = Founded(4, rules=(1, 2))
    assert ca_endings(council.state) == [], "those of the fixtures are no certificates"
    for pem in (FIRST, SECOND):
        council.vote(council.propose(ReplaceCa("bank-1", pem, True)), 0, 1, 2)
    found = [(item.name, item.ends_ms, item.where) for item in ca_endings(council.state)]
    assert found == [("bank-1", END_MS + DAY_MS, "chain"), ("bank-1", END_MS, "chain, the one before")]


def test_what_ends_soon_is_told_of_the_own_node_and_member_alone() -> None:
    own = Ending("node_certificate", "node-1", "bank-1", START_MS + 3 * DAY_MS, "tls.crt")
    ca = Ending("root_ca", "bank-1", "bank-1", START_MS - 1, "chain")
    others = [
        Ending("node_certificate", "node-2", "bank-1", START_MS, "link"),
        Ending("root_ca", "bank-2", "bank-2", START_MS, "chain"),
        Ending("node_certificate", "node-1", "bank-1", START_MS + WARN_DAYS * DAY_MS, "tls.crt"),
    ]
    found = own_warnings([own, ca, *others], "node-1", "bank-1", START_MS)
    assert found == [warning_of(own, START_MS), warning_of(ca, START_MS)]
    assert found[0] == "the node certificate of node-1 (tls.crt) ends in 3 days: `chainnode keys renew-tls`"
    assert found[1].startswith("the root ca of bank-1 (chain) has ended")


def test_metrics_tell_the_first_end_of_a_kind_and_name_and_no_more_than_may_be_labels() -> None:
    metrics = NodeMetrics()
    ends = [Ending("root_ca", "bank-1", "bank-1", 5_000, "chain"), Ending("root_ca", "bank-1", "bank-1", 4_000, "old")]
    metrics.ends(ends)
    assert b'chainnode_expiry_timestamp_seconds{kind="root_ca",name="bank-1"} 4.0' in metrics.render()
    metrics.ends([Ending("root_ca", f"m{i}", "", i, "chain") for i in range(LABEL_VALUES_MAX + 9)])
    lines = [line for line in metrics.render().splitlines() if line.startswith(b"chainnode_expiry_timestamp_seconds{")]
    assert len(lines) == LABEL_VALUES_MAX


def test_a_chain_without_certificates_of_products_has_none_that_end() -> None:
    assert ending_certificates(Founded(4, rules=(1, 2)).state, 0, END_MS) == ([], True)
