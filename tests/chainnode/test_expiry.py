"""What ends by itself and when: read from files and from the state, told in a warning, counted in metrics."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from structlog.testing import capture_logs

from chainnode.expiry import (
    ALARM_DAYS,
    DAY_MS,
    WARN_DAYS,
    Alarms,
    ca_endings,
    deadlines_by_kind,
    end_of,
    file_ending,
    own_warnings,
    warning_of,
)
from chainnode.metrics import LABEL_VALUES_MAX, NodeMetrics
from chainnode.renewal import count_deadlines_of, tell_endings
from ledger.deadline_index import EndsReader
from ledger.deadlines import DueKind
from ledger.governance_bodies import ReplaceCa
from ledger.store import MemoryStore
from p2p.certificates import CA_DAYS, certificate_pem, make_member_ca
from rpc.ports import Ending
from tests.ledger.deadline_fixtures import Life
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
    metrics.ends(ends, 4_000)
    assert b'chainnode_expiry_timestamp_seconds{kind="root_ca",name="bank-1"} 4.0' in metrics.render()
    metrics.ends([Ending("root_ca", f"m{i}", "", i, "chain") for i in range(LABEL_VALUES_MAX + 9)], 0)
    lines = [line for line in metrics.render().splitlines() if line.startswith(b"chainnode_expiry_timestamp_seconds{")]
    assert len(lines) == LABEL_VALUES_MAX


def test_metrics_count_what_ends_within_each_number_of_days() -> None:
    metrics = NodeMetrics()
    days = (40, 30, 8, 7, 1, 0)
    metrics.ends([Ending("root_ca", f"m{day}", "", START_MS + day * DAY_MS, "chain") for day in days], START_MS)
    found = [f'chainnode_certificates_ending{{within_days="{day}"}} {count}.0' for day, count in BANDS]
    assert [line.encode() in metrics.render() for line in found] == [True] * len(ALARM_DAYS)


BANDS = ((30, 5), (7, 3), (1, 2), (0, 1))


def test_an_end_is_told_once_in_each_band_and_anew_after_a_renewal_that_ends_soon_too() -> None:
    alarms, ends_ms = Alarms(), START_MS + 40 * DAY_MS
    item = Ending("node_certificate", "node-1", "bank-1", ends_ms, "tls.crt")
    told = []
    for day in range(45):
        told += [(day, band) for _, band in alarms.due([item], START_MS + day * DAY_MS)]
    assert told == [(10, 30), (33, 7), (39, 1), (40, 0)]
    renewed = Ending("node_certificate", "node-1", "bank-1", ends_ms + 10 * DAY_MS, "tls.crt")
    assert [band for _, band in alarms.due([renewed], ends_ms + 4 * DAY_MS)] == [7]
    assert alarms.due([renewed], ends_ms + 4 * DAY_MS) == []


def test_the_log_names_what_ends_and_how_soon() -> None:
    ends = [Ending("root_ca", "bank-1", "bank-1", START_MS + days * DAY_MS, "chain") for days in (3,)]
    ends.append(Ending("node_certificate", "node-2", "bank-2", START_MS + 20 * DAY_MS, "link"))
    with capture_logs() as lines:
        tell_endings(Alarms(), ends, START_MS)
    assert [(line["event"], line["log_level"], line["name"], line["days_left"]) for line in lines] == [
        ("certificate_ends", "error", "bank-1", 3),
        ("certificate_ends", "warning", "node-2", 20),
    ]


def test_what_falls_due_is_counted_by_kind_out_of_the_index_of_ends() -> None:
    life = Life()
    assert not any(deadlines_by_kind(EndsReader(MemoryStore()), life.now_ms).values()), "it has not begun"
    life.granted()
    life.block()
    end_ms = life.certificate().valid_until_ms

    def counted(days: int) -> dict[str, int]:
        counts = deadlines_by_kind(life.ends, end_ms - days * DAY_MS)
        return {kind.value: count for kind, count in counts.items() if count}

    assert counted(3 * 366) == {}
    assert counted(180) == {"expiring_180": 1, "renewal_opened": 1, "surveillance_overdue": 1}
    notices = {"expiring_180": 1, "expiring_90": 1, "renewal_opened": 1, "surveillance_overdue": 1}
    assert counted(90) == notices | {"certificate_expired": 1}
    assert counted(30) == notices | {"certificate_expired": 1, "expiring_30": 1}
    assert counted(0) == {}


async def test_the_node_sets_a_gauge_for_each_kind() -> None:
    life = Life()
    life.granted()
    life.block()
    metrics = NodeMetrics()
    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(count_deadlines_of(executor, life.ends, metrics))
        await asyncio.sleep(0)
        await asyncio.wrap_future(executor.submit(int))  # behind the counting, on the same thread
        await asyncio.sleep(0)
        task.cancel()
    text = metrics.render().decode()
    assert text.count("\nchainnode_certificate_deadlines{kind=") == len(DueKind) - 1
