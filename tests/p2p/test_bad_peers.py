"""Peers that are faulty or hostile: each is refused for its own reason, and a good peer still works afterwards."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from p2p.config import PeerAddress, TlsFiles
from p2p.frames import MAGIC, PREAMBLE, encode_frame
from p2p.handshake import HELLO, PING
from p2p.quotas import Quota
from tests.p2p.network_fixtures import (
    BATCH,
    QUICK,
    VOTE,
    Consortium,
    Node,
    RawPeer,
    Rubbish,
    client_context,
    running,
)

TIGHT = msgspec.structs.replace(
    QUICK,
    handshake_timeout_ms=400,
    consensus_quota=Quota(
        bytes_per_second=1 << 20,
        bytes_burst=1 << 20,
        messages_per_second=100,
        messages_burst=100,
        held_back_ms_max=150,
    ),
)


@contextlib.asynccontextmanager
async def alpha_and_a_good_peer(consortium: Consortium) -> AsyncIterator[Node]:
    """Give a node to attack; afterwards, a good peer links with it and is heard."""
    alpha = Node(consortium.config("alpha", "bank-a", limits=TIGHT))
    async with running(alpha):
        yield alpha
        good = Node(consortium.config("good", "bank-c", peers=(alpha.address("bank-a"),), listen_host=None))
        async with running(good):
            await good.seen.until(lambda: good.seen.connected == ["alpha"])
            good.network.send("alpha", VOTE, b"still here")
            await alpha.seen.until(lambda: ("good", VOTE, b"still here") in alpha.seen.messages)
        await alpha.seen.until(lambda: any(peer == "good" for peer, _ in alpha.seen.disconnected))


# --- before the peer is known: what it shows, and the slugs that may name it

Certificate = Callable[[Consortium], TlsFiles]
CERTIFICATES: dict[str, tuple[Certificate, str]] = {
    "a foreign CA": (
        lambda c: c.files("eve", "bank-b", ca=c.ca("bank-x"), label="-foreign"),
        "certificate_unknown_ca",
    ),
    "a foreign CA that calls itself by a member's name": (
        lambda c: c.files("eve", "bank-b", ca=c.ca("bank-b", days_ago=1), label="-mimic"),
        "certificate_unknown_ca",
    ),
    "the CA of another member": (
        lambda c: c.files("eve", "bank-b", ca=c.ca("bank-c"), label="-wrong-member"),
        "certificate_wrong_member",
    ),
    "the time before it": (
        lambda c: c.files("eve", "bank-b", days_ago=-30, label="-early"),
        "certificate_not_yet_valid",
    ),
    "the time after it": (lambda c: c.files("eve", "bank-b", days_ago=500, label="-late"), "certificate_expired"),
    "another chain": (
        lambda c: c.files("eve", "bank-b", chain_id=bytes(32), label="-chain"),
        "certificate_wrong_chain",
    ),
    "our own name": (lambda c: c.files("alpha", "bank-a"), "self"),
}


@pytest.mark.parametrize("case", CERTIFICATES)
async def test_a_certificate_is_refused_that_is_of(case: str, consortium: Consortium) -> None:
    make, reason = CERTIFICATES[case]
    async with alpha_and_a_good_peer(consortium) as alpha:
        with contextlib.suppress(OSError):
            peer = await RawPeer.dial(alpha.network.listen_port, client_context(consortium, make(consortium)))
            peer.say_hello("eve")
            said = await peer.goodbye()
            assert said in (None, f"remote_{reason}")
        await alpha.seen.until(lambda: alpha.seen.refused)
        assert alpha.seen.refused == [reason]
        assert alpha.seen.connected == []


async def test_a_listed_name_with_another_members_certificate_is_refused(consortium: Consortium) -> None:
    async with alpha_and_a_good_peer(consortium) as alpha:
        alpha.network.set_members(consortium.member_cas, (PeerAddress("beta", "bank-b"),))
        files = consortium.files("beta", "bank-c", label="-impostor")
        peer = await RawPeer.dial(alpha.network.listen_port, client_context(consortium, files))
        assert await peer.goodbye() == "remote_name_taken"
        await alpha.seen.until(lambda: alpha.seen.refused == ["name_taken"])


async def plain_text(consortium: Consortium, alpha: Node) -> None:
    peer = await RawPeer.dial(alpha.network.listen_port, None)
    peer.writer.write(b"GET / HTTP/1.1\r\nHost: alpha\r\n\r\n")
    await peer.goodbye()
    peer.close()


async def garbage_before_tls(consortium: Consortium, alpha: Node) -> None:
    peer = await RawPeer.dial(alpha.network.listen_port, None)
    peer.writer.write(bytes(range(255, 0, -1)) * 20)
    await peer.goodbye()
    peer.close()


async def tls_1_2(consortium: Consortium, alpha: Node) -> None:
    context = client_context(consortium, consortium.files("eve", "bank-b"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):  # the alert, or a reset that overtook it
        await RawPeer.dial(alpha.network.listen_port, context)


async def no_certificate(consortium: Consortium, alpha: Node) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    peer = await RawPeer.dial(alpha.network.listen_port, context)
    await peer.goodbye()


async def silence_before_tls(consortium: Consortium, alpha: Node) -> None:
    peer = await RawPeer.dial(alpha.network.listen_port, None)
    await peer.goodbye()
    peer.close()


async def _as_eve(consortium: Consortium, alpha: Node) -> RawPeer:
    return await RawPeer.dial(alpha.network.listen_port, client_context(consortium, consortium.files("eve", "bank-b")))


async def silence_after_tls(consortium: Consortium, alpha: Node) -> None:
    assert await (await _as_eve(consortium, alpha)).goodbye() == "remote_handshake_timeout"


async def half_a_preamble(consortium: Consortium, alpha: Node) -> None:
    peer = await _as_eve(consortium, alpha)
    peer.writer.write(PREAMBLE[:4])
    assert await peer.goodbye() == "remote_handshake_timeout"


def hello(reason: str, **changes: object) -> Callable[[Consortium, Node], Awaitable[None]]:
    async def attack(consortium: Consortium, alpha: Node) -> None:
        peer = await _as_eve(consortium, alpha)
        peer.say_hello(**{"name": "eve"} | changes)
        assert await peer.goodbye() == f"remote_{reason}"

    return attack


def early(reason: str, data: bytes) -> Callable[[Consortium, Node], Awaitable[None]]:
    async def attack(consortium: Consortium, alpha: Node) -> None:
        peer = await _as_eve(consortium, alpha)
        peer.writer.write(data)
        assert await peer.goodbye() == f"remote_{reason}"

    return attack


REFUSED = {
    "plain text": (plain_text, "not_tls"),
    "garbage before TLS": (garbage_before_tls, "not_tls"),
    "TLS 1.2": (tls_1_2, "tls_version"),
    "no certificate": (no_certificate, "certificate_missing"),
    "silence before TLS": (silence_before_tls, "handshake_timeout"),
    "silence after TLS": (silence_after_tls, "handshake_timeout"),
    "half a preamble": (half_a_preamble, "handshake_timeout"),
    "a HELLO of another chain": (hello("wrong_chain", chain_id=bytes(32)), "wrong_chain"),
    "a HELLO of another name": (hello("wrong_name", name="good"), "wrong_name"),
    "a HELLO of a protocol that is newer throughout": (
        hello("protocol_version", protocol=3, protocol_oldest=2),
        "protocol_version",
    ),
    "a HELLO of an older protocol": (hello("protocol_version", protocol=0, protocol_oldest=0), "protocol_version"),
    "a HELLO with a short instance": (hello("bad_handshake", instance=b""), "bad_handshake"),
    "HTTP inside TLS": (early("bad_handshake", b"GET / HTTP/1.1\r\n\r\n"), "bad_handshake"),
    "another frame version": (early("protocol_version", MAGIC + b"\x00\x09"), "protocol_version"),
    "a HELLO that is no HELLO": (
        early("bad_handshake", PREAMBLE + encode_frame(HELLO, b"\xc1")),
        "bad_handshake",
    ),
    "a message before HELLO": (early("unknown_kind", PREAMBLE + encode_frame(VOTE, b"")), "unknown_kind"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_connection_is_refused_that_opens_with(case: str, consortium: Consortium) -> None:
    attack, reason = REFUSED[case]
    async with alpha_and_a_good_peer(consortium) as alpha:
        await attack(consortium, alpha)
        await alpha.seen.until(lambda: alpha.seen.refused)
        assert alpha.seen.refused == [reason]
        assert alpha.seen.connected == []


# --- after HELLO: what it sends, and whether it is banned for it

LINKED = {
    "an unknown kind": (encode_frame(200, b"?"), "unknown_kind", True),
    "an oversized frame": (encode_frame(VOTE, bytes(1_025)), "frame_too_large", True),
    "a frame that claims two gigabytes": (b"\x7f\xff\xff\xff" + bytes([BATCH]), "frame_too_large", True),
    "a short fragment": (b"\x80\x00\x00\x01" + bytes([BATCH]) + b"x", "bad_fragment", True),
    "a second HELLO": (encode_frame(HELLO, b""), "unknown_kind", True),
    "a short ping": (encode_frame(PING, b""), "bad_control", True),
}


async def _linked_eve(consortium: Consortium, alpha: Node) -> RawPeer:
    peer = await _as_eve(consortium, alpha)
    peer.say_hello("eve")
    await alpha.seen.until(lambda: "eve" in alpha.seen.connected)
    return peer


@pytest.mark.parametrize("case", LINKED)
async def test_a_linked_peer_is_disconnected_and_banned_that_sends(case: str, consortium: Consortium) -> None:
    data, reason, banned = LINKED[case]
    async with alpha_and_a_good_peer(consortium) as alpha:
        peer = await _linked_eve(consortium, alpha)
        peer.writer.write(encode_frame(VOTE, b"before") + data + encode_frame(VOTE, b"after"))
        assert await peer.goodbye() == f"remote_{reason}"
        assert alpha.seen.disconnected == [("eve", reason)]
        assert alpha.seen.banned == ([("eve", QUICK.ban_first_ms)] if banned else [])
        assert alpha.seen.messages == [("eve", VOTE, b"before")]
        again = await _as_eve(consortium, alpha)
        assert await again.goodbye() == "remote_banned"
        await asyncio.sleep(QUICK.ban_first_ms / 1_000)
        (await _linked_eve(consortium, alpha)).close()


async def test_a_message_that_the_handler_refuses_is_held_against_the_peer(consortium: Consortium) -> None:
    async with alpha_and_a_good_peer(consortium) as alpha:
        peer = await _linked_eve(consortium, alpha)
        alpha.seen.raises = Rubbish("no sense")
        peer.frame(VOTE, b"rubbish")
        await peer.goodbye()
        assert alpha.seen.disconnected == [("eve", "rubbish")]
        assert alpha.seen.banned == [("eve", QUICK.ban_first_ms)]


async def test_a_frame_cut_short_is_named_and_not_held_against_the_peer(consortium: Consortium) -> None:
    async with alpha_and_a_good_peer(consortium) as alpha:
        peer = await _linked_eve(consortium, alpha)
        peer.writer.write(encode_frame(VOTE, b"cut short")[:-3])
        await peer.writer.drain()
        peer.writer.close()
        await alpha.seen.until(lambda: alpha.seen.disconnected)
        assert alpha.seen.disconnected == [("eve", "truncated")]
        assert alpha.seen.banned == []


async def test_a_stream_that_ended_is_named_by_its_end_though_our_answer_meets_a_reset(consortium: Consortium) -> None:
    async with alpha_and_a_good_peer(consortium) as alpha:
        peer = await _linked_eve(consortium, alpha)
        peer.writer.write(encode_frame(VOTE, b"cut short")[:-3])
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.close()  # TLS's own end leaves at once, and a reset before alpha can answer it
        peer.close()
        await alpha.seen.until(lambda: alpha.seen.disconnected)
        assert alpha.seen.disconnected == [("eve", "truncated")]


async def test_a_flood_is_held_back_first_and_then_disconnected_and_banned(consortium: Consortium) -> None:
    async with alpha_and_a_good_peer(consortium) as alpha:
        peer = await _linked_eve(consortium, alpha)
        with contextlib.suppress(OSError):
            for _ in range(20):
                peer.writer.write(encode_frame(VOTE, b"!") * 110)
                await asyncio.sleep(0.01)
        await alpha.seen.until(lambda: alpha.seen.disconnected)
        assert alpha.seen.disconnected == [("eve", "flood")]
        assert alpha.seen.held_back[0][0] == "eve"
        assert [name for name, _ in alpha.seen.banned] == ["eve"]
        peer.close()


async def test_bulk_over_quota_is_only_held_back_and_all_of_it_arrives(consortium: Consortium) -> None:
    slow = Quota(bytes_per_second=4_000_000, bytes_burst=100_000, messages_per_second=1_000, messages_burst=1_000)
    alpha = Node(consortium.config("alpha", "bank-a", limits=msgspec.structs.replace(QUICK, bulk_quota=slow)))
    await alpha.start()
    beta = Node(consortium.config("beta", "bank-b", peers=(alpha.address("bank-a"),)))
    async with running(alpha, beta):
        await beta.seen.until(lambda: beta.seen.connected)
        batches = [bytes([number]) * 100_000 for number in range(10)]
        for batch in batches:
            assert beta.network.send("alpha", BATCH, batch)
        await alpha.seen.until(lambda: len(alpha.seen.messages) == 10)
        assert [payload for _, _, payload in alpha.seen.messages] == batches
        assert alpha.seen.held_back
        assert alpha.seen.disconnected == []


async def test_more_half_open_connections_than_the_limit_are_closed_at_once(consortium: Consortium) -> None:
    limits = msgspec.structs.replace(TIGHT, half_open_per_address_max=2)
    alpha = Node(consortium.config("alpha", "bank-a", limits=limits))
    async with running(alpha):
        peers = [await RawPeer.dial(alpha.network.listen_port, None) for _ in range(3)]
        await alpha.seen.until(lambda: alpha.seen.refused == ["too_many_half_open"])
        await alpha.seen.until(lambda: alpha.seen.refused.count("handshake_timeout") == 2)
        for peer in peers:
            peer.close()


async def test_a_second_connection_of_the_same_process_in_the_other_direction_is_retired(
    consortium: Consortium,
) -> None:
    """Alpha has the smaller name, so of two connections the one that alpha dialled stays."""
    alpha = Node(consortium.config("alpha", "bank-a"))
    zeta = Node(consortium.config("zeta", "bank-b"))
    async with running(alpha, zeta):
        alpha.network.set_members(consortium.member_cas, (zeta.address("bank-b"),))
        await alpha.seen.until(lambda: alpha.seen.connected == ["zeta"])
        await zeta.seen.until(lambda: zeta.seen.connected == ["alpha"])
        zeta.network._members.replace(consortium.member_cas, (alpha.address("bank-a"),))
        await zeta.network._connector.dial(alpha.address("bank-a"))
        assert "duplicate" in alpha.seen.refused
        assert zeta.network.send("alpha", VOTE, b"one link")
        await alpha.seen.until(lambda: alpha.seen.messages == [("zeta", VOTE, b"one link")])
        assert [info.direction for info in zeta.network.peers()] == ["in"]
        assert alpha.seen.disconnected == zeta.seen.disconnected == []


async def test_the_dialled_node_must_bear_the_expected_name(consortium: Consortium) -> None:
    alpha = Node(consortium.config("alpha", "bank-a"))
    await alpha.start()
    wrong = msgspec.structs.replace(alpha.address("bank-a"), name="gamma")
    beta = Node(consortium.config("beta", "bank-b", peers=(wrong,)))
    async with running(alpha, beta):
        await beta.seen.until(lambda: "wrong_name" in beta.seen.refused)
        await alpha.seen.until(lambda: "remote_wrong_name" in alpha.seen.refused)
        assert beta.seen.connected == alpha.seen.connected == []
