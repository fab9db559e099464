"""A node that began from a snapshot answers every method: with what it holds, or by saying that it does not hold it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger.certificate_versions import read_versions
from ledger.chain import Chain
from ledger.committed_state import CommittedState
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.errors import ChainError
from primitives.ids import TimeMs
from rpc.announcing import Announcer
from rpc.errors import RpcError, from_chain_error
from rpc.methods.catalogue import METHODS
from rpc.ports import NodeStatus, Services, SubmitResult, SubmitStatus
from rpc.registry import Unsettled
from rpc.streams import Place, Stream, Topic
from tests.ledger.genesis_fixtures import TIME_MS
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_certificates_chain import FILES, OneNode
from tests.ledger.test_snapshots import follow

BEFORE = 12


class Joined:
    """The certificates of the samples: most came before the snapshot, some after it."""

    def __init__(self) -> None:
        node = OneNode()
        for file in FILES[:BEFORE]:
            node.submit(file, TIME_MS + 3_600_000)
        validators = node.chain.validators_after(node.chain.tip_hash)
        make_stable(node.store, node.genesis, validators)
        self.store = restored(made(node.store, node.genesis), node.genesis)
        self.base = int(node.chain.height)
        for file in FILES[BEFORE:]:
            node.submit(file, TIME_MS + 3_600_000)
        follow(Chain(self.store, node.genesis), self.store, LedgerReader(node.store, node.genesis))
        for store in (node.store, self.store):
            make_stable(store, node.genesis, validators)
        self.tip, self.now_ms = int(node.chain.height), node.now_ms
        self.whole, self.reader = (LedgerReader(store, node.genesis) for store in (node.store, self.store))
        self.services = self.services_of(self.reader)

    def services_of(self, reader: LedgerReader) -> Services:
        index = Index(MemoryStore())
        follower = IndexFollower(index, reader)
        while follower.follow():
            pass
        return Services(reader, self, self, lambda: TimeMs(self.now_ms), 200, IndexReader(reader, index))

    def status(self, *event: object) -> Any:
        if event:
            return SubmitResult(event[0], SubmitStatus.UNKNOWN)  # type: ignore[arg-type]  # an id
        return NodeStatus("00", "n", "bank-a", "observer", self.tip, 0, 0, "n", 0, False, "0.1.0")

    def __getattr__(self, name: str) -> Any:
        return lambda *_: [] if name == "peers" else None


@pytest.fixture(scope="module")
def joined() -> Joined:
    return Joined()


def asked(services: Services, method: str, params: dict[str, Any]) -> Any:
    """Return a method's answer, or the error that a client gets."""
    item = METHODS[method]
    try:
        bound = item.decoder.decode(msgspec.json.encode(params))
        found: Any = item.answer(services, bound)
        return found.answer if isinstance(found, Unsettled) else found
    except RpcError as error:
        return error
    except ChainError as error:
        return from_chain_error(error)


def calls(joined: Joined) -> list[tuple[str, dict[str, Any]]]:
    """Return calls of every reading method that names a place, on both sides of the base."""
    heights = ["earliest", 0, 1, joined.base - 1, joined.base, joined.base + 1, joined.tip, "latest"]
    times = ["2025-12-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:13Z", "2026-02-01T00:00:00Z"]
    ids = [joined.whole.block_events(height)[0].id.hex() for height in (1, joined.base, joined.base + 1, joined.tip)]
    numbers = [key.decode().partition("/")[2] for key, _ in CommittedState(joined.store).raw_scan(b"certificate/")]
    found: list[tuple[str, dict[str, Any]]] = []
    for height in heights:
        found += [(name, {"height": height}) for name in ("ledger_getBlock", "ledger_getBlockEvents")]
        found += [("ledger_getBlocks", {"start": height, "order": order}) for order in ("asc", "desc")]
        for number in numbers:
            found += [("cert_get", {"number": number, "height": height})]
            found += [(name, {"number": number, "at": height}) for name in ("cert_getStatus", "cert_historyProof")]
        found += [("audit_completeness", {"member": member, "from": height}) for member in ("cb", "bank-a", "nobody")]
        found += [("audit_completeness", {"member": "cb", "from": height, "to": height})]
    for time in times:
        found += [("cert_getStatus", {"number": numbers[0], "at": time})]
        found += [("audit_completeness", {"member": "cb", "from": time})]
    for event_id in ids:
        found += [(name, {"event_id": event_id}) for name in ("ledger_getEvent", "ledger_getStatus", "ledger_getProof")]
    found += [("cert_history", {"number": number}) for number in numbers]
    found += [("cert_list", {}), ("gov_listMembers", {}), ("net_validators", {}), ("payment_list", {})]
    found += [("net_evidence", {}), ("ledger_getCheckpoint", {})]
    size = joined.reader.log_size()
    found += [("ledger_getConsistency", {"old_size": old, "new_size": size}) for old in (0, 1, 5, size - 9, size)]
    return found


def test_payments_are_judged_by_a_certificate_that_was_granted_before_the_snapshot(joined: Joined) -> None:
    whole = joined.services_of(joined.whole)
    numbers = [key.decode().partition("/")[2] for key, _ in CommittedState(joined.store).raw_scan(b"certificate/")]
    early = [
        number
        for number in numbers
        if isinstance(asked(joined.services, "cert_historyProof", {"number": number}), RpcError)
    ]
    assert early
    for number in early:
        mine, its = (asked(each, "payment_affectedBy", {"certificate": number}) for each in (joined.services, whole))
        assert not isinstance(mine, RpcError), mine
        assert (mine.present, mine.payments, mine.above_height) == (its.present, its.payments, joined.base)
        held, all_ = (read_versions(each, number, joined.tip) for each in (joined.reader, joined.whole))
        assert held.records == all_.records[-len(held.records) :]
        first = held.records[0].history.changed_ms
        for time_ms in (first, first + 1, joined.now_ms):
            assert held.status_at(time_ms) == all_.status_at(time_ms)
            assert held.known_at(joined.base).status_at(time_ms) == all_.known_at(joined.base).status_at(time_ms)


def test_every_answer_is_that_of_a_whole_node_or_says_what_is_not_here(joined: Joined) -> None:
    whole = joined.services_of(joined.whole)
    pruned, same, faults = set(), set(), []
    for method, params in calls(joined):
        mine, its = asked(joined.services, method, params), asked(whole, method, params)
        if isinstance(mine, RpcError) and not isinstance(its, RpcError):
            if mine.reason not in ("pruned", "not_found"):
                faults.append((method, params, str(mine)))
            pruned.add(method)
        elif isinstance(mine, RpcError):
            same.add(method)
        elif method in ("cert_history", "payment_list"):
            assert (mine.above_height, its.above_height) == (joined.base, 0), "what may be cut says so"
        elif method in ("ledger_getBlocks", "ledger_getStatus"):
            continue  # shorter, or not known here
        elif msgspec.json.encode(mine) != msgspec.json.encode(its):
            faults.append((method, params, msgspec.json.encode(mine).decode()[:200]))
        else:
            same.add(method)
    assert faults == []
    assert pruned >= {"ledger_getBlock", "ledger_getEvent", "cert_get", "cert_getStatus", "audit_completeness"}
    assert same >= {"ledger_getBlock", "ledger_getEvent", "ledger_getProof", "cert_get", "cert_list", "cert_getStatus"}


@pytest.mark.parametrize("topic", ["blocks", "events", "deadlines", "evidence"])
def test_what_is_told_from_the_base_on_is_what_a_whole_node_tells(joined: Joined, topic: Topic) -> None:
    mine, its = Announcer(joined.services), Announcer(joined.services_of(joined.whole))
    stream = Stream(topic)
    assert (mine.first_height(stream), its.first_height(stream)) == (joined.base + 1, 0)

    def told(announcer: Announcer) -> list[bytes]:
        found = announcer.run(stream, Place(joined.base + 1), joined.tip)
        assert isinstance(found, list)
        return [piece.frames("1", piece.start)[0] for piece in found]

    assert told(mine) == told(its)
    assert len(told(mine)) >= joined.tip - joined.base
    refused = mine.run(stream, Place(joined.base), joined.tip)
    assert topic == "evidence" or (isinstance(refused, RpcError) and refused.reason == "pruned")
