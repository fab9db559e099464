"""Two verifiers that share no code say the same of every proof, field by field, or both refuse it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.verifier.agreement_fixtures import REFUSED, node_receipt, node_status, own_receipt, own_status, same
from tests.verifier.proof_fixtures import Proofs, life, stretched
from tests.verifier.verifier_fixtures import BACKENDS, load


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_library_of_its_name_is_in_use(backend: str) -> None:
    assert (load(backend).VerifyKey is None) == (backend == "cryptography")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("proofs", [life, stretched], ids=["over epochs", "large blocks"])
def test_receipts_prove_the_same_to_both(proofs: type[Proofs], backend: str) -> None:
    made, verifier = proofs(), load(backend)
    seen: Counter[str] = Counter()
    for text in made.receipts:
        for name, policy in made.policies.items():
            node = node_receipt(text, policy)
            independent = own_receipt(verifier, text, policy)
            assert same(node, independent), (name, node, independent)
            seen["refused" if node == REFUSED else "applied" if node["applied"] else "rejected"] += 1  # type: ignore[index]  # no text
    assert min(seen["applied"], seen["rejected"], seen["refused"]) > 3, seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_status_proofs_prove_the_same_to_both_at_every_time(backend: str) -> None:
    made, verifier = life(), load(backend)
    seen: Counter[str] = Counter()
    for text, number, times in made.statuses:
        for name, policy in made.policies.items():
            for at_ms in times if name == "epoch 0" else times[:2]:
                node = node_status(text, policy, number, at_ms)
                independent = own_status(verifier, text, policy, number, at_ms)
                assert same(node, independent), (name, at_ms, node, independent)
                seen[node if isinstance(node, str) else str(node["status"])] += 1
    assert {"refused", "None", "valid"} <= seen.keys()
    assert min(seen.values()) > 10, seen
