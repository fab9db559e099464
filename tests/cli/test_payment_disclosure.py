"""A request is answered once: what the chain would reject is refused before any package is written."""

from __future__ import annotations

from typing import Any

import pytest

from chainnode.cli import payment_disclosure
from primitives.errors import UsageError

REQUEST = "ab" * 32


class Node:
    """Stands for the settings and for a node that lists one request."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def client(self, **_: object) -> Node:
        return self

    def call(self, _method: str, **_: object) -> dict[str, Any]:
        return {"event": {"kind": "payment.request_disclosure", "body": {"reporter": "bank-a"}}}

    def pages(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return self.rows


@pytest.mark.parametrize(
    ("rows", "is_open"),
    [
        ([{"id": REQUEST, "answer": None}], True),
        ([{"id": REQUEST, "answer": "cd" * 32}], False),
        ([{"id": "ef" * 32, "answer": None}], False),
    ],
)
def test_a_request_that_is_not_open_is_refused(
    rows: list[dict[str, Any]], is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payment_disclosure, "settings", lambda: Node(rows))
    monkeypatch.setattr(payment_disclosure, "member_of_settings", lambda: "bank-a")
    if is_open:
        assert payment_disclosure._asked(REQUEST) == {"reporter": "bank-a"}
        return
    with pytest.raises(UsageError, match="not open"):
        payment_disclosure._asked(REQUEST)
