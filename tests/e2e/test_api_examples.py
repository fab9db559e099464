"""The examples of docs/api.md, run as they stand there against a real network: calls, shell commands, programs.

Answers are compared by shape: the same keys and kinds of values, since ids, heights and times are those of a network of
the reader's own. An id that one example gets and the next one asks for is followed.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network_fixtures import Json, Network, until
from tests.e2e.traffic_fixtures import Source, submit
from tests.web.node_fixtures import node_program

pytestmark = pytest.mark.e2e

NODE = "bank-a"
PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text("utf-8")
SHOWN_NODE, SHOWN_HOMES = "http://127.0.0.1:7401", "var/localnet/nodes"
PATIENCE_S = 120


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the shell commands of the page; one may go over several lines."""
    return [line for block in blocks("sh") for line in re.split(r"(?<!\\)\n", block.strip())]


def here(net: Network, text: str) -> str:
    """Return an example with the reader's node and directory in it."""
    found = text.replace(SHOWN_NODE, net.node(NODE).rpc.rstrip("/"))
    return found.replace(SHOWN_HOMES, str(net.net.directory / "nodes"))


def shape(value: Any) -> Any:
    """Return what an answer looks like: its keys, and the kinds of its values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def run(command: list[str], text: str | None = None) -> str:
    """Return what a program prints; it must end well."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def test_calls_get_what_is_shown(net: Network) -> None:
    shown = [json.loads(text) for text in blocks("json")]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {net.token(NODE)}"}
    ours: dict[str, str] = {}
    run_count = 0
    for call, expected in itertools.pairwise(shown):
        if "method" not in call:
            continue
        text = json.dumps(call)
        for theirs, own in ours.items():
            text = text.replace(theirs, own)
        answer: Json = json.loads(net.http(NODE, "POST", "/", text.encode(), headers)[1])
        assert shape(answer) == shape(expected), call["method"]
        if "error" in expected:
            told = {"trace_id": ""}
            assert answer["error"] | {"data": answer["error"]["data"] | told} == expected["error"] | {
                "data": expected["error"]["data"] | told
            }
        for before, now in zip(ids(expected), ids(answer), strict=True):
            ours[before] = now
        run_count += 1
    assert run_count * 2 == len(shown)
    assert run_count >= 4


def ids(answer: Json) -> list[str]:
    """Return the ids of events in an answer, in its order."""
    return re.findall(r'"id": "([0-9a-f]{64})"', json.dumps(answer))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", commands(), ids=lambda command: command.rpartition(" ")[2][-40:])
def test_commands_of_the_shell_are_answered(net: Network, command: str) -> None:
    printed = run(["bash", "-euo", "pipefail", "-s"], here(net, command))
    if " -d " in command:
        assert "result" in json.loads(printed)
    elif command.endswith("/openrpc.json"):
        assert json.loads(printed)["openrpc"].startswith("1.")
    else:
        assert printed.startswith(net.genesis.origin)


def test_programs_in_python_and_javascript_read_the_same_list(
    net: Network, sources: dict[str, Source], tmp_path: Path
) -> None:
    submit(net, NODE, sources["bank-a-bank"].payments(33))
    top = net.until_level()
    until(lambda: net.call(NODE, "payment_list", limit=1)["as_of"] >= top)
    (python,), (javascript,) = blocks("python"), blocks("js")
    program = tmp_path / "example.mjs"
    program.write_text(here(net, javascript), "utf-8")
    lines = run([sys.executable, "-I", "-c", here(net, python)]).splitlines()
    assert run([str(node_program()), str(program)]).splitlines() == lines
    assert len(lines) == len(set(lines)) > 30
    heights = [int(line.split()[0]) for line in lines]
    assert heights == sorted(heights)
