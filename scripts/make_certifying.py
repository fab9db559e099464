"""Writes what the commands of docs/certifying.md print into it, from a run on a new localnet, and its sample scripts.

Run `python scripts/make_certifying.py` after a command's output changed: `tests/e2e/test_certifying.py` holds the page
to what is printed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.guide_fixtures import BLOCK, PAGE, SAMPLES, run, scripts, shown  # noqa: E402  # found by the line above
from tests.e2e.network_fixtures import network  # noqa: E402  # likewise


def ran(command: str, directory: Path, work: Path) -> str:
    """Return a command as the page shows it, with what it printed."""
    return f"$ {command}\n{run(['bash', '-euo', 'pipefail', '-c', command], directory, work)}"


def main() -> int:
    """Run the page's commands in their order, and write the page and the scripts."""
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory(prefix="chainnode-guide-") as name, network(Path(name)) as net:
        work = Path(name) / "work"
        work.mkdir()
        printed = iter([ran(each.command, net.net.directory, work) for each in shown(page)])
    page = BLOCK.sub(
        lambda block: f"```console\n{''.join(next(printed) for _ in shown(f'{block[0]}{chr(10)}'))}```", page
    )
    PAGE.write_text(page, "utf-8")
    for name, text in scripts(page).items():
        (SAMPLES / name).write_text(text, "utf-8")
        (SAMPLES / name).chmod(0o755)
    print(f"{PAGE.relative_to(ROOT)}: {sum(1 for _ in shown(page))} commands")
    return 0


if __name__ == "__main__":
    sys.exit(main())
