"""The OpenRPC document under the JavaScript tools of those who defined OpenRPC."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rpc.methods.catalogue import METHODS, document
from tests.web.node_fixtures import ROOT, node_program

CHECK = Path(__file__).with_name("openrpc.mjs")
has_tools = (ROOT / "web" / "node_modules" / "@open-rpc" / "schema-utils-js").is_dir()
pytestmark = pytest.mark.skipif(not has_tools, reason="the packages of web/package-lock.json are not installed")


def checked(text: bytes) -> dict[str, Any]:
    """Return what the tools say of a document."""
    done = subprocess.run([str(node_program()), str(CHECK)], input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_document_is_valid_and_its_examples_fit() -> None:
    found = checked(msgspec.json.encode(document("0.1.0")))
    assert found == {"methods": len(METHODS), "problems": []}


def test_the_tools_find_what_is_wrong() -> None:
    broken = json.loads(msgspec.json.encode(document("0.1.0")))
    del broken["methods"][0]["params"]
    assert checked(json.dumps(broken).encode())["problems"]
    wrong = json.loads(msgspec.json.encode(document("0.1.0")))
    called = next(item for item in wrong["methods"] if item["name"] == "cert_get")
    called["examples"][0]["params"][0]["value"] = "no number"
    (problem,) = checked(json.dumps(wrong).encode())["problems"]
    assert problem.startswith("cert_get: ")
