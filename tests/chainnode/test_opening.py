"""How a node may start: with a vote, or only to follow; and what it says of a log that is not its own or damaged."""

from __future__ import annotations

import pytest

from chainnode.opening import check_log_owner, must_follow, previous_validators, told
from chainnode.wal_format import LogDamaged, encode_body, encode_frame, encode_header, scan
from consensus.records import Committed, Cosigned, Prepared, Proposed, ViewChanged, decode_record
from ledger.state import StateView
from primitives.errors import StorageError
from sim.cluster import Cluster, Offer
from sim.workload import START_MS, bank_of
from tests.ledger.governance_fixtures import Council


@pytest.mark.parametrize(
    ("has_vote_key", "log_begun", "follows"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, True)],
)
def test_a_node_votes_only_with_its_key_and_the_log_of_what_that_key_signed(
    has_vote_key: bool, log_begun: bool, follows: bool
) -> None:
    assert must_follow(has_vote_key=has_vote_key, log_begun=log_begun) is follows


def test_a_node_that_opens_after_an_epoch_knows_the_set_of_the_one_before() -> None:
    council = Council(4)
    assert previous_validators(council.chain) is None
    before = council.set
    proposal = council.propose(council.addition())
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-4", council.ready(proposal, "node-4")).applied
    assert previous_validators(council.chain) == before


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Four nodes whose logs hold records of every kind that a validator signs."""
    made = Cluster(5)
    for number in range(10):
        made.schedule(START_MS + 150 * number, Offer(number % 4, 1))
    made.schedule(START_MS + 1_000, lambda: made.network.cut(0, 1))
    made.schedule(START_MS + 1_000, lambda: made.network.cut(0, 2))
    made.schedule(START_MS + 1_000, lambda: made.network.cut(0, 3))
    made.run_until(START_MS + 4_000)
    return made


def records_of(cluster: Cluster, index: int) -> list[bytes]:
    return list(cluster.nodes[index].disk.records)


def state_of(cluster: Cluster, index: int) -> StateView:
    core = cluster.nodes[index].core
    assert core is not None
    return core.chain.state_after(core.chain.tip_hash)


def test_a_validator_takes_its_own_log_and_refuses_anothers(cluster: Cluster) -> None:
    core = cluster.nodes[1].core
    assert core is not None
    own = [decode_record(data) for data in records_of(cluster, 1)]
    assert {type(record) for record in own} >= {Proposed, Prepared, Committed, ViewChanged, Cosigned}
    check_log_owner(own, state_of(cluster, 1), bank_of(1), where="")
    said = rf"my.wal: epoch 0, height \d+: .* another validator: expected {bank_of(1)}, got {bank_of(2)}.*log back"
    with pytest.raises(StorageError, match=said):
        core.restore(records_of(cluster, 2), cluster.now_ms, where="my.wal")


@pytest.mark.parametrize("kind", [Prepared, Committed, ViewChanged, Cosigned])
def test_each_record_that_a_validator_signs_tells_whose_log_it_is(cluster: Cluster, kind: type) -> None:
    other = [record for data in records_of(cluster, 2) if isinstance(record := decode_record(data), kind)]
    assert other
    with pytest.raises(StorageError, match="another validator"):
        check_log_owner(other[:1], state_of(cluster, 1), bank_of(1), where="")


def test_a_damaged_log_says_up_to_which_height_it_reads_back(cluster: Cluster) -> None:
    chain_id = cluster.chain_id
    votes = [data for data in records_of(cluster, 1) if isinstance(decode_record(data), Prepared)][:3]
    data = encode_header(chain_id)
    for vote in votes:
        data += encode_frame(chain_id, len(data), encode_body([vote]))
    start = len(data)
    data += encode_frame(chain_id, start, encode_body([votes[0]]))
    broken = data[:-10] + b"?" + data[-9:]
    with pytest.raises(LogDamaged) as caught:
        scan(broken, chain_id, where="consensus.wal")
    height = max(record.vote.height for vote in votes if isinstance(record := decode_record(vote), Prepared))
    said = str(told(caught.value))
    assert (
        f"consensus.wal: the write-ahead log is damaged at offset {start}, behind records up to height {height}" in said
    )
    assert "move the file away" in said


def test_a_log_that_is_damaged_from_its_start_on_tells_no_height() -> None:
    assert "height" not in str(told(LogDamaged("the write-ahead log is damaged", 0, records=[b"no record"])))
