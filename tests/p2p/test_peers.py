"""Networks on loopback that behave: links, lanes, restarts, changes of members."""

import asyncio

import msgspec
import pytest

from p2p.config import NetworkLimits, PeerAddress
from p2p.lanes import Lane
from primitives.errors import InputError, UsageError
from tests.p2p.network_fixtures import BATCH, DAY_MS, QUICK, VOTE, Consortium, Node, running


async def pair(consortium: Consortium, **changes) -> tuple[Node, Node]:
    """Return alpha, which listens, and beta, which will dial it."""
    alpha = Node(consortium.config("alpha", "bank-a", **changes))
    await alpha.start()
    beta = Node(consortium.config("beta", "bank-b", peers=(alpha.address("bank-a"),), **changes))
    return alpha, beta


async def test_messages_of_both_lanes_arrive_whole_in_both_directions(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected == ["alpha"])
        big = bytes(range(256)) * 4_000
        assert beta.network.send("alpha", BATCH, big)
        assert beta.network.send("alpha", VOTE, b"vote")
        await alpha.seen.until(lambda: len(alpha.seen.messages) == 2)
        # Both were sent in one turn: the vote goes first although it was queued last.
        assert alpha.seen.messages == [("beta", VOTE, b"vote"), ("beta", BATCH, big)]
        assert alpha.network.broadcast(BATCH, big) == 1
        await beta.seen.until(lambda: beta.seen.messages == [("alpha", BATCH, big)])
        await alpha.network.stop()
        await beta.seen.until(lambda: beta.seen.disconnected == [("alpha", "remote_shutdown")])


PATIENT = msgspec.structs.replace(QUICK, cork_ms=60_000, ping_every_ms=60_000)


async def test_small_bulk_messages_wait_for_each_other_behind_a_write_and_leave_before_the_next_vote(
    consortium: Consortium,
) -> None:
    alpha, beta = await pair(consortium, limits=PATIENT)
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected == ["alpha"])
        beta.network.send("alpha", BATCH, b"first")
        await alpha.seen.until(lambda: alpha.seen.messages)  # nothing was written before: it did not wait
        beta.network.send("alpha", BATCH, b"second")
        beta.network.send("alpha", BATCH, b"third")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert beta.network.peers()[0].queue_bytes == len(b"secondthird") + 10, "their frames wait"
        beta.network.send("alpha", VOTE, b"vote")
        await alpha.seen.until(lambda: len(alpha.seen.messages) == 4)
        assert [payload for _, _, payload in alpha.seen.messages] == [b"first", b"second", b"third", b"vote"]


async def test_what_waits_in_the_bulk_lane_leaves_once_it_is_large(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium, limits=PATIENT)
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected == ["alpha"])
        beta.network.send("alpha", BATCH, b"first")
        await alpha.seen.until(lambda: alpha.seen.messages)
        for _ in range(4):
            beta.network.send("alpha", BATCH, bytes(PATIENT.cork_bytes // 4))
        await alpha.seen.until(lambda: len(alpha.seen.messages) == 5)


async def test_small_bulk_messages_wait_no_longer_than_they_may(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium, limits=msgspec.structs.replace(PATIENT, cork_ms=20))
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected == ["alpha"])
        for number in range(3):
            beta.network.send("alpha", BATCH, b"first")
            await alpha.seen.until(lambda sent=number: len(alpha.seen.messages) > sent)


async def test_peers_report_their_figures(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium, status=b"validator")
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected)
        async with asyncio.timeout(5):
            while (info := beta.network.peers()[0]).rtt_ms is None:  # noqa: ASYNC110  # nothing announces a pong
                await asyncio.sleep(0.01)
        assert (info.name, info.member, info.direction, info.status) == ("alpha", "bank-a", "out", b"validator")
        assert info.bytes_in > 0
        assert info.bytes_out > 0
        assert info.queue_bytes == info.drops == 0


async def test_sending_without_a_link_or_with_a_wrong_kind_is_told_apart(consortium: Consortium) -> None:
    alpha = Node(consortium.config("alpha", "bank-a"))
    async with running(alpha):
        assert alpha.network.send("beta", VOTE, b"") is False
        with pytest.raises(UsageError, match="kind"):
            alpha.network.send("beta", 77, b"")
        with pytest.raises(UsageError, match="vote"):
            alpha.network.broadcast(VOTE, bytes(1_025))


@pytest.mark.parametrize("round_", range(8))
async def test_two_nodes_that_dial_each_other_at_once_keep_one_link_and_lose_nothing(
    consortium: Consortium, round_: int
) -> None:
    alpha, beta = (
        Node(consortium.config(name, member), round_) for name, member in (("alpha", "bank-a"), ("beta", "bank-b"))
    )
    async with running(alpha, beta):
        alpha.network.set_members(consortium.member_cas, (beta.address("bank-b"),))
        beta.network.set_members(consortium.member_cas, (alpha.address("bank-a"),))
        sent: dict[str, list[bytes]] = {"alpha": [], "beta": []}
        async with asyncio.timeout(5):
            while min(map(len, sent.values())) < 300:
                for node, to in ((alpha, "beta"), (beta, "alpha")):
                    message = b"%d" % len(sent[to])
                    if node.network.send(to, VOTE, message):  # from the first moment at which there is a link
                        sent[to].append(message)
                await asyncio.sleep(0)
        for node in (alpha, beta):
            await node.seen.until(lambda node=node: len(node.seen.messages) == len(sent[node.name]))
            assert sorted(payload for _, _, payload in node.seen.messages) == sorted(sent[node.name])
        assert alpha.seen.connected == ["beta"]
        assert beta.seen.connected == ["alpha"]
        assert alpha.seen.disconnected == beta.seen.disconnected == []
        # The connection that the smaller name dialled stays, unless only one was ever made.
        directions = {alpha.network.peers()[0].direction, beta.network.peers()[0].direction}
        assert directions == {"in", "out"}


async def test_a_peer_that_restarts_is_linked_again(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    await beta.start()
    await beta.seen.until(lambda: beta.seen.connected)
    port = alpha.network.listen_port
    await alpha.network.stop()
    await beta.seen.until(lambda: beta.seen.disconnected)
    again = Node(consortium.config("alpha", "bank-a", listen_port=port))
    async with running(again, beta):
        await beta.seen.until(lambda: beta.seen.connected == ["alpha", "alpha"])
        assert beta.network.send("alpha", VOTE, b"back")
        await again.seen.until(lambda: again.seen.messages == [("beta", VOTE, b"back")])


async def test_another_instance_of_a_peer_replaces_its_corpse(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    twin = Node(consortium.config("beta", "bank-b", peers=(alpha.address("bank-a"),)), seed=1)
    async with running(alpha, beta):
        await alpha.seen.until(lambda: alpha.seen.connected == ["beta"])
        await twin.start()
        await alpha.seen.until(lambda: ("beta", "replaced") in alpha.seen.disconnected)
        await twin.network.stop()


async def test_a_node_that_no_list_knows_is_accepted_as_an_observer_up_to_the_limit(consortium: Consortium) -> None:
    limits = {"unlisted_links_per_member_max": 1}
    alpha = Node(consortium.config("alpha", "bank-a", limits=_with(limits)))
    await alpha.start()
    first, second, other = (
        Node(consortium.config(name, member, listen_host=None, peers=(alpha.address("bank-a"),)))
        for name, member in (("watch-1", "bank-b"), ("watch-2", "bank-b"), ("watch-3", "bank-c"))
    )
    async with running(alpha, first):
        await alpha.seen.until(lambda: alpha.seen.connected == ["watch-1"])
        async with running(second, other):
            await alpha.seen.until(lambda: "too_many_links" in alpha.seen.refused and "watch-3" in alpha.seen.connected)
            await second.seen.until(lambda: "remote_too_many_links" in second.seen.refused)
            assert "watch-2" not in alpha.seen.connected


async def test_a_node_whose_certificate_its_peer_does_not_take_is_told_so_and_not_that_the_link_was_lost(
    consortium: Consortium,
) -> None:
    alpha = Node(consortium.config("alpha", "bank-a"))
    await alpha.start()
    files = consortium.files("watch-9", "bank-b", ca=consortium.ca("bank-x"), label="-unknown")
    stranger = Node(
        consortium.config("watch-9", "bank-b", tls=files, listen_host=None, peers=(alpha.address("bank-a"),))
    )
    async with running(alpha, stranger):
        await stranger.seen.until(lambda: stranger.seen.refused)
        assert stranger.seen.refused[0] == "certificate_refused"


async def test_a_member_that_leaves_is_disconnected_and_not_let_in_again(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    async with running(alpha, beta):
        await alpha.seen.until(lambda: alpha.seen.connected == ["beta"])
        without_b = {member: pem for member, pem in consortium.member_cas.items() if member != "bank-b"}
        alpha.network.set_members(without_b, ())
        await alpha.seen.until(lambda: alpha.seen.disconnected == [("beta", "member_removed")])
        await alpha.seen.until(lambda: "certificate_unknown_ca" in alpha.seen.refused)
        with pytest.raises(InputError, match="CA certificate"):
            alpha.network.set_members({"bank-a": "rubbish"}, ())
        alpha.network.set_members(consortium.member_cas, ())
        await alpha.seen.until(lambda: alpha.seen.connected == ["beta", "beta"])


async def test_a_link_ends_when_its_certificate_does(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    async with running(alpha, beta):
        await alpha.seen.until(lambda: alpha.seen.connected)
        alpha.clock_ahead_ms = 400 * DAY_MS
        await alpha.seen.until(lambda: alpha.seen.disconnected == [("beta", "certificate_expired")])


async def test_a_port_in_use_is_named(consortium: Consortium) -> None:
    alpha = Node(consortium.config("alpha", "bank-a"))
    async with running(alpha):
        other = Node(consortium.config("beta", "bank-b", listen_port=alpha.network.listen_port))
        with pytest.raises(UsageError, match=f"127.0.0.1:{alpha.network.listen_port}"):
            await other.network.run()
        with pytest.raises(UsageError, match="cannot listen"):
            await other.network.start()
        await other.network.stop()


async def test_a_fault_of_the_handler_itself_stops_the_network(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium)
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected)
        alpha.seen.raises = ZeroDivisionError("ours")
        beta.network.send("alpha", VOTE, b"")
        await beta.seen.until(lambda: beta.seen.disconnected)
        with pytest.raises(ZeroDivisionError):
            await alpha.network.stop()


async def test_a_slow_reader_fills_its_bounded_queue_and_then_drops_are_counted(consortium: Consortium) -> None:
    alpha, beta = await pair(
        consortium,
        limits=_with({"bulk_queue_bytes_max": 1 << 20, "write_stall_timeout_ms": 300, "idle_timeout_ms": 9_000}),
    )
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected)
        _stop_reading(alpha, "beta")
        # The kernel's buffers take a few megabytes before anything is felt here.
        while not beta.seen.disconnected:
            if not beta.network.send("alpha", BATCH, bytes(300_000)) and beta.network.is_linked("alpha"):
                assert beta.network.peers()[0].queue_bytes <= 1 << 20
                assert beta.network.send("alpha", VOTE, b"the other lane has room")
            await asyncio.sleep(0.002)
        assert beta.seen.disconnected == [("alpha", "slow_reader")]
        assert set(beta.seen.dropped) == {("alpha", Lane.BULK)}


async def test_a_silent_peer_is_dropped_as_idle(consortium: Consortium) -> None:
    alpha, beta = await pair(consortium, limits=_with({"idle_timeout_ms": 200}))
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected)
        _stop_reading(alpha, "beta")  # and so answers no ping
        alpha.network._links["beta"].tick = lambda *_: None
        await beta.seen.until(lambda: beta.seen.disconnected == [("alpha", "idle")])


def _with(changes: dict[str, int]) -> NetworkLimits:
    return msgspec.structs.replace(QUICK, **changes)


def _stop_reading(node: Node, peer: str) -> None:
    node.network._links[peer]._transport.pause_reading()


def test_names_and_kinds_of_a_configuration_are_checked(consortium: Consortium) -> None:
    with pytest.raises(UsageError, match="name"):
        consortium.config("alpha", "bank-a", peers=(PeerAddress("../x", "bank-b"),))
    with pytest.raises(UsageError, match="status"):
        consortium.config("alpha", "bank-a", status=bytes(513))
