"""The process of one node: `python -m chainnode.main --home DIR`, and what `chainnode start` calls.

Here: the event loop, logs, and turning errors into an exit status. Not here: the node itself (`chainnode.node`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainnode.config import load_node_config
from chainnode.home import Home
from chainnode.logs import Position, configure_logs
from chainnode.node import run_node
from primitives.errors import ChainError

GC_THRESHOLD = 50_000


def start(home: Home, flags: Mapping[str, str]) -> None:
    """Run the node of a home until it is asked to stop; raises `ChainError` with what is wrong."""
    home.check()
    config = load_node_config(home.config, os.environ, flags).config
    position = Position(config.node.name)
    configure_logs(position, level=config.log.level, form=config.log.format)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 50)  # records are acyclic and mostly untracked; full passes only cost latency
    _run(run_node(home, config, position))


def _run(main: Coroutine[Any, Any, None]) -> None:  # Any: what a coroutine yields is its loop's business
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def first_of(group: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the first error inside nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main(arguments: Sequence[str] | None = None) -> int:
    """Start from the command line of a process; returns the exit status."""
    parser = argparse.ArgumentParser(prog="chainnode-node", description="Run one node.")
    parser.add_argument("--home", required=True, type=Path, help="the node's home directory")
    options = parser.parse_args(arguments)
    status = 0
    try:
        start(Home(options.home), {})
    except* (ChainError, OSError) as group:
        print(f"chainnode: {first_of(group)}", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
