"""What is submitted as evidence and when: turns, stopping, retries; and that honest replicas' messages make none."""

from __future__ import annotations

from itertools import combinations

import pytest
from msgspec.structs import replace

from chainnode.evidence import ATTEMPTS_MAX, FINDINGS_MAX, RETRY_MS, TURN_MS, EvidenceBook, body_of, turn_of
from consensus.messages import CheckpointVote, CosignatureEvidence, Evidence, PrePrepare, Vote, decode_message
from ledger.batch_headers import BatchHeader, batch_statement
from ledger.evidence import evidence_kinds
from ledger.evidence_bodies import (
    EVIDENCE_VOTES,
    BatchesEvidence,
    EvidenceBody,
    SignedHeader,
    SignedVote,
    VotesEvidence,
    accused_bytes,
)
from ledger.kinds import ApplyContext, RuleBroken
from ledger.policy import Policy
from ledger.rows import finding_key
from ledger.state import Transaction
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.errors import StorageError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, EventId, Hash, Height, MemberId, SourceKey, TimeMs
from primitives.keys import SigningKey, verify
from primitives.votes import PREPARE
from sim.cluster import Arrival, Cluster, Offer
from sim.network import Weather
from sim.signatures import stand_in_verify
from sim.workload import START_MS

NOW = TimeMs(1_000_000)


def finding(height: int = 7, validator: int = 1) -> VotesEvidence:
    one, other = (SignedVote(leaf_hash(bytes([item])), bytes(64)) for item in (1, 2))
    first, second = sorted((one, other), key=lambda vote: vote.block_hash)
    return VotesEvidence(0, 0, height, PREPARE, validator, first, second)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(1)


def state_of(cluster: Cluster) -> Transaction:
    core = cluster.nodes[0].core
    assert core is not None
    return Transaction(core.chain.state_after(core.chain.tip_hash))


def book_of(cluster: Cluster) -> EvidenceBook:
    return EvidenceBook(cluster.chain_id, verify)


def apply(cluster: Cluster, state: Transaction, body: EvidenceBody, *, stand_in: bool = True) -> str:
    """Apply evidence as execution would; return the rule that it broke, empty where it was applied."""
    verifier = stand_in_verify if stand_in else (lambda *_: True)
    kinds = {type(body): spec for spec in evidence_kinds(verifier, verify) if spec.schemas[1] is type(body)}
    context = ApplyContext(
        member=MemberId("bank-0"), source=SourceKey(bytes(32)), roles=frozenset(), source_roles=frozenset(),
        event_id=EventId(leaf_hash(encode(body))), reference=bytes(16), height=Height(1), time_ms=NOW,
        policy=Policy(), chain_id=cluster.chain_id, epoch=Epoch(0), rules=1,
    )  # fmt: skip
    spec = kinds[type(body)]
    assert spec.apply is not None
    try:
        spec.apply(context, state, body)
    except RuleBroken as broken:
        return broken.rule
    return ""


def test_the_one_after_the_accused_comes_first_and_each_has_its_own_turn() -> None:
    assert [turn_of(me, 1, 4) for me in range(4)] == [2, 3, 0, 1]
    assert turn_of(None, 1, 4) == 4, "observers after all validators"


def test_evidence_is_submitted_when_its_turn_comes_and_under_the_same_reference_only_once(cluster: Cluster) -> None:
    book, state = book_of(cluster), state_of(cluster)
    assert book.found(finding(), 2, NOW)
    assert not book.found(finding(height=8), 0, NOW), "the first finding against a key is kept"
    assert book.due(state, TimeMs(NOW + 2 * TURN_MS - 1)) == []
    (submission,) = book.due(state, TimeMs(NOW + 2 * TURN_MS))
    assert submission.body == encode(finding())
    assert book.due(state, TimeMs(NOW + 2 * TURN_MS + RETRY_MS - 1)) == []
    (again,) = book.due(state, TimeMs(NOW + 2 * TURN_MS + RETRY_MS))
    assert (again.body, again.kind) == (submission.body, submission.kind)
    assert again.reference != submission.reference, "that of a refused event stays taken"


def test_nothing_is_submitted_that_the_chain_has(cluster: Cluster) -> None:
    book, state = book_of(cluster), state_of(cluster)
    book.found(finding(), 1, NOW)
    assert apply(cluster, state, finding(height=9), stand_in=False) == "", "of another place, but the same key"
    assert book.due(state, TimeMs(NOW + TURN_MS)) == []
    assert len(book) == 0


def test_submitting_ends_after_some_attempts(cluster: Cluster) -> None:
    book, state, at_ms, count = book_of(cluster), state_of(cluster), NOW, 0
    book.found(finding(), 0, NOW)
    while len(book):
        count += len(book.due(state, TimeMs(at_ms)))
        at_ms = TimeMs(at_ms + (RETRY_MS << ATTEMPTS_MAX))
    assert count == ATTEMPTS_MAX


def test_a_clock_that_is_set_back_delays_a_turn_by_no_more_than_its_wait(cluster: Cluster) -> None:
    book, state = book_of(cluster), state_of(cluster)
    book.found(finding(), 1, NOW)
    back = TimeMs(NOW - 10_000_000)
    assert book.due(state, back) == []
    assert len(book.due(state, TimeMs(back + TURN_MS))) == 1


def test_findings_are_bounded(cluster: Cluster) -> None:
    book = book_of(cluster)
    noted = [book.found(replace(finding(), epoch=epoch), 0, NOW) for epoch in range(FINDINGS_MAX + 3)]
    assert noted == [True] * FINDINGS_MAX + [False] * 3
    assert len(book) == FINDINGS_MAX


def stored(book: EvidenceBook, store: MemoryStore) -> MemoryStore:
    """Write what a book has to be written, as the node's turn does."""
    store.write(book.take_rows(), sync=True)
    return store


def test_a_finding_outlives_a_restart_until_the_chain_has_it(cluster: Cluster) -> None:
    store, state = MemoryStore(), state_of(cluster)
    before = book_of(cluster)
    before.found(finding(), 3, NOW)
    stored(before, store)
    after = book_of(cluster)
    after.restore(store, lambda body: 1, NOW)
    assert len(after) == 1
    assert len(stored(after, store).rows()) == 1
    (submission,) = after.due(state, TimeMs(NOW + TURN_MS))
    assert submission.body == encode(finding())
    apply(cluster, state, finding(height=9), stand_in=False)
    assert after.due(state, TimeMs(NOW + TURN_MS + RETRY_MS)) == []
    assert stored(after, store).rows() == {}, "the chain has it"


def test_a_finding_that_is_given_up_leaves_no_row(cluster: Cluster) -> None:
    book, store, at_ms = book_of(cluster), MemoryStore(), NOW
    book.found(finding(), 0, NOW)
    while len(book):
        book.due(state_of(cluster), TimeMs(at_ms))
        at_ms = TimeMs(at_ms + (RETRY_MS << ATTEMPTS_MAX))
    assert stored(book, store).rows() == {}


def test_a_row_that_is_no_evidence_goes_and_a_damaged_one_is_refused(cluster: Cluster) -> None:
    store = MemoryStore()
    same = replace(finding(), second=finding().first)
    key = finding_key(EVIDENCE_VOTES, accused_bytes(same))
    store.write([(key, encode(same)), (b"e\x07", b"of a later release")], sync=True)
    book = book_of(cluster)
    book.restore(store, lambda body: 0, NOW)
    assert len(book) == 0
    assert stored(book, store).rows() == {}
    store.write([(key, b"\xc1")], sync=True)
    with pytest.raises(StorageError, match=r"evidence 60.*chainnode fsck"):
        book_of(cluster).restore(store, lambda body: 0, NOW)


def test_what_does_not_hold_is_no_finding(cluster: Cluster) -> None:
    same = replace(finding(), second=finding().first)
    assert not book_of(cluster).found(same, 0, NOW)


def test_rivals_that_their_source_did_not_sign_are_no_finding(cluster: Cluster) -> None:
    source = SigningKey(bytes(range(32)))

    def header(root: bytes, key: SigningKey = source) -> SignedHeader:
        made = BatchHeader(1, cluster.chain_id, "bank-0", source.public, 0, bytes(32), 1, leaf_hash(root), TimeMs(0))
        return SignedHeader(made, key.sign(batch_statement(made)))

    framed = BatchesEvidence(header(b"one"), header(b"other", SigningKey(bytes(32))))
    assert not book_of(cluster).found(framed, 0, NOW)
    assert not book_of(cluster).found(BatchesEvidence(header(b"one"), header(b"one")), 0, NOW)
    assert book_of(cluster).found(BatchesEvidence(header(b"one"), header(b"other")), 0, NOW)


def heard(seed: int) -> tuple[Cluster, set[Vote], set[CheckpointVote]]:
    """Return what honest validators signed in a run with loss, replay, a partition, a crash and clocks set back."""
    cluster = Cluster(seed, weather=Weather(loss=0.15, replay=0.2))
    votes: set[Vote] = set()
    cosigned: set[CheckpointVote] = set()
    arrive = cluster._arrive

    def overheard(event: Arrival) -> None:
        message = decode_message(event.kind, event.payload) if event.kind < 13 else None
        if isinstance(message, PrePrepare):
            header = message.block.header
            leader = cluster.genesis_validators.leader(message.view)
            place = message.epoch, message.view, header.height, header.hash()
            votes.add(Vote(PREPARE, *place, leader, message.signature))
        elif isinstance(message, Vote):
            votes.add(message)
        elif isinstance(message, CheckpointVote):
            cosigned.add(message)
        arrive(event)

    cluster._arrive = overheard  # type: ignore[method-assign]  # listens in
    for number in range(20):
        cluster.schedule(START_MS + 350 * number, Offer(number % 4, 2))
    cluster.schedule(START_MS + 1_000, lambda: cluster.network.cut(0, 1))
    cluster.schedule(START_MS + 1_000, lambda: cluster.network.cut(0, 2))
    cluster.schedule(START_MS + 2_500, lambda: setattr(cluster.nodes[3], "skew_ms", -2_000))
    cluster.schedule(START_MS + 3_000, lambda: cluster.crash(2))
    cluster.schedule(START_MS + 4_000, lambda: cluster.start(2))
    cluster.run_until(START_MS + 10_000)
    return cluster, votes, cosigned


@pytest.mark.parametrize("seed", range(2))
def test_no_pair_of_honest_validators_messages_is_ever_applied_as_evidence(seed: int) -> None:
    cluster, votes, cosigned = heard(seed)
    state, rules = state_of(cluster), set()
    by_signer: dict[int, list[Vote]] = {}
    for vote in sorted(votes, key=encode):
        by_signer.setdefault(vote.validator, []).append(vote)
    assert len(votes) > 50
    assert len({vote.view for vote in votes}) > 1, "there was a view change"
    for mine in by_signer.values():
        for one, other in combinations(mine, 2):
            # As a liar would put it: whatever the second vote is of, it is said to be of the first one's place.
            rules.add(apply(cluster, state, body_of(Evidence(one, other), "")))
    assert rules <= {"bad_signature", "not_contradictory"}
    assert "bad_signature" in rules
    by_cosigner: dict[int, list[CheckpointVote]] = {}
    for cosignature in sorted(cosigned, key=encode):
        by_cosigner.setdefault(cosignature.validator, []).append(cosignature)
    origin = cluster.genesis.origin
    for signed in by_cosigner.values():
        for one, other in combinations(signed, 2):
            assert apply(cluster, state, body_of(CosignatureEvidence(one, other), origin)) == "not_contradictory"
    assert Hash(bytes(32)) not in {vote.block_hash for vote in votes}
