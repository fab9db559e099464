"""Coverage-guided fuzzing of one target of `tests.fuzz.targets`, by atheris: `make fuzz` runs it for each.

Usage: python -m tests.fuzz.coverage_guided TARGET SECONDS FOLDER. Inputs that reach new code are kept in FOLDER between
runs; one that raises what it may not is written beside them, and the process ends with a status other than 0.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["primitives", "consensus", "ledger", "chainnode", "p2p", "rpc"]):
    from primitives.errors import InputError
    from tests.fuzz.targets import TARGETS, seed_inputs
    from tests.fuzz.victim_fixtures import KINDS, attacker

ATTACKER = attacker()
SHARE_BY_MEANING = 0.7

INPUT_SECONDS_MAX = 20
INPUT_BYTES_MAX = 64 * 1024
MEMORY_MIB_MAX = 2_048


def altered(data: bytes, size_max: int, seed: int) -> bytes:
    """Return another input: altered by what the message means, or any bytes of it."""
    random = Random(seed)
    if len(data) > 2 and random.random() < SHARE_BY_MEANING:
        with suppress(InputError):
            kind, payload = ATTACKER.altered(KINDS[data[0] % len(KINDS)], data[2:], random)
            return (bytes([KINDS.index(kind), random.choice((data[1], random.randrange(256)))]) + payload)[:size_max]
    return bytes(atheris.Mutate(data, size_max))


def main() -> None:
    """Run the target until the time is over or something is found."""
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seed_inputs(name):
        (corpus / sha256(data).hexdigest()[:16]).write_bytes(data)
    arguments = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-artifact_prefix={folder}/found-{name}-",
        "-print_final_stats=1",
        str(corpus),
    ]
    mutators = {"custom_mutator": altered} if name == "message" else {}
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name], **mutators)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
