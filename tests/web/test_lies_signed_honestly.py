"""Lies in which every hash and signature holds, each refused by one check of the JavaScript verifier alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from ledger.completeness import verify_completeness
from ledger.handovers import first_span, make_handovers
from ledger.reader import LedgerReader
from ledger.receipts import verify
from ledger.trust_policy import policy_text
from primitives import merkle
from primitives.errors import InputError, ProofError
from tests.ledger.test_completeness import changed, extra_of, history, made
from tests.ledger.test_forged_proofs import BATCH, OTHER, POLICY, receipt
from tests.ledger.test_proofs_over_epochs import Story, with_handovers
from tests.web.node_fixtures import Node, RefusedByNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


def test_a_certificate_of_another_block_of_the_same_epoch_hands_nothing_over(node: Node) -> None:
    story = Story()
    first, second = make_handovers(story.reader, 2)
    earlier = story.reader.committed_block(first.header.height - 1)
    assert earlier is not None
    assert earlier.certificate is not None
    assert earlier.certificate.epoch == first.certificate.epoch
    forged = with_handovers(story.receipts[2], (replace(first, certificate=earlier.certificate), second))
    with pytest.raises(InputError):
        verify(forged, story.policies[0])
    with pytest.raises(RefusedByNode) as refused:
        node.verify(forged, story.policies[0])
    assert refused.value.step == "handovers"


def test_a_block_and_its_batch_of_another_chain_are_refused(node: Node) -> None:
    forged = receipt(replace(BATCH, chain_id=OTHER), header={"chain_id": OTHER})
    with pytest.raises(ProofError, match="another chain"):
        verify(forged, POLICY)
    with pytest.raises(RefusedByNode) as refused:
        node.verify(forged, POLICY)
    assert refused.value.step == "header"


def test_a_batch_without_its_last_event_is_refused(node: Node) -> None:
    ledger = history()
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    proof = made(ledger, "bank-a", 5, 8).proof
    extra = extra_of(proof)
    number = next(i for i, batch in enumerate(extra.batches) if len(batch.events) > 1)
    batch = extra.batches[number]
    log, size = LedgerReader(ledger.store, ledger.genesis).log, extra.header.first_index + extra.header.event_count + 1
    before, after = merkle.range_proof(batch.log_index, batch.log_index + len(batch.events) - 1, size)
    shorter = replace(
        batch,
        events=batch.events[:-1],
        before=tuple(map(log.subtree, before)),
        after=tuple(map(log.subtree, after)),
    )
    batches = (*extra.batches[:number], shorter, *extra.batches[number + 1 :])
    forged = changed(proof, lambda shown: replace(shown, batches=batches))
    with pytest.raises(ProofError, match="events are not those of the batch"):
        verify_completeness(forged, policy)
    with pytest.raises(RefusedByNode) as refused:
        node.verify(forged, policy)
    assert refused.value.step == "batch"
