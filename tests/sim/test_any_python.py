"""A run is the same on every version of Python: its journal, all messages included, has the digest that is kept here.

Python promises nothing of the kind for `random`, so another version must show it: `make test PYTHON=python3.12
ARGS=tests/sim` runs this file there. Where the protocol itself changes, the digest changes on all of them alike:
`python -m sim --replay tests/sim/any-python.scenario` prints the new one.
"""

from __future__ import annotations

import re
from pathlib import Path

from sim.journal import Arrived, Journal, Sent
from sim.plan_text import parse
from sim.shrink import failure_of

FILE = Path(__file__).parent / "any-python.scenario"


def test_the_journal_of_a_run_has_the_digest_that_every_version_of_python_gives() -> None:
    text = FILE.read_text("utf-8")
    kept = re.search(r"^# journal ([0-9a-f]{64})$", text, re.MULTILINE)
    assert kept is not None
    journal = Journal()
    failure, cluster = failure_of(parse(text), journal)
    assert failure is None
    assert len(cluster.conformance.sets()) == 2, "it is worth something: its validators change"
    assert journal.digest() == kept[1]


def test_a_digest_tells_any_two_journals_apart() -> None:
    sent = Sent(1, 10, 0, 2, 3, b"a")
    found = set()
    for entries in ([], [sent], [sent, sent], [Sent(1, 10, 0, 2, 3, b"b")], [sent, Arrived(1, 12)], [Arrived(1, 12)]):
        journal = Journal(list(entries))
        found.add(journal.digest())
    assert len(found) == 6
