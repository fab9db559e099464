"""Completeness of a member's events, and of a certificate's history: both verifiers say the same, page by page."""

from __future__ import annotations

from functools import cache
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings

from chainnode.cli.audit import completeness_row
from ledger.certificate_history import joined, verify_certificate_history
from ledger.completeness import verify_completeness
from ledger.proof_kinds import pages_of
from primitives.errors import InputError
from tests.ledger import test_certificate_history, test_completeness
from tests.ledger.certificate_fixtures import NUMBER
from tests.verifier.agreement_fixtures import REFUSED, Said, _fields, own, same
from tests.verifier.test_mutated_proofs import RANDOM, mutated
from tests.verifier.verifier_fixtures import BACKENDS, load

MEMBERS = ("bank-a", "bank-b", "bank-d", "aaa", "bank-bb", "zzz")
NOBODY = "FTP-2026-06-000009"


def node_completeness(text: str, policy: str, member: str) -> Said:
    """Return what the node's verifier says of the events of a member."""
    try:
        completeness_row(text, policy, member)
        found = [verify_completeness(page, policy) for page in pages_of(text)]
    except InputError:
        return REFUSED
    said = _fields(found[-1], ("events",)) | {"from_height": found[0].from_height, "from_ms": found[0].from_ms}
    return said | {
        "batch_count": sum(page.batch_count for page in found),
        "events": [
            {
                "event_id": each.event_id.hex(),
                "applied": each.outcome.applied,
                "rule": each.outcome.rule,
                "detail": each.outcome.detail,
                "height": each.height,
                "index": each.index,
                "time_ms": each.time_ms,
                "source": each.source.hex(),
                "batch_number": each.batch_number,
                "event": each.event_bytes.hex(),
            }
            for page in found
            for each in page.events
        ],
    }


def node_history(text: str, policy: str, number: str) -> Said:
    """Return what the node's verifier says of the history of a certificate."""
    try:
        found = [verify_certificate_history(page, policy, number) for page in pages_of(text)]
        events = joined(found)
    except InputError:
        return REFUSED
    said = _fields(found[-1].status, ("key", "value")) | {"exists": found[-1].certificate is not None}
    shown = [
        {
            "event_id": each.event_id.hex(),
            "event": each.event_bytes.hex(),
            "height": each.height,
            "log_index": each.log_index,
            "time_ms": each.time_ms,
        }
        for each in events
    ]
    return said | {"count": found[-1].count, "events": shown}


def hexed(value: Any) -> Any:
    """Return a value with bytes as hex, as the program prints it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: hexed(each) for name, each in value.items()}
    return [hexed(each) for each in value] if isinstance(value, list) else value


def own_completeness(verifier: ModuleType, text: str, policy: str, member: str) -> Said:
    """Return what the independent verifier says of the events of a member."""
    return hexed(own(verifier, lambda: verifier.verify_completeness(text, verifier.Policy(policy), member)))  # type: ignore[no-any-return]  # of the same form


def own_history(verifier: ModuleType, text: str, policy: str, number: str) -> Said:
    """Return what the independent verifier says of the history of a certificate."""
    return hexed(own(verifier, lambda: verifier.verify_history(text, verifier.Policy(policy), number)))  # type: ignore[no-any-return]  # of the same form


@cache
def ranges() -> tuple[list[tuple[str, str]], str]:
    """Return proofs of completeness with their members, one page or several, and the policy."""
    ledger = test_completeness.history()
    policy = test_completeness.policy_text(ledger.genesis, (test_completeness.first_span(ledger.genesis),))
    newest, proofs = test_completeness.NEWEST, []
    for member in MEMBERS:
        for start, stop in ((0, 3), (4, 4), (5, 8), (9, newest), (0, newest), (newest, newest)):
            proofs.append((test_completeness.made(ledger, member, start, stop).proof, member))
        pages, start = "", 1
        while start <= newest:
            page = test_completeness.made(ledger, member, start, newest, page=600)
            pages, start = pages + page.proof, page.to_height + 1
        proofs.append((pages, member))
    return proofs, policy


@cache
def histories() -> tuple[list[tuple[str, str]], list[str]]:
    """Return histories with their certificates, in one page or several, and the policies of all epochs."""
    life = test_certificate_history.Life()
    newest = life.chain.chain.height
    proofs = [
        (life.page(height, number).proof, number)
        for height in (0, life.granted - 1, life.granted, newest - 3, newest)
        for number in (NUMBER, NOBODY, test_certificate_history.SUCCESSOR)
    ]
    for size in (1, 900):
        pages, first = "", 0
        while True:
            page = life.page(first=first, page=size)
            pages += page.proof
            if page.next is None:
                break
            first = page.next
        proofs.append((pages, NUMBER))
    return proofs, [life.chain.policy(epoch) for epoch in range(3)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_that_is_shown_where_another_stands_is_refused_by_both(backend: str) -> None:
    verifier = load(backend, "verify_completeness")
    policy, proof, forged = test_completeness.said_twice()
    assert own_completeness(verifier, proof, policy, "bank-a") != REFUSED
    assert own_completeness(verifier, forged, policy, "bank-a") == REFUSED
    assert node_completeness(forged, policy, "bank-a") == REFUSED


@pytest.mark.parametrize("backend", BACKENDS)
def test_ranges_of_a_members_events_prove_the_same_to_both(backend: str) -> None:
    verifier = load(backend, "verify_completeness")
    proofs, policy = ranges()
    shown = 0
    for text, member in proofs:
        node, independent = node_completeness(text, policy, member), own_completeness(verifier, text, policy, member)
        assert node != REFUSED
        assert same(node, independent), (member, node, independent)
        shown += len(node["events"])  # type: ignore[arg-type,index]  # not refused
        assert own_completeness(verifier, text, policy, "bank-c") == REFUSED
    assert shown > 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_histories_of_certificates_prove_the_same_to_both(backend: str) -> None:
    verifier = load(backend, "verify_completeness")
    proofs, policies = histories()
    for text, number in proofs:
        for policy in policies:
            node, independent = node_history(text, policy, number), own_history(verifier, text, policy, number)
            assert node != REFUSED
            assert same(node, independent), (number, node, independent)
        assert own_history(verifier, text, policies[0], "FTP-2026-06-000007") == REFUSED


def test_pages_that_are_left_out_or_put_elsewhere_are_refused() -> None:
    verifier = load("pynacl", "verify_completeness")
    proofs, policy = ranges()
    text, member = proofs[6]
    pages = pages_of(text)
    assert len(pages) > 3
    for wrong in (pages[:2] + pages[3:], pages[::-1], [pages[0], *pages]):
        assert own_completeness(verifier, "".join(wrong), policy, member) == REFUSED
    proofs, policies = histories()
    text, number = proofs[-2]
    pages = pages_of(text)
    assert len(pages) > 3
    for wrong in (pages[:2] + pages[3:], pages[::-1], pages[1:], pages[:-1], [pages[0], *pages]):
        assert own_history(verifier, "".join(wrong), policies[0], number) == REFUSED
        assert node_history("".join(wrong), policies[0], number) == REFUSED


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120)
@given(RANDOM)
def test_a_changed_proof_of_completeness_says_the_same_to_both(backend: str, random: Random) -> None:
    verifier = load(backend, "verify_completeness")
    proofs, policy = ranges()
    text, member = random.choice([each for each in proofs if len(pages_of(each[0])) == 1])
    text = mutated(random, text)
    node, independent = node_completeness(text, policy, member), own_completeness(verifier, text, policy, member)
    assert same(node, independent), (node, independent, text)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120)
@given(RANDOM)
def test_a_changed_history_says_the_same_to_both(backend: str, random: Random) -> None:
    verifier = load(backend, "verify_completeness")
    proofs, policies = histories()
    text, number = random.choice([each for each in proofs if len(pages_of(each[0])) == 1])
    text = mutated(random, text)
    node, independent = node_history(text, policies[0], number), own_history(verifier, text, policies[0], number)
    assert same(node, independent), (node, independent, text)
