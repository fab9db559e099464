"""Hostile peers against a running node: it names the reason in metric and log, stays up, and honest order goes on."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chainnode.core import BATCH, BATCH_HAVE, BATCH_WANT, BatchIds
from chainnode.identity import load_node_keys
from consensus.messages import (
    KINDS,
    Blocks,
    CheckpointVote,
    Evidence,
    Message,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
    encode_message,
    kind_of,
)
from ledger.batches import BATCH_SIZE_MAX, Batch
from p2p.handshake import HELLO, PING, Hello
from primitives.block import Block, BlockHeader, CommittedBlock, batches_root
from primitives.encoding import decode, encode
from primitives.ids import Epoch, Hash, Height, View
from primitives.keys import SigningKey
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from tests.e2e.hostile_fixtures import Credentials, Hostile, port_of
from tests.e2e.network_fixtures import Network, until
from tests.e2e.traffic_fixtures import Source, submit

pytestmark = pytest.mark.e2e

TARGET = "bank-b"
HONEST = ("bank-a", "bank-b", "bank-c")
LOG_PAUSE_S = 0.25  # a node writes of five refused connections a second, so that a flood of them does not flood its log
ME = 3  # bank-d's index among the validators
names = (f"eve-{number}" for number in count())


@dataclass
class World:
    """What an attacker has: bank-d's keys and certificates, while bank-d is down."""

    net: Network
    credentials: Credentials
    vote: SigningKey
    source: Source

    @property
    def tip(self) -> BlockHeader:
        """The header of the newest block."""
        leaf = base64.b64decode(self.net.call(TARGET, "ledger_getBlock")["header_leaf"])
        return decode(BlockHeader, leaf[1:], size_max=4_096)

    @property
    def view(self) -> View:
        """The present view: other tests that ended nodes may have left any, and that of bank-d is passed over."""
        return View(self.net.status(TARGET)["view"])

    def signed_vote(
        self, *, phase: int = COMMIT, view: int | None = None, height: int = 1, block: bytes = bytes(32)
    ) -> Vote:
        chain_id = self.net.genesis.chain_id
        place = Epoch(0), self.view if view is None else View(view), Height(height), Hash(block)
        return Vote(phase, *place, ME, self.vote.sign(vote_statement(phase, chain_id, *place)))


@pytest.fixture(scope="module")
def world(net: Network, sources: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    submit(net, "bank-a", sources["bank-a-bank"].payments(1))
    net.until_level(at_least=1)
    net.stop("bank-d")
    submit(net, "bank-a", sources["bank-a-bank"].payments(1))  # in another view, where bank-d led
    net.until_level(HONEST)
    keys = load_node_keys(net.home("bank-d"))
    assert keys.vote is not None
    credentials = Credentials(net, tmp_path_factory.mktemp("certificates"))
    yield World(net, credentials, keys.vote, sources["bank-a-bank"])
    net.start("bank-d")
    net.check_all()


@pytest.fixture(autouse=True)
def honest_order_goes_on(world: World) -> Iterator[None]:
    """After each attack all nodes run, in the view in which they were, and order an honest bank's events."""
    view = world.net.status(TARGET)["view"]
    yield
    assert all(world.net.runs(name) for name in HONEST)
    rows = submit(world.net, TARGET, world.source.payments(2))
    assert {row["status"] for row in rows} == {"Committed"}
    assert world.net.status(TARGET)["view"] == view


def counted(net: Network, family: str, reason: str) -> float:
    """Return a counter's value for a reason."""
    for metric in text_string_to_metric_families(net.ops(TARGET, "/metrics")[1]):
        for sample in metric.samples:
            if sample.name == family and sample.labels.get("reason") == reason:
                return sample.value
    return 0.0


@dataclass
class Seen:
    """What metric and log said of a reason before an attack."""

    net: Network
    family: str
    reason: str

    def __post_init__(self) -> None:
        self.before = counted(self.net, self.family, self.reason)
        self.lines = len(self.net.log_lines(TARGET))

    def check(self) -> None:
        """Fail unless both name the reason now."""
        until(lambda: counted(self.net, self.family, self.reason) > self.before, describe=self.said)
        until(lambda: self.reason in [line.get("reason") for line in self.new_lines()], describe=self.said)

    def new_lines(self) -> list[dict[str, object]]:
        return self.net.log_lines(TARGET)[self.lines :]

    def said(self) -> str:
        return f"{self.reason}: {self.new_lines()}"


REFUSED = "chainnode_connections_refused_total"
DISCONNECTED = "chainnode_disconnects_total"
DROPPED = "chainnode_messages_dropped_total"


# --- strangers

Stranger = Callable[[World], "Hostile"]


def plain(data: bytes) -> Stranger:
    def connect(world: World) -> Hostile:
        hostile = Hostile(port_of(world.net, TARGET), None)
        hostile.write(data)
        return hostile

    return connect


def with_certificate(name: str, *, member: str = "bank-d", foreign: bool = False, says: str | None = None) -> Stranger:
    def connect(world: World) -> Hostile:
        files = world.credentials.issue(name, member=member, foreign=foreign)
        hostile = Hostile(port_of(world.net, TARGET), files)
        hostile.hello(world.net, says or name)
        return hostile

    return connect


def of_another_chain(world: World) -> Hostile:
    hostile = Hostile(port_of(world.net, TARGET), world.credentials.issue("eve-chain"))
    hostile.hello(world.net, "eve-chain", chain_id=bytes(32))
    return hostile


STRANGERS: dict[str, tuple[Stranger, str]] = {
    "garbage": (plain(bytes(range(255, 0, -1)) * 8), "not_tls"),
    "plain HTTP": (plain(b"GET / HTTP/1.1\r\nHost: bank-b\r\n\r\n"), "not_tls"),
    "a foreign CA that calls itself bank-d's": (with_certificate("eve-f", foreign=True), "certificate_unknown_ca"),
    "bank-d's CA naming another member": (with_certificate("eve-m", member="bank-c"), "certificate_wrong_member"),
    "bank-d's CA naming bank-a's node": (with_certificate("bank-a"), "name_taken"),
    "another name than its certificate's": (with_certificate("eve-n", says="eve-o"), "wrong_name"),
    "another chain": (of_another_chain, "wrong_chain"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_stranger_is_refused_that_shows(case: str, world: World) -> None:
    connect, reason = STRANGERS[case]
    time.sleep(LOG_PAUSE_S)
    seen = Seen(world.net, REFUSED, reason)
    try:
        hostile = connect(world)
        hostile.messages()
        hostile.close()
    except OSError:
        pass  # refused in its handshake
    seen.check()


# --- peers that are linked

Message_ = Callable[[World], tuple[int, bytes]]


def said(make: Callable[[World], Message]) -> Message_:
    def build(world: World) -> tuple[int, bytes]:
        message = make(world)
        return kind_of(message), encode_message(message)

    return build


def cut(make: Callable[[World], Message], by: int) -> Message_:
    return lambda world: (kind_of(make(world)), encode_message(make(world))[:-by])


def empty_block(world: World) -> Block:
    """A block without batches on the newest one; its roots are wrong."""
    tip = world.tip
    place = {"height": Height(tip.height + 1), "parent": tip.hash(), "time_ms": tip.time_ms + 1}
    return Block(msgspec.structs.replace(tip, batches_root=batches_root(()), **place), ())


def proposal(world: World) -> PrePrepare:
    """A proposal in the present view, whose leader bank-d is not."""
    block = empty_block(world)
    vote = world.signed_vote(phase=PREPARE, height=block.header.height, block=block.header.hash())
    return PrePrepare(Epoch(0), vote.view, block, vote.signature)


def forged_blocks(world: World) -> Blocks:
    """A block that only bank-d certified, in three names."""
    block = empty_block(world)
    vote = world.signed_vote(height=block.header.height, block=block.header.hash())
    votes = tuple((index, vote.signature) for index in range(3))
    place = Epoch(0), vote.view, block.header.height, block.header.hash()
    return Blocks((CommittedBlock(block, QuorumCertificate(COMMIT, *place, votes)),), ())


def batch(change: Callable[[bytes], bytes]) -> Message_:
    """A batch of bank-a's next number, changed."""

    def build(world: World) -> tuple[int, bytes]:
        source = Source(world.source.key, world.source.chain_id, world.source.number, world.source.previous)
        return BATCH, change(source.payments(3))

    return build


def with_bad_signature(raw: bytes) -> bytes:
    found = decode(Batch, raw, size_max=BATCH_SIZE_MAX)
    return encode(Batch(found.header, bytes(64), found.events))


def with_long_array_header(raw: bytes) -> bytes:
    assert raw[0] == 0x93  # the array of three in one byte; 0xdc 0x0003 says the same in three
    return b"\xdc\x00\x03" + raw[1:]


LINKED: dict[str, tuple[Message_, str]] = {
    "a kind that there is none of": (lambda world: (200, b"hello"), "unknown_kind"),
    "a vote larger than any vote": (lambda world: (2, bytes(KINDS[2][1] + 1)), "frame_too_large"),
    "a batch larger than any batch": (lambda world: (BATCH, bytes(BATCH_SIZE_MAX + 1)), "frame_too_large"),
    "a cut vote": (cut(lambda world: world.signed_vote(), 3), "bad_encoding"),
    "noise for a vote": (lambda world: (2, os.urandom(200)), "bad_encoding"),
    "noise for a NEW-VIEW": (lambda world: (4, os.urandom(5_000)), "bad_encoding"),
    "a vote with a trailing byte": (
        lambda world: (2, encode_message(world.signed_vote()) + b"\0"),
        "bad_encoding",
    ),
    "a vote for the next height by a key of nobody": (
        said(
            lambda world: Vote(
                COMMIT, Epoch(0), world.view, Height(world.tip.height + 8), Hash(bytes(32)), ME, bytes(64)
            )
        ),
        "bad_signature",
    ),
    "a vote of a validator that there is none of": (
        said(
            lambda world: Vote(
                COMMIT, Epoch(0), world.view, Height(world.tip.height + 8), Hash(bytes(32)), 77, bytes(64)
            )
        ),
        "bad_signature",
    ),
    "a proposal in somebody else's view": (said(proposal), "bad_signature"),
    "a block that one validator certified thrice": (said(forged_blocks), "bad_signature"),
    "a VIEW-CHANGE signed by nobody": (
        said(lambda world: ViewChange(Epoch(0), View(world.view + 9), ME, (), (), bytes(64))),
        "bad_signature",
    ),
    "a NEW-VIEW signed by nobody": (
        said(lambda world: NewView(Epoch(0), View(world.view + 9), (), bytes(64))),
        "bad_signature",
    ),
    "a cosignature by nobody": (
        said(
            lambda world: CheckpointVote(Epoch(0), Height(world.tip.height + 8), 5, Hash(bytes(32)), 1, ME, bytes(64))
        ),
        "bad_signature",
    ),
    "evidence of two equal votes": (
        said(lambda world: Evidence(world.signed_vote(), world.signed_vote())),
        "bad_input",
    ),
    "evidence against an honest validator": (
        said(
            lambda world: Evidence(
                Vote(COMMIT, Epoch(0), View(0), Height(1), Hash(bytes(32)), 0, bytes(64)),
                Vote(COMMIT, Epoch(0), View(0), Height(1), Hash(bytes([1] * 32)), 0, bytes(64)),
            )
        ),
        "bad_signature",
    ),
    "a status out of all range": (
        said(lambda world: Status(Epoch(0), View(0), True, Height(2**60), Height(0), Height(0), True)),
        "bad_input",
    ),
    "a cut batch": (batch(lambda raw: raw[:-9]), "bad_encoding"),
    "a batch with a bad signature": (batch(with_bad_signature), "bad_signature"),
    "a batch in another spelling": (batch(with_long_array_header), "bad_encoding"),
    "a batch whose last byte is another": (batch(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])), "bad_root"),
    "too many wants": (lambda world: (BATCH_WANT, encode(BatchIds((bytes(32),) * 1_025))), "bad_input"),
    "a want of no hash": (lambda world: (BATCH_WANT, encode(BatchIds((b"short",)))), "bad_input"),
    "a second HELLO": (
        lambda world: (HELLO, encode(Hello(1, 1, bytes(32), "x", b"instance", "", b""))),
        "unknown_kind",
    ),
    "a PING of the wrong size": (lambda world: (PING, b"123"), "bad_control"),
}


def linked(world: World) -> Hostile:
    """Return a new peer of bank-d's member, after the greeting."""
    name = next(names)
    hostile = Hostile(port_of(world.net, TARGET), world.credentials.issue(name))
    hostile.hello(world.net, name)
    return hostile


@pytest.mark.parametrize("case", LINKED)
def test_a_peer_is_disconnected_that_sends(case: str, world: World) -> None:
    build, reason = LINKED[case]
    seen = Seen(world.net, DISCONNECTED, reason)
    hostile = linked(world)
    hostile.send(*build(world))
    assert hostile.goodbye() in (reason, None)  # a reset may overtake the goodbye
    seen.check()


IGNORED: dict[str, Message_] = {
    "an old vote": said(lambda world: world.signed_vote(height=1)),
    "a vote for a block that there is none of": said(lambda world: world.signed_vote(height=world.tip.height + 2)),
    "a vote far above the window": said(lambda world: world.signed_vote(height=2**40)),
    "a vote of a far view": said(lambda world: world.signed_vote(view=2**30, height=world.tip.height + 2)),
    "hashes of batches that nobody has": lambda world: (
        BATCH_HAVE,
        encode(BatchIds(tuple(os.urandom(32) for _ in range(1_000)))),
    ),
    "wants of batches that there are none of": lambda world: (
        BATCH_WANT,
        encode(BatchIds(tuple(os.urandom(32) for _ in range(1_000)))),
    ),
}


@pytest.mark.parametrize("case", IGNORED)
def test_a_peer_does_no_harm_that_sends(case: str, world: World) -> None:
    hostile = linked(world)
    for _ in range(3):
        hostile.send(*IGNORED[case](world))
    hostile.messages(0.2)
    rows = submit(world.net, TARGET, world.source.payments(2))
    assert {row["status"] for row in rows} == {"Committed"}
    hostile.close()


def test_a_vote_of_an_unknown_epoch_is_counted_and_named(world: World) -> None:
    seen = Seen(world.net, DROPPED, "wrong_epoch")
    hostile = linked(world)
    vote = world.signed_vote(height=world.tip.height + 500)
    hostile.send(2, encode_message(Vote(vote.phase, Epoch(7), *_rest(vote))))
    seen.check()
    hostile.close()


def _rest(vote: Vote) -> tuple[View, Height, Hash, int, bytes]:
    return vote.view, vote.height, vote.block_hash, vote.validator, vote.signature


def test_a_lying_status_makes_no_node_unready(world: World) -> None:
    """Only certificates prove heights: a peer that claims to be far ahead is asked, and otherwise not believed."""
    hostile = linked(world)
    claim = Status(Epoch(0), world.view, True, Height(2**40), Height(2**40), Height(0), True)
    hostile.send(kind_of(claim), encode_message(claim))
    hostile.messages(0.5)
    status, text = world.net.ops(TARGET, "/readyz?verbose")
    hostile.close()
    assert status == 200, text


def test_a_real_banks_certificate_with_garbage_is_shut_out_for_a_time_and_then_welcome_again(world: World) -> None:
    seen = Seen(world.net, DISCONNECTED, "bad_encoding")
    refused = Seen(world.net, REFUSED, "banned")
    for _ in range(2):
        time.sleep(LOG_PAUSE_S)
        hostile = Hostile(port_of(world.net, TARGET), world.credentials.own())
        hostile.hello(world.net, "bank-d")
        hostile.send(2, b"garbage")
        hostile.messages()
        hostile.close()
    seen.check()
    refused.check()
    world.net.start("bank-d")
    until(lambda: linked_with(world.net, "bank-d"))
    world.net.stop("bank-d")


def linked_with(net: Network, name: str) -> bool:
    """Say whether the target is linked with a node, whoever else is linked: observers of other tests may be."""
    peers = net.call(TARGET, "net_peers")["peers"]
    return any(peer["connected"] for peer in peers if peer["name"] == name)


def test_connections_that_say_nothing_do_not_keep_others_out(world: World) -> None:
    silent = [Hostile(port_of(world.net, TARGET), None) for _ in range(20)]
    hostile = linked(world)
    assert hostile.messages(count=1), "a peer that greets is greeted"
    hostile.close()
    for connection in silent:
        connection.close()
