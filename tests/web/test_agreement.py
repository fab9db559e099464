"""The JavaScript verifier says of the product's proofs what `chainnode verify` says, field by field."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from ledger.certificate_records import State, certificate_key
from ledger.completeness_reading import make_completeness
from ledger.governance_bodies import Withdraw
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.receipts import verify
from ledger.status_proofs import make_status_proof
from ledger.times import format_time
from ledger.trust_policy import policy_text
from primitives import merkle
from tests.ledger.certificate_fixtures import DAY_MS, NUMBER
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.test_certificate_history import Life
from tests.ledger.test_completeness import NEWEST, history
from tests.ledger.test_proofs_over_epochs import Story
from tests.ledger.test_receipts import busy_ledger, receipt_of, stable
from tests.web.node_fixtures import ROOT, Node, RefusedByNode, has_noble, node_program, running_node

CRYPTOS = ["node", "pages", *(["noble"] if has_noble() else [])]
IN_PYTHON_ALONE = {"body"}
"""Bodies of events as JSON need the records of all kinds; the JavaScript verifier gives their bytes instead."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as process:
        yield process


@dataclass
class Python:
    """`chainnode verify` on files, and what it printed."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def files(self, proof: str, policy: str) -> list[str]:
        """Write a proof and a policy; return the arguments that name them."""
        (self.folder / "proof").write_text(proof, "utf-8")
        (self.folder / "policy").write_text(policy, "utf-8")
        return [str(self.folder / "proof"), "--policy", str(self.folder / "policy")]

    def verify(self, proof: str, policy: str, **options: str) -> dict[str, Any]:
        """Return what it says that a proof proves."""
        named = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.capsys.readouterr()
        assert run(["-o", "json", "verify", *self.files(proof, policy), *named]) == Exit.OK
        told: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return told


@pytest.fixture
def python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Python:
    return Python(tmp_path, capsys)


def without(value: Any, names: set[str]) -> Any:
    """Return a verdict without some fields, at any depth."""
    if isinstance(value, list):
        return [without(item, names) for item in value]
    if isinstance(value, dict):
        return {name: without(item, names) for name, item in value.items() if name not in names}
    return value


def common(ours: Any, theirs: Any) -> Any:
    """Return of a verdict what another one has fields for."""
    if isinstance(theirs, list):
        return [common(one, other) for one, other in zip(ours, theirs, strict=True)]
    if isinstance(theirs, dict):
        assert theirs.keys() <= ours.keys()
        return {name: common(ours[name], value) for name, value in theirs.items()}
    return ours


def assert_agree(ours: Any, theirs: Any) -> None:
    """Assert that JavaScript says all that Python says, and alike."""
    expected = without(theirs, IN_PYTHON_ALONE)
    assert len(expected) > 8
    assert common(ours, expected) == expected


# --- receipts


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


@pytest.mark.parametrize("crypto", CRYPTOS)
@pytest.mark.parametrize("made", range(3))
@pytest.mark.parametrize("policy", range(3))
def test_a_receipt_of_any_epoch_proves_the_same_under_the_policy_of_any_epoch(
    node: Node, story: Story, python: Python, made: int, policy: int, crypto: str
) -> None:
    ours = node.verify(story.receipts[made], story.policies[policy], crypto)
    assert_agree(ours, python.verify(story.receipts[made], story.policies[policy]))
    assert ours["cosigned"]["epoch"] == made


@pytest.mark.parametrize("crypto", CRYPTOS)
def test_every_event_of_a_block_of_two_banks_is_proved_alike(node: Node, crypto: str) -> None:
    # The kinds of these events are a test's: `chainnode verify` has no names for their bodies.
    ledger, result = busy_ledger()
    stable(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    outcomes = set()
    for identity in result.event_ids:
        receipt = receipt_of(ledger, identity)
        ours, theirs = node.verify(receipt, policy, crypto), verify(receipt, policy)
        assert (ours["event_id"], ours["source"]) == (theirs.event_id.hex(), theirs.source.hex())
        assert (ours["height"], ours["index"], ours["log_index"]) == (theirs.height, theirs.index, theirs.log_index)
        assert (ours["batch_number"], ours["log_size"]) == (theirs.batch_number, theirs.log_size)
        assert (ours["cosigners"], ours["cosigned"]["of"]) == (list(theirs.cosigners), theirs.witnesses)
        assert ours["cosigned"]["last"] == format_time(theirs.cosigned_last_s * 1_000)
        assert ours["outcome"]["applied"] == theirs.applied
        outcomes.add((ours["outcome"]["rule"], ours["outcome"]["detail"]))
    assert outcomes == {(None, None), ("told_to_fail", "x")}


@pytest.mark.parametrize("made", range(3))
def test_webcrypto_judges_alike(node: Node, story: Story, made: int) -> None:
    told = node.verify(story.receipts[made], story.policies[0], op="verifyLater")
    assert told == node.verify(story.receipts[made], story.policies[0])
    with pytest.raises(RefusedByNode):
        node.verify(story.receipts[made].replace("\nindex ", "\nindex 1"), story.policies[0], op="verifyLater")
    head, note = story.receipts[made].split("\n\n", 1)
    text, signatures = note.split("\n\n")
    forged = signatures[:-3] + ("A" if signatures[-3] != "A" else "B") + signatures[-2:]
    with pytest.raises(RefusedByNode) as refused:
        node.verify(f"{head}\n\n{text}\n\n{forged}", story.policies[0], op="verifyLater")
    assert refused.value.step in ("cosignatures", "note")


# --- certificates


@pytest.fixture(scope="module")
def life() -> Life:
    return Life()


def proof_of(life: Life, number: str, height: int) -> str:
    proof = make_status_proof(life.chain.reader, certificate_key(number), height)
    assert proof is not None
    return proof


@pytest.mark.parametrize("crypto", CRYPTOS)
def test_a_certificate_is_worth_the_same_at_every_block(node: Node, life: Life, python: Python, crypto: str) -> None:
    statuses = set()
    for height in range(life.chain.chain.height + 1):
        proof = proof_of(life, NUMBER, height)
        ours = node.verify(proof, life.policy, crypto, certificate=NUMBER)
        assert_agree(ours, python.verify(proof, life.policy, certificate=NUMBER))
        statuses.add(ours["status"])
    assert statuses == {None, "valid", "suspended"}


def test_a_certificate_is_worth_the_same_at_every_time_of_a_proof(node: Node, life: Life, python: Python) -> None:
    for height in (life.granted - 1, life.granted, life.chain.chain.height):
        proof = proof_of(life, NUMBER, height)
        ours = node.verify(proof, life.policy)
        for name in ("proved_from", "proved_until"):
            at = ours[name]
            told = node.verify(proof, life.policy, certificate=NUMBER, at=at)
            assert_agree(told, python.verify(proof, life.policy, certificate=NUMBER, at=at))
            assert told["time"] == at
        for beyond in ("1999-01-01T00:00:00Z", "2199-01-01T00:00:00Z"):
            with pytest.raises(RefusedByNode) as refused:
                node.verify(proof, life.policy, at=beyond)
            assert refused.value.step == "time"
            assert run(["verify", *python.files(proof, life.policy), "--at", beyond]) == Exit.VERIFICATION_FAILED


def test_a_certificate_that_does_not_exist_is_proved_to_be_absent(node: Node, life: Life, python: Python) -> None:
    for serial in range(12):
        number = f"FTP-2026-06-9{serial:05}"
        proof = proof_of(life, number, life.chain.chain.height)
        ours = node.verify(proof, life.policy, certificate=number)
        assert_agree(ours, python.verify(proof, life.policy, certificate=number))
        assert (ours["exists"], ours["valid"]) == (False, False)
        with pytest.raises(RefusedByNode) as refused:
            node.verify(proof, life.policy, certificate=NUMBER)
        assert refused.value.step == "key"


@pytest.mark.parametrize("height", [None, 1, 7])
@pytest.mark.parametrize("page", [1 << 20, 1, 3_000])
def test_the_whole_history_of_a_certificate_is_proved_alike(
    node: Node, life: Life, python: Python, height: int | None, page: int
) -> None:
    pages, first = "", 0
    while True:
        made = life.page(height, first=first, page=page)
        pages += made.proof
        if made.next is None:
            break
        first = made.next
    ours = node.verify(pages, life.policy, certificate=NUMBER)
    assert_agree(ours, python.verify(pages, life.policy, certificate=NUMBER))
    assert ours == node.verify(pages, life.policy)
    if height is None:
        assert [event["id"] for event in ours["events"]] == [identity.hex() for identity in life.ids]


@pytest.mark.parametrize("end", [State.REVOKED, State.CANCELLED, State.SUSPENDED, State.EXPIRED])
def test_what_ends_a_certificate_is_told_alike(node: Node, python: Python, end: State) -> None:
    chain = Certifying()
    chain.bring_to(end)
    statuses = set()
    for days in (0, 1, 89, 400, 500, 365 * 3):
        chain.now_ms += days * DAY_MS
        chain.block(("bank-0", Withdraw(bytes(32))))
        chain.stable(chain.now_ms + 200 * DAY_MS)  # as if nothing was ordered for so long
        proof = make_status_proof(chain.reader, certificate_key(NUMBER), chain.chain.height)
        assert proof is not None
        first = node.verify(proof, chain.policy())
        moments = {first[name] for name in ("time", "block_time", "proved_from", "proved_until")}
        moments |= {first["then"]["from"]} if first["then"] else set()
        for at in sorted(moments):
            ours = node.verify(proof, chain.policy(), certificate=NUMBER, at=at)
            assert_agree(ours, python.verify(proof, chain.policy(), certificate=NUMBER, at=at))
            statuses |= {(ours["status"], ours["revocation_due"]), (ours["then"] or {}).get("status")}
    expected = {
        State.REVOKED: {("revoked", False)},
        State.CANCELLED: {("cancelled", False)},
        State.SUSPENDED: {("suspended", False), ("suspended", True), ("expired", False), "suspended", "expired"},
        State.EXPIRED: {("valid", False), ("expired", False), "expired"},
    }
    assert statuses - {None} == expected[end]


# --- completeness


@pytest.mark.parametrize("page", [1 << 20, 600])
@pytest.mark.parametrize("member", ["bank-a", "bank-b", "bank-c", "bank-d", "aaa", "bank-bb", "zzz"])
def test_all_events_of_a_member_between_any_two_heights_are_proved_alike(
    node: Node, python: Python, member: str, page: int
) -> None:
    ledger = history()
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    reader = LedgerReader(ledger.store, ledger.genesis)
    for start, stop in [(0, NEWEST), (0, 0), (1, 3), (4, 4), (4, 9), (5, NEWEST), (NEWEST, NEWEST)]:
        pages, next_height = "", start
        while next_height <= stop:
            made = make_completeness(reader, member, next_height, stop, page=page)
            assert made is not None
            pages += made.proof
            next_height = made.to_height + 1
        ours = node.verify(pages, policy, member=member)
        assert_agree(ours, python.verify(pages, policy, member=member))
        assert (ours["from_height"], ours["to_height"]) == (start, stop)


# --- consistency, policies, the command


def test_checkpoints_of_all_epochs_are_consistent_with_each_other(node: Node, story: Story) -> None:
    chain = story.council.chain
    leaves = [story.reader.log.leaf_hash(index) for index in range(chain.log_size)]
    newest = story.policies[2]
    sizes = [int(note.split("\n")[1]) for note in story.notes]
    for old in range(3):
        for new in range(old, 3):
            path = merkle.consistency_path(leaves[: sizes[new]], sizes[old]) if old < new else []
            hashes = [item.hex() for item in path]
            ask = {"older": story.notes[old], "newer": story.notes[new], "policy": newest}
            told = node.ask("consistency", path=hashes, **ask)
            assert (told["old"]["size"], told["new"]["size"]) == (sizes[old], sizes[new])
            if old < new:
                with pytest.raises(RefusedByNode):
                    node.ask("consistency", path=hashes[:-1], **ask)
                with pytest.raises(RefusedByNode):
                    node.ask("consistency", path=hashes, **ask | {"older": story.notes[new], "newer": story.notes[old]})


def test_the_command_prints_one_object_and_its_status_says_whether_it_holds(
    story: Story, life: Life, python: Python
) -> None:
    command = [str(node_program()), "web/verifier/cli.mjs"]

    def told(proof: str, policy: str, *options: str) -> tuple[int, Any]:
        done = subprocess.run(
            [*command, *python.files(proof, policy), *options], capture_output=True, text=True, cwd=ROOT, timeout=60
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    status, verdict = told(story.receipts[2], story.policies[0])
    assert status == 0
    assert_agree(verdict, python.verify(story.receipts[2], story.policies[0]))
    status, verdict = told(story.receipts[2], story.policies[0].replace("quorum v", "quorum w"))
    assert (status, verdict["verified"], verdict["step"]) == (3, False, "policy")
    status, verdict = told(story.receipts[2], story.policies[0], "--member", "bank-0")
    assert (status, verdict["verified"], verdict["step"]) == (3, False, "kind")
    page = proof_of(life, NUMBER, life.granted)
    assert told(page, life.policy, "--certificate", NUMBER)[1]["status"] == "valid"
    for wrong in (["--colour", "red"], ["more"], ["--policy"]):
        status, message = told(page, life.policy, *wrong)
        assert status == 2
        assert "usage" in message
