"""Whatever is changed in a proof or a policy: both verifiers refuse it, or both say the same of it."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import parse_policy
from primitives.errors import InputError
from tests.verifier.agreement_fixtures import REFUSED, Said, node_receipt, node_status, own_receipt, own_status, same
from tests.verifier.proof_fixtures import life, stretched
from tests.verifier.verifier_fixtures import BACKENDS, load

EXAMPLES = 150
RANDOM = st.randoms(use_true_random=False, note_method_calls=False)
LETTERS = "0123456789abcXYZ+/= \n\t#—\0é"


def changed_text(random: Random, text: str) -> str:
    """Return a text with a character or a line changed, left out, repeated, or put elsewhere."""
    if random.random() < 0.6:
        at = random.randrange(len(text))
        return text[:at] + random.choice(["", random.choice(LETTERS), text[at] * 2]) + text[at + 1 :]
    lines = text.split("\n")
    at, to = random.randrange(len(lines)), random.randrange(len(lines))
    line = lines.pop(at) if random.random() < 0.7 else lines[at]
    if random.random() < 0.7:
        lines.insert(to, line)
    return "\n".join(lines)


def changed_value(random: Random, value: Any) -> Any:
    """Return a decoded value with something in it changed, deep inside more often than at its top."""
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        how = random.random()
        if how < 0.8:
            return [*value[:at], changed_value(random, value[at]), *value[at + 1 :]]
        if how < 0.87:
            return value[:at] + value[at + 1 :]
        return [*value, value[at]] if how < 0.94 else [*value[at:], *value[:at]]
    if isinstance(value, int):
        return value + random.choice([1, -1, 1 << 16, 1 << 62, -value, -2 * value])
    if isinstance(value, bytes) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
    return random.choice([None, 0, 1, b"", bytes(32), "", "x", [], [0], True, value])


def changed_extra(random: Random, text: str) -> str:
    """Return a proof whose extra data were decoded, changed and encoded again, now and then not canonically."""
    proof = parse_tlog_proof(text)
    if random.random() < 0.15:
        data = bytearray(proof.extra)
        at = random.randrange(len(data))
        data[at : at + random.randrange(2)] = random.choice([b"", b"\xc4", b"\xcc\x01", bytes([data[at] ^ 1])])
        return TlogProof(bytes(data), proof.index, proof.path, proof.note).text()
    value = changed_value(random, msgpack.unpackb(proof.extra))
    try:
        extra = msgpack.packb(value)
    except OverflowError:
        extra = b"\xd3" + bytes(8)
    return TlogProof(extra, proof.index, proof.path, proof.note).text()


def mutated(random: Random, text: str) -> str:
    return changed_text(random, text) if random.random() < 0.4 else changed_extra(random, text)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=EXAMPLES)
@given(RANDOM)
def test_a_changed_receipt_says_the_same_to_both(backend: str, random: Random) -> None:
    made = random.choice([life(), stretched()])
    name = random.choice([each for each in made.policies if each not in ("elsewhere", "late", "threshold")])
    text, policy = mutated(random, random.choice(made.receipts)), made.policies[name]
    node, independent = node_receipt(text, policy), own_receipt(load(backend), text, policy)
    assert same(node, independent), (node, independent, text)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=EXAMPLES)
@given(RANDOM)
def test_a_changed_status_proof_says_the_same_to_both(backend: str, random: Random) -> None:
    text, number, times = random.choice(life().statuses)
    text, policy, at_ms = mutated(random, text), life().policies["epoch 0"], random.choice(times[:4])
    node, independent = node_status(text, policy, number, at_ms), own_status(load(backend), text, policy, number, at_ms)
    assert same(node, independent), (node, independent, text)


@settings(max_examples=EXAMPLES)
@given(RANDOM)
def test_a_changed_policy_judges_the_same_for_both(random: Random) -> None:
    made = life()
    policy = changed_text(random, random.choice(list(made.policies.values())))
    if random.random() < 0.3:
        policy = changed_set(random, policy)
    text = random.choice(made.receipts)
    node, independent = node_receipt(text, policy), own_receipt(load(), text, policy)
    assert same(node, independent) or names_no_key(policy), (node, independent, policy)


def names_no_key(policy: str) -> bool:
    """Say whether the node refuses a policy for 32 bytes that are nobody's key, which the other leaves unused."""
    try:
        parse_policy(policy)
    except InputError as error:
        return error.what == "not an acceptable Ed25519 public key"
    return False


def changed_set(random: Random, policy: str) -> str:
    """Return a policy in which the set of an epoch was decoded, changed and encoded again."""
    lines = policy.split("\n")
    marked = [at for at, line in enumerate(lines) if line.startswith("#chainnode epoch") and line.count(" ") == 5]
    if not marked:
        return policy
    at = random.choice(marked)
    *words, data = lines[at].split(" ")
    try:
        value = changed_value(random, msgpack.unpackb(base64.b64decode(data)))
        lines[at] = " ".join([*words, base64.b64encode(msgpack.packb(value)).decode()])
    except (ValueError, OverflowError, msgpack.exceptions.ExtraData):
        return policy
    return "\n".join(lines)


def test_most_changes_are_refused_and_the_others_are_of_what_proves_nothing() -> None:
    random, verifier = Random(7), load()
    policy = life().policies["epoch 0"]
    said: list[Said] = []
    for text in life().receipts[:20]:
        good = own_receipt(verifier, text, policy)
        for _ in range(20):
            found = own_receipt(verifier, mutated(random, text), policy)
            said.append(found)
            assert found == REFUSED or same(good, found) or _fewer(good, found), found
    assert said.count(REFUSED) > 0.8 * len(said)


def _fewer(good: Said, found: Said) -> bool:
    """Say whether only the cosigners or the epochs are fewer: a line or a handover that was not needed was lost."""
    assert isinstance(good, dict)
    assert isinstance(found, dict)
    changing = {"epoch", "cosigners", "cosigned_first_s", "cosigned_last_s"}
    return all(found[name] == value for name, value in good.items() if name not in changing)
