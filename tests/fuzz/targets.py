"""What is fuzzed by coverage: functions of arbitrary bytes that may raise nothing but their documented errors.

`TARGETS` names them; `seed_inputs` gives valid inputs from simulated runs to begin with. `python -m tests.fuzz.targets
TARGET FILE…` runs a target on files, as `tests/fuzz/test_crashes.py` does with those kept in `tests/fuzz/crashes`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from chainnode.core import WIRE_KINDS
from chainnode.wal_format import encode_log, scan
from consensus.messages import decode_message
from consensus.records import (
    Accused,
    AccusedCosigner,
    Cosigned,
    Reached,
    ViewChanged,
    ViewStarted,
    decode_record,
    encode_record,
)
from ledger.batches import parse_batch
from p2p.frames import PREAMBLE, FrameDecoder, FrameError, encode_fragments
from primitives.encoding import decode
from primitives.errors import InputError, StorageError, UsageError
from primitives.ids import Epoch, Height
from sim.mutator import TYPES
from sim.signatures import stand_in_verify
from tests.fuzz.reader_targets import READER_TARGETS, reader_seeds
from tests.fuzz.victim_fixtures import KINDS, PEERS, Victim, seeds

BATCH = 16
LIMITS = {kind: size for kind, (_, size, _) in WIRE_KINDS.items()}
FORGED, WAITING = 0x40, 0x80


def message(data: bytes) -> None:
    """A message to a whole node: a byte for its kind, one for where the node stands and who speaks, the payload.

    With FORGED every signature counts as valid, so that altered bytes reach the rules behind the signatures.
    """
    if len(data) < 2:
        return
    kind, place, payload = KINDS[data[0] % len(KINDS)], data[1], data[2:]
    try:
        decode(TYPES[kind], payload, size_max=WIRE_KINDS[kind][1])
    except InputError:
        return
    snapshot = seeds().snapshots[place % 5]
    victim = Victim(snapshot, verifier=(lambda *_: True) if place & FORGED else stand_in_verify)
    if place & WAITING:
        victim.leave()
    victim.say(PEERS[place % len(PEERS)], kind, payload)
    victim.tick(1_000)


def record(data: bytes) -> None:
    """A record of the write-ahead log."""
    with suppress(InputError, StorageError):
        decode_record(data)


def batch(data: bytes) -> None:
    """A batch, as a peer or a client sends it."""
    with suppress(InputError):
        assert parse_batch(data).raw == data


def log(data: bytes) -> None:
    """A whole write-ahead log."""
    with suppress(StorageError, UsageError):
        found = scan(data, bytes(32))
        assert found.sound_bytes + found.torn_bytes == len(data)


def frames(data: bytes) -> None:
    """A stream of frames; its first byte says where it is cut."""
    decoder = FrameDecoder(LIMITS, expect_preamble=bool(data[:1] and data[0] & 1))
    cut, stream = (data[0] if data else 0), data[1:]
    with suppress(FrameError):
        for part in (stream[:cut], stream[cut:]):
            for kind, payload in decoder.feed(part):
                assert len(payload) <= LIMITS[kind]
        decoder.finish()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "record": record,
    "batch": batch,
    "log": log,
    "frames": frames,
    **READER_TARGETS,
}


def seed_inputs(target: str) -> Iterator[bytes]:
    """Return valid inputs of a target."""
    found = seeds()
    records = [item for snapshot in found.snapshots for item in snapshot.records]
    match target:
        case "message":
            for at, kind in enumerate(KINDS):
                for place, payload in enumerate(found.payloads[kind]):
                    yield bytes([at, place % 5 | FORGED * (place % 2) | WAITING * (place % 3 == 0)]) + payload
        case "record":
            yield from records[:: max(1, len(records) // 40)]
            for type_, kind in (
                (ViewChanged, 3),
                (ViewStarted, 4),
                (Cosigned, 5),
                (Accused, 11),
                (AccusedCosigner, 12),
            ):
                yield encode_record(type_(decode_message(kind, found.payloads[kind][0])))
            yield encode_record(Reached(Epoch(0), Height(7)))
        case "batch":
            yield from found.payloads[BATCH]
        case "log":
            yield from (b"".join(encode_log(bytes(32), records[start : start + 4])) for start in range(0, 12, 4))
        case "frames":
            sent = [(kind, found.payloads[kind][0]) for kind in KINDS]
            stream = b"".join(part for kind, payload in sent for part in encode_fragments(kind, payload))
            yield bytes([7]) + PREAMBLE + stream
            yield bytes([8]) + stream
        case _:
            yield from reader_seeds(target)


def main() -> None:
    """Run a target on files."""
    for path in sys.argv[2:]:
        TARGETS[sys.argv[1]](Path(path).read_bytes())


if __name__ == "__main__":
    main()
