"""What a node brings to become a validator, new keys for one that lost its disk, and how safe a change would be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chainnode.files import Busy
from chainnode.home import Home
from chainnode.identity import load_node_keys, read_key
from chainnode.joining import (
    UnsafeChange,
    check_outlook,
    check_release,
    check_rules,
    entry_path,
    outlook,
    read_source_entry,
    read_validator_entry,
    renew_keys,
    rotate_source,
    source_entry,
    validator_entry,
)
from chainnode.localnet import Localnet
from chainnode.wal import was_begun
from ledger.governance_bodies import key_statement, source_statement
from primitives.errors import ChainError, InputError, UsageError
from primitives.ids import Hash
from primitives.keys import verify
from rpc.methods.net import net_peers, net_status
from rpc.ports import NodeStatus, PeerStatus
from rpc.types import NoParams

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Localnet:
    net = Localnet(tmp_path_factory.mktemp("joining") / "net")
    net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    return net


def test_an_entry_proves_each_key_for_this_chain_and_use(net: Localnet) -> None:
    home = Home(net.directory / "nodes" / "bank-a")
    entry = validator_entry(home, name="bank-a", member="bank-a", address="127.0.0.1:1")
    chain_id = Hash(bytes.fromhex(net.load().chain_id))
    for use in ("vote", "cosign", "log"):
        key, proof = (bytes.fromhex(entry["keys"][f"{use}_{part}"]) for part in ("key", "proof"))
        assert verify(key, key_statement(chain_id, use, "bank-a", "bank-a", key), proof)
        assert not verify(key, key_statement(chain_id, use, "bank-b", "bank-a", key), proof)
    path = entry_path(home)
    path.write_text(json.dumps(entry))
    assert read_validator_entry(path) == entry
    for bad in ("", "{}", "[]", json.dumps({**entry, "more": 1})):
        path.write_text(bad)
        with pytest.raises(InputError, match="not a validator's entry"):
            read_validator_entry(path)


def test_renewed_keys_are_new_begin_an_empty_log_and_keep_the_used_ones(net: Localnet) -> None:
    home = Home(net.directory / "nodes" / "bank-b")
    before = load_node_keys(home)
    with home.lock(), pytest.raises(Busy):
        renew_keys(home, "bank-b")
    retired = [renew_keys(home, "bank-b") for _ in range(2)]
    after = load_node_keys(home)
    assert before.vote is not None
    assert after.vote is not None
    assert after.vote.public != before.vote.public
    assert after.log.public != before.log.public
    assert was_begun(home.wal)
    assert [path.name for path in retired] == ["retired-1", "retired-2"]
    assert read_key(retired[0] / "vote.key").public == before.vote.public.hex()
    assert (retired[0] / "consensus.wal").exists()
    for path in [*retired[0].iterdir(), *home.keys.glob("*.key")]:
        assert not path.stat().st_mode & 0o077


class Asked:
    """Node `a`, which answers as the methods of rpc do for the view of a node that was told this."""

    def __init__(
        self,
        height: int,
        peers: dict[str, int | None],
        *,
        catching_up: bool = False,
        learners: str = "",
    ) -> None:
        self.heights = peers
        self._learners = learners
        role = "learner" if "a" in learners else "validator"
        self._status = NodeStatus("00", "a", "a", role, height, 0, 0, "a", len(peers), catching_up, "1")
        self._services: Any = SimpleNamespace(node=self)  # what net_* read of the services

    def status(self) -> NodeStatus:
        return self._status

    def peers(self) -> list[PeerStatus]:
        return [
            PeerStatus(
                name, name, "", height is not None, height, votes=None if height is None else name not in self._learners
            )
            for name, height in self.heights.items()
        ]

    def call(self, method: str) -> Any:
        asked: Any = {"net_status": net_status, "net_peers": net_peers}[method]
        return msgspec.json.decode(msgspec.json.encode(asked.answer(self._services, NoParams())))


@pytest.mark.parametrize(
    ("peers", "catching_up", "waits_for", "live", "safe"),
    [
        ({"b": 100, "c": 100, "d": 100}, False, [], "abcd", True),
        ({"b": 100, "c": 92, "d": None}, False, [], "abc", True),
        ({"b": 100, "c": 91, "d": None}, False, [], "ab", False),
        ({"b": 100, "c": 100, "d": None}, True, [], "bc", False),
        ({"b": 100, "c": None, "d": None}, False, ["d"], "abd", True),
        ({"b": 100, "x": 100}, False, [], "ab", False),
    ],
)
def test_who_is_up_and_where_the_chain_is_counts(
    peers: dict[str, int | None], catching_up: bool, waits_for: list[str], live: str, safe: bool
) -> None:
    asked: Any = Asked(100, peers, catching_up=catching_up)
    found = outlook(asked, {"following": {"n": 4, "quorum": 3, "validators": list("abcd")}}, waits_for)
    assert found is not None
    assert ("".join(found.live), found.safe) == (live, safe)
    if safe:
        check_outlook(found)
    else:
        with pytest.raises(UnsafeChange, match=r"of the next 4 validators are up, 3 decide; not up .*--force"):
            check_outlook(found)


def test_a_change_that_leaves_the_set_alone_needs_no_quorum_and_a_broken_rule_is_told() -> None:
    asked: Any = Asked(100, {})
    assert outlook(asked, {"following": None}) is None
    check_outlook(None)
    check_rules({"broken": None})
    for detail, got in (("3 would be left", ": got 3 would be left"), ("", "")):
        with pytest.raises(UsageError) as refused:
            check_rules({"broken": {"rule": "no_safe_quorum", "meaning": "Too few.", "detail": detail}})
        assert str(refused.value) == f"the chain would refuse this: Too few (rule no_safe_quorum){got}"
    assert issubclass(UnsafeChange, ChainError)
    assert isinstance(entry_path(Home(Path("x"))), Path)


def test_rules_that_the_asked_node_does_not_know_are_neither_proposed_nor_voted_for() -> None:
    class Release:
        def call(self, method: str) -> dict[str, list[int]]:
            assert method == "ledger_getCapabilities"
            return {"rules": [1, 2]}

    asked: Any = Release()
    for action in ({"type": "activate_rules", "version": 2}, {"type": "remove_validator", "version": 9}):
        check_release(asked, action)
    with pytest.raises(UnsafeChange, match="expected rules version 1 or 2, got 3"):
        check_release(asked, {"type": "activate_rules", "version": 3})


def test_a_rotated_source_proves_itself_and_begins_an_empty_outbox(net: Localnet) -> None:
    home = Home(net.directory / "nodes" / "bank-d")
    before = read_key(home.source_key, "source").public
    with home.lock(), pytest.raises(Busy):
        rotate_source(home, "bank-d")
    retired = rotate_source(home, "bank-d")
    assert read_key(retired / "source.key", "source").public == before
    assert (retired / "outbox").exists()
    assert home.outbox.exists()
    entry = source_entry(home, member="bank-d", roles=["bank"])
    key, proof = bytes.fromhex(entry["key"]), bytes.fromhex(entry["proof"])
    chain_id = Hash(bytes.fromhex(net.load().chain_id))
    assert entry["key"] != before
    assert verify(key, source_statement(chain_id, "bank-d", key), proof)
    assert not verify(key, source_statement(chain_id, "bank-c", key), proof)
    path = home.config.parent / "source.json"
    path.write_text(json.dumps(entry))
    assert read_source_entry(path) == entry
    path.write_text("{}")
    with pytest.raises(InputError, match="not a source's entry"):
        read_source_entry(path)


def test_a_peer_has_time_to_say_that_it_is_where_a_busy_chain_was() -> None:
    heights = iter([10, 10, 95, 95])

    class Late(Asked):
        def peers(self) -> list[PeerStatus]:
            self.heights["b"] = next(heights)
            return super().peers()

    asked: Any = Late(100, {})
    check = {"following": {"n": 2, "quorum": 2, "validators": ["a", "b"]}}
    found = outlook(asked, check)
    assert found is not None
    assert found.silent == ("b",)
    found = outlook(asked, check, within_s=10.0)
    assert found is not None
    assert found.safe


def test_a_learner_that_bears_a_validators_name_is_not_counted_as_up() -> None:
    asked: Any = Asked(100, {"b": 100, "c": 100, "d": 100}, learners="b")
    following = {"following": {"n": 4, "quorum": 3, "validators": list("abcd")}}
    found, rekeyed = outlook(asked, following), outlook(asked, following, ["b"])
    assert found is not None
    assert rekeyed is not None
    assert ("".join(found.live), "".join(rekeyed.live)) == ("acd", "abcd")


@pytest.mark.parametrize(("learners", "live"), [("ef", "abcd"), ("af", "bcde")])
def test_two_learners_of_six_make_a_removal_be_refused_with_the_reason(learners: str, live: str) -> None:
    asked: Any = Asked(100, dict.fromkeys("bcdef", 100), learners=learners)
    gone = live[-1]
    left = [name for name in "abcdef" if name != gone]
    found = outlook(asked, {"following": {"n": 5, "quorum": 4, "validators": left}})
    assert found is not None
    silent = ", ".join(learners)
    with pytest.raises(
        UnsafeChange, match=f"3 of the next 5 validators are up, 4 decide; not up .*: {silent}.*--force"
    ):
        check_outlook(found)
