"""The demonstration's own honesty: its guard against the network, and what it takes for failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from chainnode.demo import KEPT_BACK, LINES, NO_NETWORK, REPORTS, SAMPLES, DemoFailed, Observed, _expect, summary_rows

ROOT = Path(__file__).parents[2]


def test_process_that_verifies_cannot_reach_a_node() -> None:
    command = [sys.executable, "-c", NO_NETWORK, "status", "--endpoint", "http://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 99
    assert "tried to use the network: socket." in done.stderr


def test_what_does_not_hold_ends_the_demonstration() -> None:
    _expect(True, "this")
    with pytest.raises(DemoFailed, match="not so: equal roots: expected 1, got 2"):
        _expect(False, "equal roots", expected=1, got=2)


def test_every_sample_payment_that_two_banks_report_is_submitted_by_both() -> None:
    files = {file.name[:2] for file in (SAMPLES / "payments").glob("[0-9]*.xml")}
    reported = [number for numbers in REPORTS.values() for number in numbers.split()]
    assert set(reported) == files
    for names in LINES.values():
        assert all((SAMPLES / "payments" / name).is_file() for name in names)
    assert set(KEPT_BACK) <= set(LINES)


def test_summary_says_what_the_issue_asks_for() -> None:
    seen = Observed(receipt_by=3, receipt_of=4, tampered_status=3, leader="bank-a", new_leader="bank-b", new_view=1)
    text = "\n".join(f"{name} {value}" for name, value in summary_rows(seen))
    for words in (
        "heights",
        "roots equal on all nodes",
        "events by kind",
        "by 3 of 4 banks",
        "exit status 3",
        "caught up",
    ):
        assert words in text
