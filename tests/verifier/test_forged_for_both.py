"""The forgeries that the tests of the node's verifier think up are refused by the independent one, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verifier.verifier_fixtures import BACKENDS, FOLDER

ROOT = FOLDER.parent
FILES = ("forged_proofs", "receipts", "proofs_over_epochs", "completeness", "certificate_history", "policy_witnesses")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_node_refuses_in_its_tests_both_refuse(backend: str, tmp_path: Path) -> None:
    files = [f"tests/ledger/test_{name}.py" for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "tests.verifier.both_plugin", *files]
    counts = tmp_path / "counts"
    env = os.environ | {"VERIFIER_BACKEND": backend, "VERIFIER_COUNTS": str(counts)}
    command += ["-p", "no:cacheprovider", f"--basetemp={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-4_000:]
    accepted, refused = map(int, counts.read_text().split())
    assert accepted > 200
    assert refused > 200
