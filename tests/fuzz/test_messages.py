"""Whatever a peer sends, a node takes it or holds it against the peer: nothing else is raised, nothing grows."""

from __future__ import annotations

import gc
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.core import WIRE_KINDS
from consensus.messages import KINDS, decode_message, encode_message
from consensus.verify import Verification, verify
from ledger.genesis import validator_set
from primitives.encoding import decode
from primitives.errors import InputError
from sim.mutator import TYPES
from sim.signatures import stand_in_verify
from sim.workload import genesis_of
from tests.fuzz.victim_fixtures import KINDS as ALL_KINDS
from tests.fuzz.victim_fixtures import PEERS, Victim, attacker, examples, seeds

ATTACKER_PEER = "bank-3"
LONG = 2_500
WARM = 1_500
GROWTH_BYTES_MAX = 512 * 1024
TURN_BYTES_MAX = 32 * 1024 * 1024

names = [f"{kind} {WIRE_KINDS[kind][0]}" for kind in ALL_KINDS]
each_kind = pytest.mark.parametrize("kind", ALL_KINDS, ids=names)


def victim_at(place: int, *, leaves: bool = False) -> Victim:
    snapshots = seeds().snapshots
    victim = Victim(snapshots[place % len(snapshots)])
    if leaves:
        victim.leave()
    return victim


def garbled(payload: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return a payload in which, at each edit's place, so many bytes were replaced by others."""
    for at, count, put in edits:
        place = at % (len(payload) + 1)
        payload = payload[:place] + put + payload[place + count :]
    return payload


edits = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), st.binary(max_size=9)), min_size=1, max_size=4)
places = st.integers(0, 4)
randoms = st.integers(0, 2**32).map(Random)


@each_kind
@given(payload=st.binary(max_size=400))
@examples(60)
def test_arbitrary_bytes_of_every_kind_are_refused_or_taken(kind: int, payload: bytes) -> None:
    victim_at(1).say(ATTACKER_PEER, kind, payload)


@each_kind
@given(number=st.integers(0, 11), changes=edits, place=places)
@examples(60)
def test_garbled_bytes_of_valid_messages_are_refused_or_taken(
    kind: int, number: int, changes: list[tuple[int, int, bytes]], place: int
) -> None:
    payloads = seeds().payloads[kind]
    victim, payload = victim_at(place), garbled(payloads[number % len(payloads)], changes)
    taken = victim.say(ATTACKER_PEER, kind, payload)
    assert decodes(kind, payload) or not taken, "what does not decode is held against its sender"
    victim.tick()


def decodes(kind: int, payload: bytes) -> bool:
    try:
        decode(TYPES[kind], payload, size_max=WIRE_KINDS[kind][1])
    except InputError:
        return False
    return True


@each_kind
@given(number=st.integers(0, 11), random=randoms, place=places, leaves=st.booleans())
@examples(100)
def test_altered_messages_of_every_kind_are_refused_or_taken(
    kind: int, number: int, random: Random, place: int, leaves: bool
) -> None:
    payloads = seeds().payloads[kind]
    victim = victim_at(place, leaves=leaves)
    victim.say(ATTACKER_PEER, *attacked(kind, payloads[number % len(payloads)], random))
    victim.tick()


ATTACKER = attacker()


def attacked(kind: int, payload: bytes, random: Random) -> tuple[int, bytes]:
    """Return an altered message; the same where what was made has no bytes, such as a number too large."""
    try:
        return ATTACKER.altered(kind, payload, random)
    except InputError:
        return kind, payload


@given(random=randoms, place=places, length=st.integers(1, 60))
@examples(60)
def test_a_sequence_of_altered_messages_leaves_a_node_that_goes_on(random: Random, place: int, length: int) -> None:
    victim = victim_at(place)
    flood(victim, random, length)
    tip = victim.core.replica.state.tip.height
    for number in range(len(seeds().payloads[8])):
        victim.say("bank-2", 8, seeds().payloads[8][number])
        victim.tick()
    assert victim.core.replica.state.tip.height >= tip
    assert victim.core.replica.state.halted is None


def flood(victim: Victim, random: Random, length: int) -> list[int]:
    """Send altered messages, some honest ones between, and ticks; return the bytes of each turn."""
    known = seeds().payloads
    sent = []
    for _ in range(length):
        kind = random.choice(ALL_KINDS)
        payload = random.choice(known[kind])
        if random.random() < 0.1:
            victim.say(random.choice(PEERS), kind, payload)
        else:
            victim.say(ATTACKER_PEER, *attacked(kind, payload, random))
        if random.random() < 0.2:
            sent.append(victim.turn())
        if random.random() < 0.05:
            victim.tick()
    return sent


@given(random=randoms, place=places)
@examples(40)
def test_even_forged_signatures_move_a_node_within_its_bounds(random: Random, place: int) -> None:
    """Where every signature counts as valid, more than f seem malicious: it may halt, but not fall over or grow."""
    flood(Victim(seeds().snapshots[place], verifier=lambda public, message, signature: True), random, 150)


def test_a_long_sequence_of_altered_messages_grows_no_memory_past_the_bounds() -> None:
    victim, random = victim_at(2), Random(1)
    flood(victim, random, WARM)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        sent = flood(victim, random, LONG)
        victim.turn()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < GROWTH_BYTES_MAX
    assert max(sent) < TURN_BYTES_MAX


def test_most_altered_messages_reach_past_decoding_and_many_past_verification() -> None:
    """The mutator would be no use if its messages fell at the first door."""
    genesis = genesis_of(4)
    known = Verification(genesis.chain_id, genesis.origin, validator_set(genesis), None, stand_in_verify)
    random = Random(3)
    verified: dict[int, int] = dict.fromkeys(KINDS, 0)
    decodes = 0
    for _ in range(2_000):
        kind = random.choice(list(KINDS))
        altered_kind, payload = attacked(kind, random.choice(seeds().payloads[kind]), random)
        try:
            message = decode_message(altered_kind, payload)
            decodes += 1
            verify(message, known)
        except InputError:
            continue
        assert encode_message(message) == payload
        if payload not in seeds().payloads[kind]:
            verified[kind] += 1
    assert decodes > 1_200
    assert all(count > 0 for kind, count in verified.items() if kind not in (4, 11)), verified
