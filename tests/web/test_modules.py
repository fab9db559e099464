"""The modules of the JavaScript verifier are such as a page can load, and each stays small."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.web.node_fixtures import VERIFIER, node_program

IMPORT = re.compile(r"""(?:^(?:import\b|export [{*])[^;'"]*?|\bimport\()['"]([^'"]+)['"]""", re.MULTILINE)
MODULES = sorted(path.relative_to(VERIFIER).as_posix() for path in VERIFIER.glob("*.mjs"))
ADAPTERS = {
    "adapters/node.mjs": {"node:crypto"},
    "adapters/noble.mjs": {"@noble/curves/ed25519.js", "@noble/hashes/sha2.js"},
    "adapters/webcrypto.mjs": set[str](),
}
CORE = [name for name in MODULES if name != "cli.mjs"]
LINES_MAX = 400

# What a page's modules may use of their surroundings, and nothing of Node's: run in a realm that has only this.
PAGE = """
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');
const context = vm.createContext({ TextEncoder, TextDecoder, crypto: undefined, console });
const modules = new Map();
function load(file) {
  if (!modules.has(file)) {
    modules.set(file, new vm.SourceTextModule(fs.readFileSync(file, 'utf8'), { context, identifier: file }));
  }
  return modules.get(file);
}
(async () => {
  const entry = load(path.resolve('verify.mjs'));
  await entry.link((name, from) => load(path.resolve(path.dirname(from.identifier), name)));
  await entry.evaluate();
  const crypto = { sha256: () => new Uint8Array(32), verifyEd25519: () => false };
  try {
    entry.namespace.verify('no proof', 'no policy', { crypto });
  } catch (error) {
    console.log(error.name, error.step, modules.size);
  }
})();
"""


def imports_of(name: str) -> set[str]:
    return set(IMPORT.findall((VERIFIER / name).read_text("utf-8")))


@pytest.mark.parametrize("name", CORE)
def test_a_module_imports_only_its_neighbours(name: str) -> None:
    assert {each for each in imports_of(name) if not re.fullmatch(r"\./[a-z0-9]+\.mjs", each)} == set()


@pytest.mark.parametrize(("name", "packages"), ADAPTERS.items())
def test_an_adapter_imports_what_its_library_is_and_modules_of_the_verifier(name: str, packages: set[str]) -> None:
    assert {each for each in imports_of(name) if not re.fullmatch(r"\.\./[a-z0-9]+\.mjs", each)} == packages


def test_all_modules_are_known_here() -> None:
    every = {
        path.relative_to(VERIFIER).as_posix() for path in VERIFIER.rglob("*.mjs") if "node_modules" not in path.parts
    }
    assert every == {*CORE, "cli.mjs", *ADAPTERS}


@pytest.mark.parametrize("name", [*MODULES, *ADAPTERS])
def test_a_module_can_be_read_in_one_sitting_and_says_what_it_is(name: str) -> None:
    lines = (VERIFIER / name).read_text("utf-8").splitlines()
    assert len(lines) <= LINES_MAX
    assert next(line for line in lines if not line.startswith("#!")).startswith("/**")


def test_the_verifier_loads_where_nothing_of_node_is_there(tmp_path: Path) -> None:
    script = tmp_path / "page.cjs"
    script.write_text(PAGE)
    command = [str(node_program()), "--no-warnings", "--experimental-vm-modules", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=VERIFIER, timeout=60, check=True)
    assert done.stdout.split() == ["Refused", "policy", str(len(CORE) - 1)], done.stderr
