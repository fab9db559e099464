"""The steps of a verification by name: whoever is given garbage is told which of them refused it.

The names are those of the published vectors of proofs (`vectors/README.md`), and the same in every kind of proof. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from primitives.errors import InputError, ProofError

TEXT = "text"
EXTRA = "extra data"
POLICY = "policy"
CHECKPOINT = "checkpoint"
HANDOVERS = "handovers"
LOG_SIGNATURE = "log signature"
COSIGNATURES = "cosignatures"
HEADER = "block header"
EVENT = "event"
OUTCOME = "outcome"
BATCH = "batch"
SOURCE = "source"
STATE = "state"
NEXT_HEADER = "next header"
TIME = "time"
RECORD = "record"
RANGE = "range"
BLOCKS = "blocks"
HEADS = "heads"
BATCH_LOG = "batch log"
HISTORY = "history"
CONTRADICTION = "contradiction"


@contextmanager
def step(name: str) -> Iterator[None]:
    """Give whatever is refused within the step's name: ProofError, its `where` beginning with that name."""
    try:
        yield
    except InputError as error:
        where = name if error.where is None else f"{name}: {error.where}"
        raise ProofError(error.what, where=where, expected=error.expected, got=error.got, hint=error.hint) from None
