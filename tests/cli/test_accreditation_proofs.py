"""`member accreditations --proof` and what `verify` says of it, by a policy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from ledger.accreditations import accreditation_key
from ledger.certificate_records import certificate_key
from ledger.times import format_time
from rpc.errors import RpcError
from rpc.explorer.asking import ask
from rpc.methods.accreditation_proofs import get_accreditation_proof
from rpc.ports import Services
from tests.cli.test_with_a_node import Node, address, home, node
from tests.ledger.mark_chain_fixtures import MarkChain

__all__ = ["address", "home", "node"]


@pytest.fixture(scope="module")
def chain() -> MarkChain:
    return MarkChain().licensed()


def services_of(found: MarkChain) -> Services:
    unused: Any = None
    return Services(found.reader, unused, unused, lambda: found.now_ms)


def verified(
    found: MarkChain, proof: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    (tmp_path / "policy").write_text(found.policy())
    (tmp_path / "proof").write_text(proof)
    status = run(["-o", "json", "verify", str(tmp_path / "proof"), "--policy", str(tmp_path / "policy"), *words])
    told = capsys.readouterr()
    return status, json.loads(told.out or told.err)


def test_a_proof_is_fetched_and_verified_without_a_node(
    chain: MarkChain, node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["gov_getAccreditationProof"] = lambda params: msgspec.to_builtins(
        ask(get_accreditation_proof, services_of(chain), **params)
    )
    target = tmp_path / "lab.tlog-proof"
    words = ["member", "accreditations", "lab", "--role", "laboratory", "--proof", str(target)]
    assert run(["--endpoint", f"http://{address}", *words]) == Exit.OK
    capsys.readouterr()
    status, row = verified(chain, target.read_text(), tmp_path, capsys)
    assert (status, row["member"], row["role"], row["accredited"]) == (Exit.OK, "lab", "laboratory", True)
    assert row["categories"] == list(range(1, 15))
    assert row["sentence"].startswith("lab was accredited as laboratory for categories 1, 2,")
    assert (row["height"], [term["status"] for term in row["terms"]]) == (chain.chain.height, ["valid"])
    policy = str(tmp_path / "policy")
    assert run(["verify", str(target), "--policy", policy]) == Exit.OK
    assert "lab was accredited as laboratory" in capsys.readouterr().out


def test_a_member_that_never_was_accredited_is_proved_not_to_be(
    chain: MarkChain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ask(get_accreditation_proof, services_of(chain), member="bank-a", role="inspector")
    status, row = verified(chain, found.proof, tmp_path, capsys)
    assert (status, row["accredited"], row["terms"]) == (Exit.OK, False, [])
    assert row["sentence"].startswith("bank-a was not accredited as inspector at ")


def test_a_proof_speaks_for_its_own_time_and_thing_alone(
    chain: MarkChain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    height = chain.chain.height - 2
    header = chain.reader.header(height)
    assert header is not None
    proof = chain.proof(accreditation_key("lab", "laboratory"), height)
    assert verified(chain, proof, tmp_path, capsys, "--at", format_time(header.time_ms))[0] == Exit.OK
    for words in (("--at", format_time(header.time_ms - 1)), ("--certificate", "FTP-2026-06-000001")):
        assert verified(chain, proof, tmp_path, capsys, *words)[0] == Exit.VERIFICATION_FAILED
    for key in ("accreditation/lab", "accreditation/lab/notary", certificate_key("x")):
        assert verified(chain, chain.proof(key, height), tmp_path, capsys)[0] == Exit.VERIFICATION_FAILED
    lines = proof.splitlines(keepends=True)
    for place in range(0, len(lines), 3):
        damaged = "".join([*lines[:place], lines[place][1:], *lines[place + 1 :]])
        assert verified(chain, damaged, tmp_path, capsys)[0] == Exit.VERIFICATION_FAILED


def test_what_cannot_be_proved_is_refused_by_name(chain: MarkChain) -> None:
    with pytest.raises(RpcError, match="no such member"):
        ask(get_accreditation_proof, services_of(chain), member="nosuch", role="inspector")
    later = MarkChain().licensed()
    later.block()
    with pytest.raises(RpcError, match="no stable checkpoint covers this height"):
        ask(get_accreditation_proof, services_of(later), member="lab", role="laboratory", at=later.chain.height)


@pytest.mark.parametrize("words", [[], ["lab"], ["lab", "--role", "laboratory", "--category", "5"]])
def test_a_proof_is_of_one_row(words: list[str]) -> None:
    assert run(["--endpoint", "http://127.0.0.1:1", "member", "accreditations", *words, "--proof", "f"]) == Exit.USAGE
