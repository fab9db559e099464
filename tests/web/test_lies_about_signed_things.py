"""What the product's tests sign anew around one thing that does not fit, JavaScript refuses as well."""

from __future__ import annotations

import pytest

from tests.ledger import test_forged_proofs as told
from tests.ledger.test_forged_proofs import *  # noqa: F403  # all its tests, with their fixtures
from tests.web.lies_fixtures import ask_both, node
from tests.web.node_fixtures import Node

__all__ = ["node"]


@pytest.fixture(autouse=True)
def javascript_is_asked_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_both(monkeypatch, node, told, ("verify", "verify_status"))
