"""Lets the product's own tests ask the JavaScript verifier, too, whenever they ask the product's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from types import ModuleType
from typing import Any

import pytest

from primitives.errors import InputError
from tests.web.node_fixtures import Node, RefusedByNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Run Node for a module."""
    with running_node() as process:
        yield process


def both(node: Node, judge: Callable[..., Any], besides: tuple[str, ...]) -> Callable[..., Any]:
    """Return a verifier of Python that first asks JavaScript, and asserts that both accept or both refuse.

    Of a good proof JavaScript may refuse a step in `besides`, where it asks for more than the function in Python.
    """

    @wraps(judge)
    def judged(text: str, policy: str, number: str | None = None) -> Any:
        refused = _refused_by_node(node, text, policy, number, any_key=judge.__name__ == "verify_status")
        verdict, error = _judged(judge, text, policy, *([] if number is None else [number]))
        if error is not None:
            assert refused is not None, f"JavaScript accepts what is refused for: {error}"
            raise error
        assert refused is None or refused.step in besides, refused
        return verdict

    return judged


def _refused_by_node(node: Node, text: str, policy: str, number: str | None, *, any_key: bool) -> RefusedByNode | None:
    options = {} if number is None else {"certificate": number}
    try:
        node.verify(text, policy, op="verifyState" if any_key else "verify", **options)
    except RefusedByNode as refused:
        return refused
    return None


def _judged(judge: Callable[..., Any], *given: str) -> tuple[Any, InputError | None]:
    try:
        return judge(*given), None
    except InputError as error:
        return None, error


def ask_both(
    patch: pytest.MonkeyPatch, node: Node, module: ModuleType, names: tuple[str, ...], besides: tuple[str, ...] = ()
) -> None:
    """Let a module of tests ask both whenever it calls one of these functions."""
    for name in names:
        patch.setattr(module, name, both(node, getattr(module, name), besides))
