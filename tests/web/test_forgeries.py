"""Whatever is changed in a proof: the JavaScript verifier and the product refuse it both, or read it alike.

Texts are changed by characters and lines, extra data by their values: bits, numbers, places and repetitions in arrays,
each encoded again canonically, so that the change reaches the checks behind the encoding.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

import msgpack
import pytest

from ledger.certificate_history import CertificateHistory, joined, verify_certificate_history
from ledger.certificate_records import certificate_key
from ledger.completeness import Completeness, verify_completeness
from ledger.completeness_reading import make_completeness
from ledger.handovers import first_span
from ledger.proof_kinds import kind_of
from ledger.reader import LedgerReader
from ledger.receipts import Receipt, verify
from ledger.status_proofs import StatusProof, certificate_status, make_status_proof, verify_status
from ledger.times import format_time
from ledger.trust_policy import policy_text
from primitives.errors import InputError
from primitives.notes import COSIGNATURE_V1, ED25519, NoteKey, parse_vkey
from tests.ledger.certificate_fixtures import NUMBER
from tests.ledger.test_certificate_history import Life
from tests.ledger.test_completeness import history, said_twice
from tests.ledger.test_proofs_over_epochs import Story, broken_policies
from tests.web.curve_fixtures import SMALL, packed, times
from tests.web.node_fixtures import Node, RefusedByNode, running_node

CHANGES = 200
"""Of each sort, for each proof."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


@dataclass(frozen=True)
class Proof:
    """A good proof, its policy, and what must be demanded of it."""

    name: str
    text: str
    policy: str
    certificate: str | None = None


def by_python(proof: str, policy: str, certificate: str | None) -> Any:
    """Return what the product's verifiers say, as far as told below; None where they refuse."""
    try:
        kind = kind_of(proof)
        if kind is Receipt:
            receipt = verify(proof, policy)
            said: list[Any] = [receipt.event_id.hex(), receipt.applied, receipt.rule, receipt.source.hex()]
            return [*said, receipt.height, receipt.log_index, list(receipt.cosigners), receipt.epoch]
        if kind is StatusProof:
            state = verify_status(proof, policy)
            status = certificate_status(state, certificate or NUMBER, state.last_ms if state.is_newest else None)
            return [None if status is None else status.status.value, state.height, list(state.cosigners), state.epoch]
        if kind is CertificateHistory:
            page = verify_certificate_history(proof, policy, certificate)
            ids = [event.event_id.hex() for event in joined([page])]
            return [ids, page.status.height, list(page.status.cosigners), page.status.epoch]
        assert kind is Completeness
        complete = verify_completeness(proof, policy)
        ids = [event.event_id.hex() for event in complete.events]
        until = None if complete.until_ms is None else format_time(complete.until_ms)
        return [complete.member, ids, complete.from_height, complete.to_height, until, list(complete.cosigners)]
    except InputError:
        return None


def by_node(node: Node, proof: str, policy: str, certificate: str | None) -> Any:
    """Return the same of the JavaScript verifier; None where it refuses."""
    try:
        told = node.verify(proof, policy, **({} if certificate is None else {"certificate": certificate}))
    except RefusedByNode:
        return None
    if "event_id" in told:
        said = [told["event_id"], told["outcome"]["applied"], told["outcome"]["rule"] or "", told["source"]]
        return [*said, told["height"], told["log_index"], told["cosigners"], told["cosigned"]["epoch"]]
    if "from_height" in told:
        return [told[name] for name in ("member", "event_ids", "from_height", "to_height", "until", "cosigners")]
    first = [event["id"] for event in told["events"]] if "events" in told else told["status"]
    return [first, told["height"], told["cosigners"], told["cosigned"]["epoch"]]


def _proofs() -> Iterator[Proof]:
    story = Story()
    yield Proof("receipt", story.receipts[0], story.policies[0])
    yield Proof("receipt over epochs", story.receipts[2], story.policies[0])
    yield Proof("old receipt", story.receipts[0], story.policies[2])
    life = Life()
    for name, height in (("absence", life.granted - 1), ("status", life.granted), ("newest", life.chain.chain.height)):
        text = make_status_proof(life.chain.reader, certificate_key(NUMBER), height)
        assert text is not None
        yield Proof(name, text, life.policy, NUMBER)
    yield Proof("history", life.page().proof, life.policy, NUMBER)
    ledger = history()
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    reader = LedgerReader(ledger.store, ledger.genesis)
    for member, start, stop in (("bank-b", 4, 9), ("bank-a", 5, 6), ("bank-bb", 2, 9)):
        page = make_completeness(reader, member, start, stop)
        assert page is not None
        yield Proof(f"events of {member}", page.proof, policy)


PROOFS = list(_proofs())


def assert_alike(node: Node, proof: Proof, text: str, policy: str | None = None) -> bool:
    """Assert that both refuse a changed proof or read it alike; return whether they refused."""
    theirs = by_python(text, policy or proof.policy, proof.certificate)
    ours = by_node(node, text, policy or proof.policy, proof.certificate)
    assert ours == theirs, text
    return theirs is None


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_what_is_changed_below_is_good(node: Node, proof: Proof) -> None:
    assert not assert_alike(node, proof, proof.text)


# --- texts


def change_text(text: str, random: Random) -> str:
    """Return a text with a character or a line changed, left out, doubled or moved."""
    place = random.randrange(len(text))
    lines = text.split("\n")
    line, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(9):
        case 0 | 1:
            return text[:place] + random.choice("AZaz09+/= \n\t\u2014\u00e9\U0001f600") + text[place + 1 :]
        case 2:
            return text[:place] + text[place + 1 :]
        case 3:
            return text[:place] + text[place] + text[place:]
        case 4:
            return text[:place]
        case 5:
            lines[line], lines[other] = lines[other], lines[line]
        case 6:
            lines.insert(other, lines[line])
        case 7:
            del lines[line]
        case _:
            lines[line] = lines[other]
    return "\n".join(lines)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_changed_texts_of_proofs_are_judged_alike(node: Node, proof: Proof) -> None:
    random = Random(proof.name)
    changed = [text for text in (change_text(proof.text, random) for _ in range(CHANGES)) if text != proof.text]
    refused = sum(assert_alike(node, proof, text) for text in changed)
    # What may be left out or doubled is a signature more than the quorum needs, or one of a key that nobody knows.
    assert refused > 0.9 * len(changed)


# --- values


def places_of(value: Any, way: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Yield the ways to all values inside of nested lists."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (*way, index)
            yield from places_of(item, (*way, index))


def change_value(value: Any, random: Random) -> Any:
    """Return another value of about the same type, or none at all."""
    match value:
        case bool():
            return not value
        case int():
            return random.choice([value + 1, value - 1, 0, -1, value + 2**32, 2**63 - 1, 2**63, 2**64 - 1, value ^ 1])
        case bytes() if value:
            place = random.randrange(len(value))
            flipped = value[:place] + bytes([value[place] ^ 1 << random.randrange(8)]) + value[place + 1 :]
            return random.choice([flipped, flipped, flipped, value[:-1], value + b"\0", bytes(len(value)), None])
        case str():
            return random.choice([value + "x", value[:-1], "", "bank-a", "\ufeff" + value])
        case None:
            return random.choice([b"", b"x", 0, []])
        case _:
            return random.choice([None, b"x", 1, []])


def change_list(items: list[Any], random: Random) -> list[Any]:
    """Return an array with an item left out, doubled, moved, or all turned round."""
    if not items:
        return [bytes(32)]
    one, other = random.randrange(len(items)), random.randrange(len(items))
    match random.randrange(5):
        case 0:
            return items[:one] + items[one + 1 :]
        case 1:
            return [*items[:one], items[one], *items[one:]]
        case 2:
            items[one], items[other] = items[other], items[one]
            return items
        case 3:
            return items[::-1]
        case _:
            return items[:one]


def change_extra(extra: Any, random: Random) -> Any:
    """Return extra data with something changed at a random place."""
    changed = deepcopy(extra)
    way = random.choice(list(places_of(changed)))
    around = changed
    for index in way[:-1]:
        around = around[index]
    value = around[way[-1]]
    if isinstance(value, list) and random.random() < 0.7:
        around[way[-1]] = change_list(value, random)
    elif isinstance(value, bytes) and len(value) > 100 and random.random() < 0.6:
        try:
            inner = msgpack.unpackb(value, strict_map_key=False)
        except ValueError:
            inner = None
        around[way[-1]] = change_value(value, random) if inner is None else packed_again(change_extra(inner, random))
    else:
        around[way[-1]] = change_value(value, random)
    return changed


def packed_again(value: Any) -> bytes:
    data = msgpack.packb(value)
    assert isinstance(data, bytes)
    return data


def with_extra(text: str, change: Callable[[Any], Any]) -> str:
    """Return a proof's text with its extra data changed and encoded again."""
    lines = text.split("\n")
    extra = change(msgpack.unpackb(base64.b64decode(lines[1].removeprefix("extra "))))
    lines[1] = f"extra {base64.b64encode(packed_again(extra)).decode()}"
    return "\n".join(lines)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_changed_values_of_extra_data_are_judged_alike(node: Node, proof: Proof) -> None:
    random = Random(proof.name)
    changed = [with_extra(proof.text, lambda extra: change_extra(extra, random)) for _ in range(CHANGES)]
    changed = [text for text in changed if text != proof.text]
    refused = sum(assert_alike(node, proof, text) for text in changed)
    # Handovers of epochs before the policy's are passed over, and so is what stands in them.
    assert refused > (0.3 if proof.name == "old receipt" else 0.9) * len(changed)


def test_extra_data_notes_and_policies_of_other_proofs_are_judged_alike(node: Node) -> None:
    for proof in PROOFS:
        for other in PROOFS:
            lines, others = proof.text.split("\n"), other.text.split("\n")
            # A status and a history of the same block are both good with the same path and checkpoint.
            refused = assert_alike(node, proof, "\n".join([lines[0], others[1], *lines[2:]]))
            assert refused == (lines[2:] != others[2:])
            note = proof.text.index("\n\n")
            assert_alike(node, proof, proof.text[:note] + other.text[other.text.index("\n\n") :])
            assert_alike(node, proof, proof.text, other.policy)


# --- policies


@pytest.mark.parametrize("proof", PROOFS[:3], ids=lambda proof: proof.name)
def test_changed_policies_are_judged_alike(node: Node, proof: Proof) -> None:
    random = Random(proof.name)
    refused = 0
    for _ in range(CHANGES):
        refused += assert_alike(node, proof, proof.text, change_text(proof.policy, random) or " ")
    assert refused > CHANGES / 4


def test_policies_whose_epochs_do_not_fit_are_refused(node: Node) -> None:
    story = Story()
    for name, policy in broken_policies(story).items():
        assert assert_alike(node, PROOFS[0], story.receipts[2], policy), name


def test_a_batch_that_is_shown_where_another_stands_is_refused(node: Node) -> None:
    policy, proof, forged = said_twice()
    assert not assert_alike(node, Proof("twice", proof, policy), proof)
    assert assert_alike(node, Proof("twice", proof, policy), forged)


def test_policies_of_other_groups_and_quorums_are_judged_alike(node: Node) -> None:
    plain = "\n".join(line for line in PROOFS[0].policy.split("\n") if not line.startswith("#"))
    cut = plain.index("group ")
    keys, names = plain[:cut], [f"node-{number}" for number in range(4)]
    small = NoteKey("outside", COSIGNATURE_V1, packed(times(3, SMALL))).vkey()
    endings = [
        f"group all4 {threshold} {' '.join(names)}\nquorum all4"
        for threshold in ("all", "any", "1", "2", "3", "4", "5", "0", "-1", "03", "3.0", "\u0663", "")
    ]
    endings += [
        "quorum none",
        "quorum node-1",
        "quorum node-2",
        "quorum nobody",
        "quorum",
        "",
        "quorum none\nquorum none",
        "group a any node-0 node-1\ngroup b any node-2 node-3\ngroup c all a b\nquorum c",
        "group a all node-0 node-1\ngroup b any node-2 node-3\ngroup c any a b\nquorum c",
        "group a any node-0 node-1\ngroup b any node-0 node-3\nquorum b",
        "group a any a\nquorum a",
        "group a any b\ngroup b any node-0\nquorum a",
        "group none any node-0\nquorum none",
        "group node-0 any node-1\nquorum node-0",
        "group a any node-0 node-0\nquorum a",
        "group a any\nquorum a",
        f"witness outside {small}\nquorum none",
        f"witness outside {small}\nquorum outside",
        f"witness outside {small} https://example.org/\nquorum none",
        f"witness outside {small} https://example.org/ more\nquorum none",
        f"log {small}\nquorum none",
        "\t# said\n\n  quorum   \t none  \n",
        "quorum none\u0085",
        "quorum none\r",
        "quorum\u00a0none",
        "#chainnode epoch 0\nquorum none",
        "#chainnodes\nquorum none",
    ]
    accepted = 0
    for ending in endings:
        accepted += not assert_alike(node, PROOFS[0], PROOFS[0].text, keys + ending + "\n")
    assert 8 < accepted < len(endings) - 8
    deep = "".join(f"group g{number} any {'node-0' if not number else f'g{number - 1}'}\n" for number in range(400))
    assert not assert_alike(node, PROOFS[0], PROOFS[0].text, f"{keys}{deep}quorum g399\n")


def test_groups_in_groups_without_end_are_no_endless_work(node: Node) -> None:
    plain = "\n".join(line for line in PROOFS[0].policy.split("\n") if not line.startswith("#"))
    keys = plain[: plain.index("group ")]
    deep = "".join(f"group g{number} any {'node-0' if not number else f'g{number - 1}'}\n" for number in range(50_000))
    assert by_node(node, PROOFS[0].text, f"{keys}{deep}quorum g49999\n", None) is not None


# --- notes


def test_names_with_spaces_of_any_kind_are_judged_alike(node: Node) -> None:
    key = parse_vkey(PROOFS[0].policy.split("log ")[1].split("\n")[0])
    for character in (
        *map(chr, (0, 9, 11, 28, 31, 32, 0x7F, 0x85, 0xA0, 0x1680, 0x180E, 0x2000, 0x200A, 0x200B, 0x2028, 0x2029)),
        *map(chr, (0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF, 0xFFFD, 0x1F600, 0x10FFFF)),
        "+",
        "/",
        "\u00e9",
    ):
        name = f"a{character}b"
        try:
            vkey: str | None = NoteKey(name, ED25519, key.public).vkey()
        except InputError:
            vkey = None
        if vkey is not None:
            assert node.ask("vkey", vkey=vkey) == name
        else:
            identity = NoteKey("a", ED25519, key.public).vkey().split("+", 1)[1]
            with pytest.raises(RefusedByNode):
                node.ask("vkey", vkey=f"{name}+{identity}")


def test_half_a_character_is_refused(node: Node) -> None:
    proof = PROOFS[0]
    for text, policy in ((proof.text + "\ud800", proof.policy), (proof.text, proof.policy + "# \udfff\n")):
        with pytest.raises(RefusedByNode) as refused:
            node.verify(text, policy)
        assert refused.value.step == "input"


@pytest.mark.parametrize("text", ["", "\n", "\n\n", "c2sp.org/tlog-proof@v1\n", "x" * (1 << 21), "\0", "{}"])
def test_what_is_no_proof_at_all_is_refused(node: Node, text: str) -> None:
    assert assert_alike(node, PROOFS[0], text)
    assert by_node(node, PROOFS[0].text, text or " ", None) is None
