"""Gossip as a pure machine: tables of what is asked, and a small world where payloads are lost."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.gossip import (
    IDS_PER_MESSAGE_MAX,
    Announce,
    Gossip,
    GossipLimits,
    Push,
    Want,
    decode_ids,
    encode_ids,
)
from primitives.errors import EncodingError

LIMITS = GossipLimits()


def id_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


X, Y = id_of(1), id_of(2)


def gossip_with(*peers: str, holds: set[bytes] | None = None, limits: GossipLimits = LIMITS) -> Gossip:
    held = holds if holds is not None else set()
    gossip = Gossip(held.__contains__, limits)
    for peer in peers:
        gossip.connected(peer)
    return gossip


def test_the_originator_pushes_to_everybody_and_announces_nothing() -> None:
    gossip = gossip_with("b", "c")
    assert gossip.originated(X) == [Push(("b", "c"), X)]
    assert gossip.next_due_ms() is None


def test_a_receiver_announces_many_ids_at_once_to_all_but_those_who_have_them() -> None:
    gossip = gossip_with("a", "b", "c", holds={X, Y})
    gossip.received(X, "a", 0)
    gossip.received(Y, "a", 5)
    gossip.have("b", [Y], 6)
    assert gossip.next_due_ms() == LIMITS.announce_delay_ms
    assert gossip.tick(LIMITS.announce_delay_ms - 1) == []
    assert gossip.tick(LIMITS.announce_delay_ms) == [Announce("b", (X,)), Announce("c", (X, Y))]
    assert gossip.tick(1_000) == []


def test_an_announced_id_is_asked_for_after_a_delay_from_one_announcer_then_from_the_next() -> None:
    gossip = gossip_with("a", "b")
    gossip.have("a", [X], 0)
    gossip.have("b", [X], 10)
    assert gossip.tick(99) == []
    assert gossip.tick(100) == [Want("a", (X,))]
    assert gossip.tick(599) == []
    assert gossip.tick(600) == [Want("b", (X,))]
    assert gossip.tick(1_100) == []  # nobody is left to ask, and nobody needs it
    assert gossip.missing() == 0


def test_what_arrives_by_itself_is_not_asked_for() -> None:
    gossip = gossip_with("a", "b")
    gossip.have("b", [X], 0)
    gossip.received(X, "a", 50)
    assert [action for action in gossip.tick(100) if isinstance(action, Want)] == []
    assert gossip.next_due_ms() is None


def test_an_announcer_that_leaves_is_replaced_at_once() -> None:
    gossip = gossip_with("a", "b")
    gossip.have("a", [X], 0)
    gossip.have("b", [X], 0)
    assert gossip.tick(100) == [Want("a", (X,))]
    gossip.disconnected("a", 150)
    assert gossip.next_due_ms() == 150
    assert gossip.tick(150) == [Want("b", (X,))]


def test_a_needed_id_is_asked_for_at_once_and_round_after_round() -> None:
    gossip = gossip_with("a", "b")
    gossip.need([X], ["b"], 0)
    assert gossip.tick(0) == [Want("b", (X,))]
    assert gossip.tick(500) == []  # the holders are through: a pause, then everybody
    asked = [action for now_ms in (1_500, 2_000) for action in gossip.tick(now_ms)]
    assert asked == [Want("a", (X,)), Want("b", (X,))]
    gossip.give_up(X)
    assert gossip.next_due_ms() is None


def test_needs_survive_having_no_peers() -> None:
    gossip = gossip_with()
    gossip.need([X], [], 0)
    assert gossip.tick(0) == []
    gossip.connected("a")
    assert gossip.tick(1_000) == []
    assert gossip.tick(2_000) == [Want("a", (X,))]


def test_a_liar_uses_up_only_its_own_share() -> None:
    limits = GossipLimits(wants_per_peer_max=2, missing_per_peer_max=10)
    gossip = gossip_with("liar", "honest", limits=limits)
    gossip.have("liar", [id_of(number) for number in range(1_000, 2_000)], 0)
    assert gossip.missing() == 10
    gossip.have("honest", [X], 0)
    wants = gossip.tick(100)
    assert Want("honest", (X,)) in wants
    assert sum(len(want.ids) for want in wants if isinstance(want, Want) and want.peer == "liar") == 2
    for now_ms in range(600, 600 + 500 * 10, 500):
        gossip.tick(now_ms)
    assert gossip.missing() == 0


def test_a_peer_is_not_given_the_same_payload_again_at_once() -> None:
    gossip = gossip_with("a", holds={X})
    assert list(gossip.want("a", [X, Y], 0)) == [Push(("a",), X)]
    assert list(gossip.want("a", [X], 100)) == []
    assert list(gossip.want("a", [X], 250)) == [Push(("a",), X)]
    assert list(gossip.want("stranger", [X], 0)) == []


def test_one_request_is_given_no_more_than_an_honest_peer_asks_for_at_once() -> None:
    ids = [id_of(number) for number in range(100)]
    gossip = gossip_with("a", holds=set(ids))
    assert len(list(gossip.want("a", ids, 0))) == GossipLimits().wants_per_peer_max


def test_what_the_caller_did_not_take_is_given_the_next_time() -> None:
    gossip = gossip_with("a", holds={X, Y})
    assert next(gossip.want("a", [X, Y], 0)) == Push(("a",), X)
    assert list(gossip.want("a", [X, Y], 1)) == [Push(("a",), Y)]


@pytest.mark.parametrize("size", [0, 31, 33, 32 * (IDS_PER_MESSAGE_MAX + 1)])
def test_a_list_of_ids_of_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(EncodingError, match="ids"):
        decode_ids(bytes(size))


def test_lists_of_ids_come_back() -> None:
    assert decode_ids(encode_ids([X, Y])) == [X, Y]


@settings(max_examples=30)
@given(st.integers(0, 1 << 32), st.integers(2, 6), st.integers(0, 60))
def test_every_payload_reaches_every_node_although_messages_are_lost(seed: int, count: int, loss_percent: int) -> None:
    """Lost payloads are announced by others or needed; each node needs everything in the end, as consensus does."""
    random = Random(seed)
    names = [f"n{number}" for number in range(count)]
    held: dict[str, set[bytes]] = {name: set() for name in names}
    nodes = {name: Gossip(held[name].__contains__) for name in names}
    for name in names:
        for other in names:
            if other != name:
                nodes[name].connected(other)
    payloads = [id_of(number) for number in range(8)]

    def perform(name: str, actions, now_ms: int) -> None:
        for action in actions:
            receivers = action.peers if isinstance(action, Push) else (action.peer,)
            for to in receivers:
                if random.randrange(100) < loss_percent:
                    continue
                match action:
                    case Push(id=id_):
                        if id_ not in held[to]:
                            held[to].add(id_)
                            nodes[to].received(id_, name, now_ms)
                    case Announce(ids=ids):
                        nodes[to].have(name, ids, now_ms)
                    case Want(ids=ids):
                        perform(to, nodes[to].want(name, ids, now_ms), now_ms)

    for number, id_ in enumerate(payloads):
        name = names[number % count]
        held[name].add(id_)
        perform(name, nodes[name].originated(id_), 0)
    for name in names:
        nodes[name].need(payloads, [], 0)
    for now_ms in range(0, 120_000, 50):
        for name in names:
            perform(name, nodes[name].tick(now_ms), now_ms)
    assert all(held[name] == set(payloads) for name in names)
    for gossip in nodes.values():
        assert gossip.missing() == gossip._needs == 0
        assert all(peer.missing == peer.wants == 0 for peer in gossip._peers.values())
        assert gossip.next_due_ms() is None
