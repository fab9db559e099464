"""The picture of a certificate's life: which status from when to when, and that it fills its frame."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from rpc.explorer.lives import WIDTH, Life, life

YEARS = {"valid_from": "2026-03-01T00:00:00.000Z", "valid_until": "2029-03-01T00:00:00.000Z"}
RECORD: Any = SimpleNamespace(**YEARS)


def lived(*events: str, now: int = 1_780_000_000_000) -> Life | None:
    """Return the life that events `KIND DATE` make; `!` marks rejected ones, `+` grave and upheld ones."""
    made: list[Any] = [
        SimpleNamespace(
            kind=kind.strip("!+") if "." in kind else f"certificate.{kind.strip('!+')}",
            body={"grave": "+" in kind, "upheld": "+" in kind},
            time=f"{date}T00:00:00.000Z",
            outcome=SimpleNamespace(applied="!" not in kind),
        )
        for kind, date in (event.split() for event in events)
    ]
    return life(RECORD, made, now)


@pytest.mark.parametrize(
    ("events", "spans"),
    [
        ("apply 2026-01-01,grant 2026-04-01", "application valid expired"),
        ("apply 2026-01-01,grant 2026-02-01", "application not_yet_valid valid expired"),
        (
            "apply 2026-01-01,grant 2026-04-01,suspend 2026-05-01,restore 2026-06-01",
            "application valid suspended valid expired",
        ),
        ("apply 2026-01-01,grant 2026-04-01,suspend 2026-05-01", "application valid suspended expired"),
        ("apply 2026-01-01,grant 2026-04-01,revoke! 2026-05-01,revoke 2026-06-01", "application valid revoked"),
        ("apply 2026-01-01,grant 2026-04-01,cancel 2030-06-01", "application valid expired"),
        (
            "apply 2026-01-01,grant 2026-04-01,surveil 2026-05-01,surveil+ 2026-06-01,surveil+ 2026-07-01",
            "application valid suspended expired",
        ),
        ("apply 2026-01-01,grant 2026-04-01,inspection.report+ 2026-06-01", "application valid suspended expired"),
        ("apply 2026-01-01,grant 2026-04-01,inspection.report 2026-06-01", "application valid expired"),
        (
            "apply 2026-01-01,grant 2026-04-01,suspend 2026-05-01,revoke 2026-06-01,appeal 2026-06-02,"
            "decide_appeal+ 2026-07-01",
            "application valid suspended revoked suspended expired",
        ),
        (
            "apply 2026-01-01,grant 2026-04-01,revoke 2026-06-01,appeal 2026-06-02,decide_appeal 2026-07-01",
            "application valid revoked",
        ),
        (
            "apply 2026-01-01,refuse 2026-02-01,appeal 2026-02-02,decide_appeal+ 2026-02-03,grant 2026-04-01,"
            "suspend 2026-05-01,reduce 2026-06-01,appeal 2026-06-02,decide_appeal+ 2026-07-01",
            "application valid suspended expired",
        ),
    ],
)
def test_each_status_has_its_span_and_the_spans_meet(events: str, spans: str) -> None:
    found = lived(*events.split(","))
    assert found is not None
    assert [span.status for span in found.spans] == spans.split()
    assert all(one.until == other.since for one, other in pairwise(found.spans))
    assert found.spans[-1].until is None
    assert sum(span.width for span in found.spans) == pytest.approx(WIDTH, abs=1)
    assert 0 <= found.now_x <= WIDTH


def test_a_history_without_its_beginning_has_no_picture() -> None:
    assert lived("suspend 2026-05-01") is None
    assert lived() is None
