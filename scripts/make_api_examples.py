"""Writes `rpc/examples.json`, an example of each method for the OpenRPC document, from answers of a node in memory.

Which calls: `tests/rpc/contract/example_calls.py`. Run `python scripts/make_api_examples.py` after a method was added
or its result changed: a test holds the file to what is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rpc.openrpc import EXAMPLES  # noqa: E402  # the tree is found by the line above
from tests.rpc.contract.example_calls import made_examples  # noqa: E402


def main() -> int:
    """Write the file, and say what stands in it."""
    with asyncio.Runner() as runner:
        made = made_examples(runner)
    EXAMPLES.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{EXAMPLES.relative_to(ROOT)}: {len(made)} methods, {EXAMPLES.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
