"""The house: what the lock file, the make targets and the package metadata promise a fresh clone."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
PINNED = {canonicalize_name(match["name"]): match["version"] for match in PIN.finditer(LOCK)}
ASKED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
    *PROJECT["project"]["optional-dependencies"]["scan"],
    *PROJECT["project"]["optional-dependencies"]["analysis"],
    *PROJECT["build-system"]["requires"],
]
TARGETS = ["setup", "web", "demo", "test", "check", "sim", "twins", "fuzz", "bench", "bench-floor", "e2e", "docs"]


@pytest.mark.parametrize("asked", ASKED)
def test_the_lock_file_pins_a_version_that_the_project_admits(asked: str) -> None:
    requirement = Requirement(asked)
    version = PINNED.get(canonicalize_name(requirement.name))
    assert version is not None, "run 'make lock'"
    assert requirement.specifier.contains(version, prereleases=True), f"locked {version}: run 'make lock'"


def test_every_locked_requirement_has_a_hash() -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", LOCK[LOCK.index("\n", LOCK.rindex("#    make lock")) + 1 :])
    assert len(entries) == len(PINNED)
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_file_names_no_index_and_no_path() -> None:
    assert not re.search(r"://|file:|^-", LOCK, re.MULTILINE)


@pytest.mark.parametrize("group", PROJECT["dependency-groups"])
def test_what_few_targets_install_is_locked_with_hashes_and_admitted_by_the_project(group: str) -> None:
    lock = (ROOT / f"requirements-{group}.lock").read_text("utf-8")
    assert not re.search(r"://|file:|^-", lock, re.MULTILINE)
    pinned = {match["name"]: match["version"] for match in PIN.finditer(lock)}
    asked = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependency-groups"][group])}
    assert pinned.keys() == asked.keys()
    assert all(asked[name].specifier.contains(version) for name, version in pinned.items()), "run 'make lock'"
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_packages_of_javascript_are_locked_with_hashes_and_name_no_registry() -> None:
    text = (ROOT / "web" / "package-lock.json").read_text("utf-8")
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [package for package in packages.values() if "resolved" in package]


def test_bare_make_lists_every_target_in_one_line_each() -> None:
    lines = (ROOT / "Makefile").read_text("utf-8").splitlines()
    listed = {match[1] for line in lines if (match := re.match(r"^([a-z0-9-]+):[^#]*## .+", line))}
    assert set(TARGETS) <= listed


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_place_at_which_types_are_not_checked_says_why() -> None:
    bare = re.compile(r"# type: ignore(\[[^\]]*\])?\s*$")
    files = (
        path for path in ROOT.rglob("*.py") if not any(part.startswith(".") for part in path.parts[len(ROOT.parts) :])
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []
