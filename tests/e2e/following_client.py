"""A subscriber in a process of its own, to be killed: `python -m tests.e2e.following_client URL FILE`.

Each line of FILE is one event: log index, id, cursor. It goes on from the last whole line of the file; each line is
written at once, so that whatever kills it takes no more than a part of a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chainnode.client import NodeClient
from chainnode.following import follow


def whole_lines(path: Path) -> list[list[str]]:
    """Return the fields of the whole lines of a file; the last one may be cut."""
    text = path.read_text() if path.exists() else ""
    return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]


def main(url: str, file: str) -> None:
    path = Path(file)
    lines = whole_lines(path)
    path.write_text("".join(" ".join(line) + "\n" for line in lines))
    params = {"topic": "events", "from_cursor": lines[-1][2] if lines else "earliest"}
    with path.open("a", buffering=1) as out:
        for told in follow(NodeClient(url), params):
            if told is not None:
                event, cursor = told
                out.write(f"{event['log_index']} {event['id']} {cursor}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
