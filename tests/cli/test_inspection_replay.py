"""Secrets of commitments in files, exported draws, and replaying a draw of a node that tells the truth or does not."""

from __future__ import annotations

import asyncio
import copy
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chainnode.cli import certificate_inspections
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.client import TimedOut
from chainnode.files import UnsafeFile
from chainnode.inspections import (
    BadDrawAnswer,
    BadDrawFile,
    DrawFile,
    ForeignSecret,
    fetch_draw,
    prove_closing,
    prove_inputs,
    prove_record,
    prove_selected,
    read_draw_file,
    read_draw_secret,
    secret_for,
    write_draw_file,
)
from ledger.handovers import first_span
from ledger.inspection_records import Drawn, inspection_key
from ledger.inspection_replay import replay
from ledger.inspection_selection import commitment_of
from ledger.status_proofs import make_status_proof
from ledger.trust_policy import policy_text
from primitives.errors import InputError, ProofError
from rpc.methods.inspections import InspectionRecord
from tests.rpc.rich_fixtures import Asked, RichNode, services_of

DRAW, CHAIN = "cb.0001", "ab" * 32


class Client:
    """Asks a node in memory; `change` lies in its place."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.change: Callable[[str, Any], Any] = lambda method, answer: answer

    def call(self, method: str, **params: Any) -> Any:
        return self.change(method, copy.deepcopy(self.asked.call(method, params)))


@pytest.fixture(scope="module")
def node() -> RichNode:
    return RichNode()


@pytest.fixture(scope="module")
def asked(node: RichNode) -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        yield Asked(services_of(node), runner)


@pytest.fixture
def client(asked: Asked) -> Any:
    return Client(asked)


@pytest.fixture
def policy(node: RichNode) -> str:
    return policy_text(node.genesis, (first_span(node.genesis),))


@pytest.fixture
def found(client: Any) -> DrawFile:
    return fetch_draw(client, DRAW)


BAD_ANSWERS: list[tuple[str, Callable[[Any], None]]] = [
    ("cert_getInspection", lambda answer: answer["inspection"].update(phase="won")),
    ("cert_getInspection", lambda answer: answer["inspection"].update(seed="xy")),
    ("cert_getInspection", lambda answer: answer["inspection"].update(count="three")),
    ("cert_getInspection", lambda answer: answer["inspection"]["categories"][0].update(weight=1 << 20)),
    ("cert_inspectionCandidates", lambda answer: answer["candidates"][0].update(risk=1 << 20)),
    ("cert_inspectionCandidates", lambda answer: answer["candidates"].extend(answer["candidates"] * 100)),
]


@pytest.mark.parametrize(("method", "change"), BAD_ANSWERS)
def test_what_a_node_tells_that_no_draw_could_be_is_refused_by_name(
    client: Any, method: str, change: Callable[[Any], None]
) -> None:
    def lying(asked: str, answer: Any) -> Any:
        if asked == method:
            change(answer)
        return answer

    client.change = lying
    with pytest.raises(BadDrawAnswer):
        fetch_draw(client, DRAW)


def test_a_node_whose_pages_do_not_end_is_asked_no_further(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.inspections.PAGES_MAX", 3)
    asked = list[str]()

    def endless(method: str, answer: Any) -> Any:
        asked.append(method)
        return {**answer, "candidates": [], "cursor": first} if method == "cert_inspectionCandidates" else answer

    first = client.call("cert_inspectionCandidates", draw=DRAW, limit=1)["cursor"]
    client.change = endless
    with pytest.raises(BadDrawAnswer, match="draw that none could be"):
        fetch_draw(client, DRAW)
    assert asked.count("cert_inspectionCandidates") == 3


def test_a_secret_is_made_once_for_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "cb.1.cb.secret"
    made = secret_for(path, CHAIN, "cb.1", "cb")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_for(path, CHAIN, "cb.1", "cb") == made, "a commitment that is sent again is the same"
    secret = bytes.fromhex(made.secret)
    assert made.commitment == commitment_of(bytes.fromhex(CHAIN), "cb.1", "cb", secret)
    assert made.secret not in repr(made)
    assert secret_for(tmp_path / "other", CHAIN, "cb.1", "cb").secret != made.secret
    for other in ((CHAIN, "cb.2", "cb"), (CHAIN, "cb.1", "lab"), ("cd" * 32, "cb.1", "cb")):
        with pytest.raises(ForeignSecret):
            secret_for(path, *other)


def test_a_secret_that_others_can_read_is_refused_and_a_damaged_one_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = secret_for(path, CHAIN, "cb.1", "cb")
    path.chmod(0o644)
    with pytest.raises(UnsafeFile):
        read_draw_secret(path)
    path.chmod(0o600)
    path.write_text(json.dumps({"chain_id": CHAIN, "draw": 1, "member": "cb", "secret": made.secret}))
    with pytest.raises(InputError) as error:
        read_draw_secret(path)
    assert made.secret not in str(error.value)


def test_a_draw_of_a_node_is_replayed_and_survives_its_file(found: DrawFile, tmp_path: Path) -> None:
    result = replay(bytes.fromhex(found.chain_id), found.draw, found.eligible())
    assert (result.holds, len(result.selection), result.eligible) == (True, 3, 4)
    path = tmp_path / "draw.json"
    write_draw_file(path, found)
    assert read_draw_file(path) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["inspection"]["selection"].reverse(),
        lambda value: value["candidates"].pop(),
        lambda value: value["inspection"]["closing"].update(block="00" * 32),
        lambda value: value["inspection"]["committed"][0].update(secret="00" * 32),
        lambda value: value["candidates"][0].update(risk=7),
        lambda value: value["inspection"]["categories"][0].update(weight=1),
    ],
)
def test_a_file_whose_draw_differs_ends_with_status_3(
    found: DrawFile, tmp_path: Path, change: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "draw.json"
    write_draw_file(path, found)
    words = ["-o", "json", "cert", "inspection", "replay", "--file", str(path)]
    assert run(words) == Exit.OK
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    capsys.readouterr()
    assert run(words) == Exit.VERIFICATION_FAILED
    row = json.loads(capsys.readouterr().out)
    assert (row["holds"], bool(row["differences"])) == (False, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format="chainnode-inspection/2"),
        lambda value: value.update(more=1),
        lambda value: value["candidates"][0].update(risk=8),
        lambda value: value["inspection"]["categories"][0].update(weight=17),
        lambda value: value["inspection"].update(seed="xy"),
        lambda value: value["inspection"].update(phase="won"),
        lambda value: value["inspection"].update(time="yesterday"),
    ],
)
def test_a_file_that_holds_no_draw_is_refused_by_name(
    found: DrawFile, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    path = tmp_path / "draw.json"
    write_draw_file(path, found)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(BadDrawFile):
        read_draw_file(path)
    assert run(["cert", "inspection", "replay", "--file", str(path)]) == Exit.ERROR


def test_the_inputs_of_a_seed_and_the_selected_are_proved_under_a_policy(
    client: Any, policy: str, found: DrawFile
) -> None:
    assert prove_inputs(client, policy, found.draw, {}) == (9, [])
    assert prove_record(client, policy, found.draw, {}) == []
    assert prove_selected(client, policy, found.draw, {}) == []


def test_a_node_that_leaves_out_a_commitment_has_another_seed_and_is_found_out(
    client: Any, policy: str, found: DrawFile
) -> None:
    fewer = msgspec.structs.replace(found.inspection, committed=found.inspection.committed[1:])
    short = msgspec.structs.replace(found, inspection=fewer)
    result = replay(bytes.fromhex(found.chain_id), short.draw, found.eligible())
    drawn = [
        msgspec.structs.replace(found.inspection.selection[0], **vars_of(item), report=None)
        for item in result.selection
    ]
    lie = msgspec.structs.replace(fewer, seed=result.seed.hex(), selection=drawn)
    draw = msgspec.structs.replace(found, inspection=lie).draw
    assert replay(bytes.fromhex(found.chain_id), draw, found.eligible()).holds, "it follows from what is told"
    assert prove_inputs(client, policy, draw, {})[1] == [], "each event that is told of was applied"
    assert [difference.partition(" ")[0] for difference in prove_record(client, policy, draw, {})] == [
        "committed",
        "seed",
        "selection",
    ]


def vars_of(item: Drawn) -> dict[str, Any]:
    return {
        "number": item.number,
        "category": item.category,
        "risk": item.risk,
        "weight": item.weight,
        "ticket": item.ticket.hex(),
    }


def test_a_proof_of_another_row_or_none_does_not_hold(client: Any, policy: str, found: DrawFile, asked: Asked) -> None:
    other = asked.call("cert_getStatus", {"number": found.inspection.selection[0].number})["proof"]
    for proof, expected in ((other, "another row"), (None, "covers the draw")):
        client.change = lambda _, answer, proof=proof: {**answer, "proof": proof}
        with pytest.raises(ProofError, match=expected):
            prove_record(client, policy, found.draw, {})


def test_a_proof_from_before_the_selection_does_not_hold(
    client: Any, policy: str, found: DrawFile, node: RichNode
) -> None:
    proof = make_status_proof(node.reader, inspection_key(DRAW), found.inspection.closing.height)
    client.change = lambda _, answer: {**answer, "proof": proof}
    with pytest.raises(ProofError, match="covers the selection"):
        prove_record(client, policy, found.draw, {})


def test_a_proof_is_waited_for_as_long_as_told(
    client: Any, policy: str, found: DrawFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_inspections, "AGAIN_S", 0.0)
    left = 3

    def late(_: Any, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {**answer, "proof": None} if left > 0 else answer

    client.change = late
    assert certificate_inspections._proved_record(client, found, policy, {}, 60.0) == []
    assert left == 0
    left = 3
    with pytest.raises(TimedOut, match="no stable checkpoint covers the draw yet"):
        certificate_inspections._proved_record(client, found, policy, {}, 0.0)


LIES: list[Callable[[InspectionRecord], dict[str, Any]]] = [
    lambda record: {"count": 2},
    lambda record: {"reveal_ms": record.reveal_ms + 1},
    lambda record: {"closing": msgspec.structs.replace(record.closing, block="00" * 32)},
    lambda record: {"closing": msgspec.structs.replace(record.closing, height=record.closing.height + 1)},
    lambda record: {"closing": msgspec.structs.replace(record.closing, time=record.time)},
    lambda record: {"commit_until": record.closing.time, "reveal_ms": record.reveal_ms + 1},
    lambda record: {"member": "lab"},
    lambda record: {
        "committed": [msgspec.structs.replace(record.committed[0], secret="00" * 32), *record.committed[1:]]
    },
    lambda record: {"committed": [msgspec.structs.replace(record.committed[0], member="ins"), *record.committed[1:]]},
]


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_tells_of_other_inputs_than_the_events_say_is_found_out(
    client: Any, policy: str, found: DrawFile, lie: Callable[[InspectionRecord], dict[str, Any]]
) -> None:
    told = msgspec.structs.replace(found.inspection, **lie(found.inspection))
    draw = msgspec.structs.replace(found, inspection=told).draw
    _, differences = prove_inputs(client, policy, draw, {})
    assert differences


def test_a_node_that_names_a_later_block_as_the_closing_is_found_out(
    client: Any, policy: str, found: DrawFile, asked: Asked
) -> None:
    height = found.inspection.closing.height + 1
    block = asked.call("ledger_getBlock", {"height": height})
    later = type(found.inspection.closing)(height, block["header"]["time"], block["hash"])
    told = msgspec.structs.replace(found.inspection, closing=later)
    (difference,) = prove_closing(client, policy, msgspec.structs.replace(found, inspection=told).draw, {})
    assert "not the first" in difference


def test_a_draw_that_selected_nothing_has_its_closing_proved_all_the_same(
    client: Any, policy: str, found: DrawFile
) -> None:
    told = msgspec.structs.replace(found.inspection, selection=[])
    assert prove_closing(client, policy, msgspec.structs.replace(found, inspection=told).draw, {}) == []


def test_a_receipt_or_status_of_something_else_does_not_hold(
    client: Any, policy: str, found: DrawFile, asked: Asked
) -> None:
    other = asked.call("ledger_getProof", {"event_id": found.inspection.committed[0].event_id})
    client.change = lambda method, answer: other if method == "ledger_getProof" else answer
    with pytest.raises(ProofError, match="another event"):
        prove_inputs(client, policy, found.draw, {})
    first = found.inspection.selection[0].number
    status = asked.call("cert_getStatus", {"number": first, "at": found.inspection.closing.height})
    client.change = lambda method, answer: status if method == "cert_getStatus" else answer
    with pytest.raises(ProofError, match="another certificate"):
        prove_selected(client, policy, found.draw, {})


def test_a_selected_certificate_of_another_category_is_found_out(client: Any, policy: str, found: DrawFile) -> None:
    item = msgspec.structs.replace(found.inspection.selection[0], category=7)
    told = msgspec.structs.replace(found.inspection, selection=[item])
    (difference,) = prove_selected(client, policy, msgspec.structs.replace(found, inspection=told).draw, {})
    assert item.number in difference


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["cb.1", "--file", "x"],
        ["--file", "x", "--export", "y"],
        ["cb.1", "--prove"],
        ["cb.1", "--policy", "p"],
        ["--file", "x", "--prove", "--policy", "p"],
    ],
)
def test_a_replay_is_of_one_thing_and_a_proof_under_a_policy(words: list[str]) -> None:
    assert run(["cert", "inspection", "replay", *words]) == Exit.USAGE


@pytest.mark.parametrize(
    ("draw", "status"),
    [("../../cb.0001", Exit.USAGE), (DRAW, Exit.USAGE)],
    ids=["a path", "a draw that is over"],
)
def test_who_cannot_commit_leaves_no_secret_behind(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: str, status: Exit
) -> None:
    keys = tmp_path / "a" / "b"
    keys.mkdir(parents=True)
    monkeypatch.setattr(certificate_inspections, "client_of", lambda timeout_s: client)
    monkeypatch.setattr(certificate_inspections, "member_of_settings", lambda: "lab")
    assert run(["--as", str(keys / "lab.key"), "cert", "inspection", "commit", draw]) == status
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
