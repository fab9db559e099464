"""Each check of the verifier refuses by itself, at the step that docs/proofs.md names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from primitives.keys import SigningKey, verify
from tests.ledger.certificate_fixtures import NUMBER
from tests.verifier.proof_fixtures import ABSENT, life
from tests.verifier.verifier_fixtures import BACKENDS, load

Extra = list[Any]
Change = Callable[[Extra], object]
EVENT, HEADER, HEADER_PATH, OUTCOME, PLACE, BATCH, SIGNATURE, INDEX, PATH, HANDOVERS = range(1, 11)
CERTIFICATE, VALIDATORS, VOTES = 1, 2, 5
ORDER = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def put(*way: int, to: Callable[[Any], Any]) -> Change:
    """Return a change of what lies on this way in the extra data."""

    def change(extra: Extra) -> None:
        for step in way[:-1]:
            extra = extra[step]
        extra[way[-1]] = to(extra[way[-1]])

    return change


def with_extra(text: str, change: Change) -> str:
    proof = parse_tlog_proof(text)
    extra = msgpack.unpackb(proof.extra)
    change(extra)
    return TlogProof(msgpack.packb(extra), proof.index, proof.path, proof.note).text()


RECEIPTS: dict[str, tuple[str, Change]] = {
    "another version": ("extra data", put(0, to=lambda v: v + 1)),
    "an event of other bytes": ("event", put(EVENT, to=lambda e: e[:-1] + b"\xc2")),
    "a header of another time": ("header", put(HEADER, 6, to=lambda ms: ms + 1)),
    "a header of another chain": ("header", put(HEADER, 2, to=flipped)),
    "a header of rules to come": ("header", put(HEADER, 1, to=lambda v: v + 1)),
    "a header's path": ("header", put(HEADER_PATH, 0, to=flipped)),
    "an outcome that was not": ("outcome", put(OUTCOME, 0, to=lambda _: b"\x91\x93\x01\xa1x\xa0")),
    "outcomes that are too many": ("outcome", put(OUTCOME, 0, to=lambda leaf: b"\x92" + leaf[1:] * 2)),
    "another place of the batch": ("batch", put(PLACE, 0, to=lambda index: index + 1)),
    "another batch": ("batch", put(BATCH, 4, to=lambda number: number + 1)),
    "another place in the batch": ("batch", put(INDEX, to=lambda index: index + 1)),
    "a signature of nobody": ("source signature", put(SIGNATURE, to=flipped)),
    "the second handover alone": ("epoch", put(HANDOVERS, to=lambda both: both[1:])),
    "a handover twice": ("epoch", put(HANDOVERS, to=lambda both: [both[0], *both])),
    "a vote that does not verify": ("epoch", put(HANDOVERS, 0, CERTIFICATE, VOTES, 1, 1, to=flipped)),
    "too few votes": ("epoch", put(HANDOVERS, 0, CERTIFICATE, VOTES, to=lambda votes: votes[:2])),
    "a vote three times": ("epoch", put(HANDOVERS, 0, CERTIFICATE, VOTES, to=lambda votes: votes[:1] * 3)),
    "votes of the phase before": ("epoch", put(HANDOVERS, 0, CERTIFICATE, 0, to=lambda _: 1)),
    "votes in another view": ("epoch", put(HANDOVERS, 0, CERTIFICATE, 2, to=lambda view: view + 1)),
    "a set that was not named": ("epoch", put(HANDOVERS, 1, VALIDATORS, 0, 3, to=flipped)),
    "a set in another order": ("epoch", put(HANDOVERS, 0, VALIDATORS, to=lambda those: those[::-1])),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", RECEIPTS)
def test_a_receipt_is_refused_at_the_step_that_fails(name: str, backend: str) -> None:
    verifier = load(backend)
    step, change = RECEIPTS[name]
    text = life().receipts[-1]
    policy = verifier.Policy(life().policies["epoch 0"])
    assert verifier.verify_receipt(text, policy)["epoch"] == 2
    with pytest.raises(verifier.Refused) as refused:
        verifier.verify_receipt(with_extra(text, change), policy)
    assert refused.value.args[0] == step


KEY, VALUE, PROOF, STATUS_HEADER, FOLLOWING = range(1, 6)
STATUSES: dict[str, tuple[str, Change]] = {
    "another key": ("state", put(KEY, to=lambda key: key[:-1] + b"9")),
    "another value": ("state", put(VALUE, to=lambda value: value[:-1] + b"\0")),
    "no value": ("state", put(VALUE, to=lambda _: None)),
    "another sibling": ("state", put(PROOF, 0, 0, to=flipped)),
    "another leaf beside the value": ("state", put(PROOF, 1, to=lambda _: [bytes(32), bytes(32)])),
    "another header": ("header", put(STATUS_HEADER, 3, to=lambda height: height + 1)),
    "a next header that does not follow": (
        "next header",
        lambda extra: put(FOLLOWING, to=lambda _: [extra[STATUS_HEADER], []])(extra),
    ),
}


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_proof_is_refused_at_the_step_that_fails(name: str) -> None:
    verifier, made = load(), life()
    step, change = STATUSES[name]
    policy = verifier.Policy(made.policies["epoch 0"])
    text = next(
        text for text, number, _ in made.statuses
        if number == NUMBER and verifier.verify_status(text, policy, number)["exists"]
        and msgpack.unpackb(parse_tlog_proof(text).extra)[FOLLOWING] is not None
    )  # fmt: skip
    with pytest.raises(verifier.Refused) as refused:
        verifier.verify_status(with_extra(text, change), policy, NUMBER)
    assert refused.value.args[0] == step
    with pytest.raises(verifier.Refused, match="another key") as refused:
        verifier.verify_status(text, policy, ABSENT)
    assert refused.value.args[0] == "certificate"
    with pytest.raises(verifier.Refused) as refused:
        verifier.verify_status(text, policy, NUMBER, verifier.verify_status(text, policy, NUMBER)["until_ms"])
    assert refused.value.args[0] == "time"


def test_a_leaf_elsewhere_proves_no_absence() -> None:
    verifier, made = load(), life()
    policy = verifier.Policy(made.policies["epoch 0"])
    absent = [
        (text, number) for text, number, _ in made.statuses if msgpack.unpackb(parse_tlog_proof(text).extra)[2] is None
    ]
    text, number = next(
        each for each in absent if msgpack.unpackb(parse_tlog_proof(each[0]).extra)[PROOF][1] is not None
    )
    other = msgpack.unpackb(parse_tlog_proof(text).extra)[PROOF][1]
    assert not verifier.verify_status(text, policy, number)["exists"]
    for wrong in (None, [flipped(other[0]), other[1]], [other[0], flipped(other[1])]):
        with pytest.raises(verifier.Refused) as refused:
            verifier.verify_status(with_extra(text, put(PROOF, 1, to=lambda _, wrong=wrong: wrong)), policy, number)
        assert refused.value.args[0] == "state"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_key_of_small_order_vouches_for_nothing(key: str, backend: str) -> None:
    verifier, public = load(backend), bytes.fromhex(key)
    for nonce in SMALL_ORDER:
        for second in (bytes(32), b"\x01" + bytes(31)):
            signature = bytes.fromhex(nonce) + second
            for message in (b"", b"anything", b"something else"):
                assert not verify(public, message, signature)
                with pytest.raises(verifier.Refused):
                    verifier.check_signature(public, message, signature, "nobody")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_key_of_small_order_vouches_for_nothing_by_a_sound_nonce_either(key: str, backend: str) -> None:
    """With 0 for the secret, S = r proves any message under the identity, as OpenSSL sees it."""
    verifier, public = load(backend), bytes.fromhex(key)
    seed = b"r" * 32
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & ~7 & ((1 << 254) - 1) | 1 << 254
    signature = SigningKey(seed).public + (scalar % ORDER).to_bytes(32, "little")
    for message in (
        b"",
        b"anything",
        b"something else",
        b"another",
        b"and more",
        b"of these",
        b"to meet",
        b"cofactors",
    ):
        assert not verify(public, message, signature)
        with pytest.raises(verifier.Refused):
            verifier.check_signature(public, message, signature, "nobody")


def test_cosigners_who_are_too_few_prove_nothing() -> None:
    verifier, made = load(), life()
    policy, text = verifier.Policy(made.policies["epoch 0"]), made.receipts[0]
    lines = text.split("\n")
    own = [line for line in lines if line.startswith("— council/node-")]
    assert len(own) == 3
    for lost in own:
        with pytest.raises(verifier.Refused, match="too few") as refused:
            verifier.verify_receipt("\n".join(line for line in lines if line != lost), policy)
        assert refused.value.args[0] == "cosignatures"
    unwitnessed = "\n".join(line for line in lines if ".example/" not in line)
    assert verifier.verify_receipt(unwitnessed, policy)["applied"]
    with pytest.raises(verifier.Refused, match="too few"):
        verifier.verify_receipt(unwitnessed, verifier.Policy(made.policies["guarded 0"]))


def test_the_leaf_of_what_exists_proves_no_absence_of_it() -> None:
    verifier, made = load(), life()
    policy = verifier.Policy(made.policies["epoch 0"])
    text, number, _ = next(each for each in made.statuses if msgpack.unpackb(parse_tlog_proof(each[0]).extra)[VALUE])

    def denied(extra: Extra) -> None:
        path = verifier.domain("state-path", extra[KEY])
        extra[PROOF][1] = [path, hashlib.sha256(extra[VALUE]).digest()]
        extra[VALUE] = None

    with pytest.raises(verifier.Refused, match="no absence") as refused:
        verifier.verify_status(with_extra(text, denied), policy, number)
    assert refused.value.args[0] == "state"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signature_has_one_form(backend: str) -> None:
    verifier, key = load(backend), SigningKey(b"k" * 32)
    signature = key.sign(b"a message")
    verifier.check_signature(key.public, b"a message", signature, "its owner")
    longer = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    for wrong in (longer, signature[:-1], signature + b"\0", b"", flipped(signature), signature[:32] + bytes(32)):
        assert not verify(key.public, b"a message", wrong)
        with pytest.raises(verifier.Refused):
            verifier.check_signature(key.public, b"a message", wrong, "its owner")


@pytest.mark.parametrize(
    "data", ["cc7f", "cd00ff", "ce0000ffff", "cf00000000ffffffff", "d0e0", "d180", "d9026162", "c50001ff", "dc000101"]
)
def test_what_is_not_in_its_shortest_form_is_refused(data: str) -> None:
    verifier = load()
    for type_ in (verifier.INT, verifier.TEXT, verifier.BYTES, ("array", 0, 9, verifier.INT)):
        with pytest.raises(verifier.Refused):
            verifier.decode(type_, bytes.fromhex(data))


def test_every_integer_is_read_from_its_shortest_form_alone() -> None:
    verifier = load()
    edges = [
        edge + near
        for power in (5, 7, 8, 15, 16, 31, 32, 63, 64)
        for edge in (1 << power, -(1 << power))
        for near in (-1, 0, 1)
    ]
    for number in edges:
        if -(1 << 63) <= number < 1 << 64:
            data = msgpack.packb(number)
            assert verifier.decode(verifier.INT, data) == number
            for cut in range(len(data)):
                with pytest.raises(verifier.Refused):
                    verifier.decode(verifier.INT, data[:cut])


def test_a_policys_line_in_another_spelling_is_refused_by_its_number() -> None:
    verifier, policy = load(), life().policies["guarded 2"]
    for wrong in (policy.replace(" from 1 ", " from 01 "), policy.replace("#chainnode epoch 0", "#chainnode era 0")):
        with pytest.raises(verifier.Refused) as refused:
            verifier.Policy(wrong)
        assert refused.value.args[0].startswith("policy, line ")
    line = next(line for line in policy.split("\n") if line.startswith("#chainnode"))
    data = base64.b64decode(line.split(" ")[5])
    longer = base64.b64encode(b"\xdc\x00\x02" + data[1:]).decode()
    with pytest.raises(verifier.Refused, match="shortest"):
        verifier.Policy(policy.replace(line.split(" ")[5], longer))
