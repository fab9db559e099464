"""Makes the published vectors of proofs in `vectors/`: good proofs with verdicts, and what every verifier refuses.

The committed files stand for what an earlier release made. So this refuses to write over them unless it is told to with
`--again`, which is for a change of a format, whose version has to rise with it, and for more vectors. Keys, times and
mutations follow from names, so the same code makes the same files. Run as `python scripts/make_proof_vectors.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.vectors.proof_files import FOLDER, KINDS  # noqa: E402  # the tree is found by the line above
from tests.vectors.proof_making import made_files  # noqa: E402


def main() -> int:
    """Write the files, and say what stands in them."""
    parser = argparse.ArgumentParser(description="Make the published vectors of proofs.")
    parser.add_argument("--again", action="store_true", help="write over the files that an earlier release made")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    taken = [name for name in ("policies", *KINDS) if (arguments.folder / f"{name}.json").exists()]
    if taken and not arguments.again:
        print(f"{arguments.folder} holds vectors of an earlier release: verify those, or say --again", file=sys.stderr)
        return 2
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, content in made_files().items():
        path = arguments.folder / f"{name}.json"
        path.write_text(written(content), "utf-8")
        good, bad = len(content.get("good", ())), len(content.get("bad", ()))
        print(f"{path.name}: {good} good, {bad} bad, {path.stat().st_size:,} bytes")
    return 0


def written(content: dict[str, Any]) -> str:
    """Return a file's JSON, a line for each vector, so that a difference between two files can be read."""
    lines = ["{"]
    for name, value in content.items():
        last = name == list(content)[-1]
        if isinstance(value, list | dict) and name != "counts":
            opened, closed = ("[", "]") if isinstance(value, list) else ("{", "}")
            items = (
                [json.dumps(item, ensure_ascii=True) for item in value]
                if isinstance(value, list)
                else [f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=True)}" for key, item in value.items()]
            )
            lines += [f"{json.dumps(name)}: {opened}", ",\n".join(items), closed + ("" if last else ",")]
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}{'' if last else ','}")
    return "\n".join([*lines, "}"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
