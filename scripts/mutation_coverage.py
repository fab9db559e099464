"""A plugin of pytest that notes which test runs which lines of some files, and how long each test takes.

Loaded by `scripts/mutation_operators.py` as `-p scripts.mutation_coverage`. MUTATION_FILES names the files, divided by
colons, MUTATION_LINES the JSON file to write: {test id: [seconds, {file: [lines]}]}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

FILES = {str(Path.cwd() / name): name for name in os.environ["MUTATION_FILES"].split(":")}
_seen: set[tuple[str, int]] = set()
_found: dict[str, tuple[float, dict[str, list[int]]]] = {}


def _trace(frame: FrameType, _event: str, _arg: object) -> Any:  # Any: a trace function returns one or None
    return _note if frame.f_code.co_filename in FILES else None


def _note(frame: FrameType, event: str, _arg: object) -> Any:  # Any: see above
    if event == "line":
        _seen.add((frame.f_code.co_filename, frame.f_lineno))
    return _note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run a test, its fixtures included, under the tracer."""
    _seen.clear()
    began = time.perf_counter()
    threading.settrace(_trace)
    sys.settrace(_trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]  # which ends it, whatever the stub says
        lines: dict[str, list[int]] = {}
        for path, line in sorted(_seen):
            lines.setdefault(FILES[path], []).append(line)
        if lines:
            _found[item.nodeid] = (time.perf_counter() - began, lines)


def pytest_sessionfinish() -> None:
    """Write what was noted."""
    Path(os.environ["MUTATION_LINES"]).write_text(json.dumps(_found), "utf-8")
