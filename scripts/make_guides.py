"""Writes what the commands of a guide print into its page, from a run on a new localnet, and its sample scripts.

Run `python scripts/make_guides.py certifying` or `first-day` after a command's output changed: tests/e2e/test_guides.py
holds docs/certifying.md and the first day of docs/payments.md to what is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.guide_fixtures import BLOCK, CERTIFYING, FIRST_DAY, Guide, run, shown  # noqa: E402  # by the line above
from tests.e2e.network_fixtures import network  # noqa: E402  # likewise

GUIDES = {"certifying": CERTIFYING, "first-day": FIRST_DAY}


def main() -> int:
    """Run a guide's commands in their order, and write its page and scripts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("guide", choices=GUIDES)
    guide = GUIDES[parser.parse_args().guide]
    page = guide.text
    with tempfile.TemporaryDirectory(prefix="chainnode-guide-") as name, network(Path(name)) as net:
        work = Path(name) / "work"
        work.mkdir()
        printed = iter([ran(guide, each.command, net.net.directory, work) for each in shown(page)])
    page = BLOCK.sub(
        lambda block: f"```console\n{''.join(next(printed) for _ in shown(f'{block[0]}{chr(10)}'))}```", page
    )
    guide.page.write_text(page, "utf-8")
    for name, text in guide.scripts().items():
        (guide.samples / name).write_text(text, "utf-8")
        (guide.samples / name).chmod(0o755)
    print(f"{guide.page.relative_to(ROOT)}: {sum(1 for _ in shown(page))} commands")
    return 0


def ran(guide: Guide, command: str, directory: Path, work: Path) -> str:
    """Return a command as the page shows it, with what it printed."""
    return f"$ {command}\n{run(['bash', '-euo', 'pipefail', '-c', command], directory, work, guide.samples)}"


if __name__ == "__main__":
    sys.exit(main())
