"""The explorer's scripts, run in Node without a browser: what holds, what is refused, and what a page says of it."""

from __future__ import annotations

import json
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.forks import verify_fork
from primitives.errors import ProofError
from tests.web.node_fixtures import ROOT, node_program

PAGES = Path(__file__).with_name("pages")
SCRIPTS = ROOT / "rpc" / "explorer" / "static" / "js"
STANDALONE = ROOT / "web" / "dist" / "chainnode-verifier.html"
LINES_MAX = 250
IMPORT = re.compile(r"""(?:^(?:import\b|export [{*])[^;'"]*?|\bimport\()['"]([^'"]+)['"]""", re.MULTILINE)
HTML = re.compile(r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function)\b")
REPORT = """
import './hooks.mjs';
import { cryptography, leavesOf, noteOf, pathIn, POLICY } from './notes.mjs';
const { relate } = await import('../../../rpc/explorer/static/js/checkpoints.mjs');
const [ours, theirs] = [leavesOf(13), leavesOf(13, 'other', 5)];
const notes = { size: [noteOf(ours), noteOf(theirs)], smaller: [noteOf(ours), noteOf(theirs.slice(0, 8))],
  larger: [noteOf(theirs.slice(0, 8)), noteOf(ours)] };
const reports = [];
for (const [older, newer] of Object.values(notes)) {
  reports.push((await relate(cryptography, POLICY, older, newer, pathIn(ours))).report);
}
console.log(JSON.stringify({ policy: POLICY, reports }));
"""


def run_node(*arguments: str, text: str | None = None) -> str:
    command = [str(node_program()), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=PAGES, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", sorted(PAGES.glob("*.test.mjs")), ids=lambda path: path.name.partition(".")[0])
def test_the_scripts_of_the_pages(file: Path) -> None:
    assert re.search(r"^# pass [1-9]", run_node("--test", "--test-reporter=tap", file.name), re.MULTILINE)


def test_a_fork_that_a_browser_reports_is_one_that_anybody_can_verify() -> None:
    found = json.loads(run_node("--input-type=module", "-", text=REPORT))
    for report in found["reports"]:
        assert verify_fork(report, found["policy"]).first.checkpoint.size in (8, 13)
        bent = report.replace("extra ", "extra AAAA", 1)
        with pytest.raises(ProofError):
            verify_fork(bent, found["policy"])


@pytest.mark.skipif(not STANDALONE.exists(), reason="`make web` could not make the standalone verifier")
def test_the_standalone_verifier_is_the_one_whose_hash_is_published() -> None:
    found = sha256(STANDALONE.read_bytes()).hexdigest()
    assert f"`{STANDALONE.name}` | `{found}`" in (ROOT / "docs" / "proofs.md").read_text("utf-8"), f"publish {found}"


@pytest.mark.parametrize("file", sorted(SCRIPTS.glob("*.mjs")), ids=lambda path: path.name)
def test_a_script_of_a_page_is_small_imports_only_what_is_served_and_writes_no_html(file: Path) -> None:
    text = file.read_text("utf-8")
    assert text.startswith("/**")
    assert len(text.splitlines()) <= LINES_MAX
    for name in IMPORT.findall(text):
        assert re.fullmatch(r"\./[a-z]+\.mjs|\.\./verifier/(adapters/)?[a-z0-9]+\.mjs|\.\./vendor/[a-z]+\.mjs", name), (
            name
        )
    assert HTML.findall(text) == []
