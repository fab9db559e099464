"""Every lie about changes of validators that the product's tests tell is told to JavaScript as well."""

from __future__ import annotations

import pytest

from tests.ledger import test_proofs_over_epochs as told
from tests.ledger.test_proofs_over_epochs import *  # noqa: F403  # all its tests, with their fixtures
from tests.web.lies_fixtures import ask_both, node
from tests.web.node_fixtures import Node

__all__ = ["node"]


@pytest.fixture(autouse=True)
def javascript_is_asked_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_both(monkeypatch, node, told, ("verify", "verify_status"))
