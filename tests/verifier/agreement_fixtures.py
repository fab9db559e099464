"""What the node's verifier says of a proof, in the words of the independent one, or that it refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

from ledger.receipts import verify
from ledger.status_proofs import certificate_status, verify_status
from primitives.errors import InputError

REFUSED = "refused"
Said = dict[str, Any] | str


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value


def _fields(verdict: Any, without: tuple[str, ...]) -> dict[str, Any]:  # Any: a verdict of one of several kinds
    return {each.name: _plain(getattr(verdict, each.name)) for each in fields(verdict) if each.name not in without}


def node_receipt(text: str, policy: str) -> Said:
    """Return what the node's verifier says of a receipt."""
    try:
        verdict = verify(text, policy)
    except InputError:
        return REFUSED
    event = verdict.event
    said = {"reference": event.reference.hex(), "kind": event.kind, "schema": event.schema, "body": event.body.hex()}
    return _fields(verdict, ("event",)) | said


def node_status(text: str, policy: str, number: str, at_ms: int | None) -> Said:
    """Return what the node's verifier says of a status proof."""
    try:
        verdict = verify_status(text, policy)
        status = certificate_status(verdict, number, at_ms)
    except InputError:
        return REFUSED
    word = None if status is None else status.status.value
    said = {"exists": status is not None, "status": word, "valid": status is not None and status.valid}
    return _fields(verdict, ("key", "value")) | said | {"at_ms": verdict.time_ms if at_ms is None else at_ms}


def own(verifier: ModuleType, verify_: Callable[[], dict[str, Any]]) -> Said:
    """Return what the independent verifier says."""
    try:
        return {name: _plain(value) for name, value in verify_().items()}
    except verifier.Refused as refused:
        where, why = refused.args
        assert where, why
        return REFUSED


def own_receipt(verifier: ModuleType, text: str, policy: str) -> Said:
    """Return what the independent verifier says of a receipt."""
    return own(verifier, lambda: verifier.verify_receipt(text, verifier.Policy(policy)))


def own_status(verifier: ModuleType, text: str, policy: str, number: str, at_ms: int | None) -> Said:
    """Return what the independent verifier says of a status proof."""
    return own(verifier, lambda: verifier.verify_status(text, verifier.Policy(policy), number, at_ms))


def same(node: Said, independent: Said) -> bool:
    """Say whether both refuse, or the independent one says whatever the node says."""
    if isinstance(node, str) or isinstance(independent, str):
        return node == independent
    return node.items() <= independent.items()
