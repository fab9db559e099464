"""`cert bundle` and `cert status --offline`: what a terminal without a connection believes, and what it does not."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.client import NodeClient
from chainnode.interop.stapled import CLOCK_BEHIND_MS_MAX, StaleStatus, read_stapled_status
from ledger.certificate_bodies import Appeal, DecideAppeal, Reduce
from ledger.certificate_records import Status, certificate_key
from ledger.status_proofs import make_status_proof
from ledger.times import format_time
from primitives.errors import ProofError
from tests.cli.test_with_a_node import Node, address, home, node
from tests.ledger.certificate_fixtures import NUMBER, State
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import LETTER, OPINION, REVOKE, SCOPE, SUSPENSION, VISIT
from tests.ledger.test_status_times import NEVER, Times

__all__ = ["address", "home", "node"]

TIMES = Times()
HOUR_MS = 3_600_000
LAST_MS = (TIMES.end_ms + 60_000) // 1_000 * 1_000
"""The last time that the newest proof speaks for: an hour after it, the certificate's term is over."""


@cache
def chain_of(state: State) -> Certifying:
    chain = Certifying()
    chain.bring_to(state)
    chain.stable()
    return chain


def proof_of(chain: Certifying, height: int | None = None, number: str = NUMBER) -> str:
    proof = make_status_proof(chain.reader, certificate_key(number), chain.chain.height if height is None else height)
    assert proof is not None
    return proof


def asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], proof: str, policy: str, *words: str, number: str = NUMBER
) -> tuple[int, dict[str, Any]]:
    """Ask a bundle without any node; return the exit status and the row, or the error."""
    (tmp_path / "b").write_text(proof)
    (tmp_path / "p").write_text(policy)
    command = ["cert", "status", number, "--offline", str(tmp_path / "b"), "--policy", str(tmp_path / "p"), *words]
    status = run(["-o", "json", "--endpoint", "http://127.0.0.1:1", *command])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else json.loads(told.err)["error"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.ACTIVE, Exit.OK),
        (State.SUSPENDED, Exit.SUSPENDED),
        (State.REVOKED, Exit.REVOKED),
        (State.CANCELLED, Exit.CANCELLED),
        (State.REVIEWED, Exit.NOT_FOUND),
    ],
)
def test_each_status_has_an_exit_status_and_what_may_have_changed_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], state: State, status: Exit
) -> None:
    chain = chain_of(state)
    last_ms = read_stapled_status(proof_of(chain), chain.policy(), NUMBER, None, 0).at_ms
    at = format_time(last_ms + HOUR_MS)
    found, row = asked(tmp_path, capsys, proof_of(chain), chain.policy(), "--at", at)
    assert found == status
    assert (row["exists"], row["valid"]) == (state is not State.REVIEWED, state is State.ACTIVE)
    assert (row["age_s"], row["time"], row["proved_until"]) == (3_600, at, format_time(last_ms))
    possible = {
        State.ACTIVE: ["certificate.suspend", "certificate.revoke", "certificate.cancel"],
        State.SUSPENDED: ["certificate.restore", "certificate.revoke", "certificate.cancel"],
        State.REVIEWED: ["certificate.grant"],
    }
    assert row["possible_since"] == possible.get(state, [])


def test_by_the_third_rules_surveillance_and_appeals_may_have_changed_it_too() -> None:
    chain = SchemeChain().granted()

    def possible(ahead_ms: int = HOUR_MS) -> tuple[str, ...]:
        chain.stable()
        proof = proof_of(chain)
        last_ms = read_stapled_status(proof, chain.policy(), NUMBER, None, 0).at_ms
        return read_stapled_status(proof, chain.policy(), NUMBER, last_ms + ahead_ms, 1 << 60).possible

    active = (*(f"certificate.{name}" for name in ("suspend", "revoke", "cancel", "surveil")), "inspection.report")
    decided = ("certificate.decide_appeal",)
    assert possible() == active
    chain.act("cb", "first", Reduce(NUMBER, "found", SCOPE[1:], VISIT))
    assert possible() == active, "an appeal against a reduction does not change what it is worth"
    chain.act(*SUSPENSION)
    assert possible() == ("certificate.restore", "certificate.revoke", "certificate.cancel", *decided)
    assert possible(chain.certificate_at().valid_until_ms) == ()
    chain.act("cb", "first", chain.signed(REVOKE))
    assert possible() == decided
    chain.act("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER))
    assert possible() == decided
    chain.act("regulator", "first", DecideAppeal(NUMBER, False, OPINION))
    assert possible() == (), "the appeal was dismissed: for good"


def test_a_number_that_never_was_is_proved_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = proof_of(TIMES.chain, number=NEVER)
    words = ("--at", format_time(LAST_MS))
    status, row = asked(tmp_path, capsys, proof, TIMES.first_policy, *words, number=NEVER)
    assert (status, row["exists"], row["age_s"], row["possible_since"]) == (Exit.NOT_FOUND, False, 0, [])
    status, row = asked(tmp_path, capsys, proof, TIMES.first_policy, *words)
    assert (status, row["message"].split(": ")[2][:20]) == (Exit.VERIFICATION_FAILED, "proof of another key")


def test_a_proof_is_believed_for_as_long_as_it_is_fresh_and_not_a_millisecond_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = chain_of(State.ACTIVE)
    proof, policy = proof_of(chain), chain.policy()
    last_ms = read_stapled_status(proof, policy, NUMBER, None, 0).at_ms
    for words, fresh_ms in (((), 24 * HOUR_MS), (("--fresh", "90s"), 90_000), (("--fresh", "0s"), 0)):
        at = format_time(last_ms + fresh_ms)
        assert asked(tmp_path, capsys, proof, policy, "--at", at, *words)[0] == Exit.OK
        late = format_time(last_ms + fresh_ms + 1)
        status, error = asked(tmp_path, capsys, proof, policy, "--at", late, *words)
        assert (status, error["reason"]) == (Exit.VERIFICATION_FAILED, "stale_status")
        assert error["got"] == format_time(last_ms)
    status, error = asked(tmp_path, capsys, proof, policy)
    assert (status, error["reason"]) == (Exit.VERIFICATION_FAILED, "stale_status"), "now is long after"


def test_a_checkpoint_of_today_does_not_freshen_a_block_of_long_ago() -> None:
    """The certificate ended since, under the same checkpoint: who presents the older block's proof is found out."""
    proof = proof_of(TIMES.chain, TIMES.granted)
    ended_ms = TIMES.time(TIMES.granted + 1) - 1
    assert read_stapled_status(proof, TIMES.first_policy, NUMBER, ended_ms + 5_000, 5_000).age_ms == 5_000
    with pytest.raises(StaleStatus):
        read_stapled_status(proof, TIMES.first_policy, NUMBER, ended_ms + 5_001, 5_000)
    with pytest.raises(StaleStatus):
        read_stapled_status(proof, TIMES.first_policy, NUMBER, LAST_MS, 60_000)


def test_a_term_that_ended_since_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof, before = proof_of(TIMES.chain, TIMES.granted), format_time(TIMES.end_ms - 1)
    assert asked(tmp_path, capsys, proof, TIMES.first_policy, "--at", before)[0] == Exit.OK
    status, row = asked(tmp_path, capsys, proof, TIMES.first_policy, "--at", format_time(TIMES.end_ms))
    assert (status, row["status"], row["possible_since"]) == (Exit.EXPIRED, Status.EXPIRED, [])


def test_another_chains_policy_and_a_changed_bundle_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--at", format_time(LAST_MS))
    proof, policy = proof_of(TIMES.chain), TIMES.first_policy
    foreign = policy.replace(TIMES.chain.genesis.origin, TIMES.chain.genesis.origin[:-1] + "0")
    line = next(line for line in policy.splitlines() if line.startswith("quorum "))
    later = TIMES.chain.policy(2)
    for bundle, trusted in (
        (proof, foreign),
        (proof.replace("index ", "index 1"), policy),
        (proof_of(TIMES.chain, TIMES.last).rsplit("\n", 3)[0] + "\n", policy),
        (proof, policy.replace(line, "")),
    ):
        assert trusted != policy or bundle != proof
        assert asked(tmp_path, capsys, bundle, trusted, *at)[0] == Exit.VERIFICATION_FAILED
    assert asked(tmp_path, capsys, proof, later, *at)[0] == Exit.EXPIRED, "of a later epoch of the same chain"


def test_a_clock_that_is_a_little_behind_is_forgiven_and_a_time_that_is_named_is_not() -> None:
    proof, start = proof_of(TIMES.chain, TIMES.granted), TIMES.time(TIMES.granted)

    def at(at_ms: int, is_now: bool) -> int:
        return read_stapled_status(proof, TIMES.first_policy, NUMBER, at_ms, HOUR_MS, is_now=is_now).at_ms

    assert at(start - CLOCK_BEHIND_MS_MAX, True) == at(start, True) == at(start, False) == start
    for at_ms, is_now in ((start - CLOCK_BEHIND_MS_MAX - 1, True), (start - 1, False)):
        with pytest.raises(ProofError, match="says nothing about that time"):
            at(at_ms, is_now)


def test_a_bundle_is_fetched_verified_and_measured(
    node: Node, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = proof_of(TIMES.chain)
    node.answers["cert_getStatus"] = lambda _: {"number": NUMBER, "exists": True, "proof": proof}
    (tmp_path / "p").write_text(TIMES.first_policy)
    command = ["--home", str(home), "-o", "json", "cert", "bundle", NUMBER, "-f"]
    assert run([*command, "b", "--policy", str(tmp_path / "p")]) == Exit.OK
    row = json.loads(capsys.readouterr().out)
    assert Path("b").read_text() == proof
    assert (row["status"], row["proved_until"], row["bytes"]) == ("expired", format_time(LAST_MS), len(proof.encode()))
    monkeypatch.setattr(NodeClient, "get", lambda self, path: TIMES.first_policy.encode())
    assert run([*command, "c"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == row
    node.answers["cert_getStatus"] = lambda _: {
        "number": NUMBER,
        "exists": True,
        "proof": proof_of(TIMES.chain, number=NEVER),
    }
    assert run([*command, "d"]) == Exit.VERIFICATION_FAILED
    assert not Path("d").exists(), "what does not hold is not written"


@pytest.mark.parametrize(
    "words",
    [
        ["--offline", "b"],
        ["--policy", "p"],
        ["--fresh", "1h"],
        ["--offline", "b", "--policy", "p", "--proof", "x"],
        ["--offline", "b", "--policy", "p", "--fresh", "soon"],
        ["--offline", "b", "--policy", "p", "--at", "noon"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_wrong_usage(words: list[str]) -> None:
    assert run(["cert", "status", NUMBER, *words]) == Exit.USAGE
