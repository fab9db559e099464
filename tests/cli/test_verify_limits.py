"""What policies and cosigners may say and nobody expects: `verify` answers with a status of its own, no fault."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from primitives.notes import cosign_statement, cosignature_line, parse_vkey
from tests.ledger.governance_fixtures import key_of
from tests.ledger.test_proofs_over_epochs import Story


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def verified(folder: Path, proof: str, policy: str) -> int:
    (folder / "proof").write_text(proof, "utf-8")
    (folder / "policy").write_text(policy, "utf-8")
    return run(["verify", str(folder / "proof"), "--policy", str(folder / "policy")])


@pytest.mark.parametrize("time_s", [253_402_300_800, 2**62, 2**63 - 1])
def test_a_cosignature_of_a_time_beyond_all_calendars_leaves_a_receipt_readable(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str], time_s: int
) -> None:
    head, text, signatures = story.receipts[0].split("\n\n")
    key = parse_vkey(story.policies[0].split("witness node-0 ")[1].split("\n")[0])
    line = cosignature_line(key, time_s, key_of("node-0", "cosign").sign(cosign_statement(f"{text}\n", time_s)))
    others = [other for other in signatures.splitlines() if not other.startswith(f"\u2014 {key.name} ")]
    assert len(others) == len(signatures.splitlines()) - 1
    proof = "\n\n".join([head, text, "\n".join([*others, line])])
    assert verified(tmp_path, proof, story.policies[0]) == Exit.OK
    assert "verified: " in capsys.readouterr().out


def test_a_policy_of_thousands_of_groups_in_groups_is_judged(story: Story, tmp_path: Path) -> None:
    plain = "\n".join(line for line in story.policies[0].split("\n") if not line.startswith("#"))
    names = ["node-0", *(f"g{number}" for number in range(2_000))]
    groups = [f"group {name} any {below}" for below, name in pairwise(names)]
    for last, status in (("any", Exit.OK), ("all", Exit.OK)):
        policy = "\n".join([plain[: plain.index("group ")], *groups, f"group top {last} {names[-1]}", "quorum top", ""])
        assert verified(tmp_path, story.receipts[0], policy) == status
    policy = policy.replace("group g0 any node-0", "group g0 all node-0 node-1 node-2 node-3")
    assert verified(tmp_path, story.receipts[0], policy) == Exit.VERIFICATION_FAILED
