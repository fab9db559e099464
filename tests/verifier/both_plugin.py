"""For `pytest -p`: whatever a test has the node verify, the independent verifier verifies as well, and says the same.

So the forgeries that the node's own tests think up are put to both.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ledger.certificate_history
import ledger.completeness
import ledger.receipts
import ledger.status_proofs
from ledger.tlog_proofs import parse_tlog_proof
from primitives.encoding import decode
from primitives.errors import InputError
from tests.verifier.agreement_fixtures import own
from tests.verifier.verifier_fixtures import load

T = TypeVar("T")
SIZE_MAX = 1 << 26
BACKEND = os.environ["VERIFIER_BACKEND"]
COUNTS = {"accepted": 0, "refused": 0}
RECEIPTS, LISTS = load(BACKEND), load(BACKEND, "verify_completeness")
FIELDS = (
    "chain_id",
    "origin",
    "log_size",
    "epoch",
    "witnesses",
    "cosigners",
    "height",
    "time_ms",
    "from_ms",
    "until_ms",
)
FIELDS += ("header_hash", "is_newest", "event_id", "applied", "rule", "batch_count", "count", "first", "reached")


def both(node: Callable[..., Any], independent: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Return the node's function, which now asserts that the other one agrees."""

    def verified(text: str, policy: str, *rest: Any, **named: Any) -> Any:
        said = own(RECEIPTS, lambda: independent(text, policy, *rest, **named))
        try:
            verdict = node(text, policy, *rest, **named)
        except InputError:
            COUNTS["refused"] += 1
            assert isinstance(said, str), f"accepted by the independent verifier alone: {text}"
            raise
        COUNTS["accepted"] += 1
        assert isinstance(said, dict), f"refused by the independent verifier alone: {text}"
        for name in FIELDS:
            if hasattr(verdict, name) and name in said:
                value = getattr(verdict, name)
                plain = value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
                assert said[name] == plain, name
        if hasattr(verdict, "events"):
            assert [each["event_id"] for each in said["events"]] == [each.event_id for each in verdict.events]
        return verdict

    return verified


def _receipt(text: str, policy: str) -> dict[str, Any]:
    return dict(RECEIPTS.verify_receipt(text, RECEIPTS.Policy(policy)))


def _status(text: str, policy: str) -> dict[str, Any]:
    """Return what a status proof of any key proves, which for the node is no matter of certificates yet."""
    status, checkpoint = RECEIPTS.read_proof(text, RECEIPTS.STATUS, 2, RECEIPTS.Policy(policy))
    until_ms, is_newest = RECEIPTS.check_status(status, checkpoint)
    said = {"until_ms": until_ms, "is_newest": is_newest, "height": status.header.height}
    return said | {"time_ms": status.header.time_ms} | dict(checkpoint.said)


def _page(text: str, policy: str) -> dict[str, Any]:
    try:
        member = _extra(text, ledger.completeness.Completeness).member
    except InputError:
        member = ""
    return _as_receipts(lambda: LISTS.verify_page(text, LISTS.Policy(policy), member))


def _history(text: str, policy: str, number: str | None = None) -> dict[str, Any]:
    if number is None:
        key = _extra(text, ledger.certificate_history.CertificateHistory).status.key
        number = key.decode().removeprefix("certificate/")
    return _as_receipts(lambda: LISTS.verify_history_page(text, LISTS.Policy(policy), number))


def _extra(text: str, type_: type[T]) -> T:
    return decode(type_, parse_tlog_proof(text, size_max=SIZE_MAX).extra, size_max=SIZE_MAX)


def _as_receipts(verify: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a function of the second program, which loaded the first one by itself, with refusals of the first's type."""
    try:
        return verify()
    except LISTS.Refused as refused:
        raise RECEIPTS.Refused(*refused.args) from None


ledger.receipts.verify = both(ledger.receipts.verify, _receipt)
ledger.status_proofs.verify_status = both(ledger.status_proofs.verify_status, _status)
ledger.completeness.verify_completeness = both(ledger.completeness.verify_completeness, _page)
history = both(ledger.certificate_history.verify_certificate_history, _history)
ledger.certificate_history.verify_certificate_history = history
atexit.register(lambda: Path(os.environ["VERIFIER_COUNTS"]).write_text(f"{COUNTS['accepted']} {COUNTS['refused']}"))
