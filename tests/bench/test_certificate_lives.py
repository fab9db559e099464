"""The lives that the benchmark submits are ones that the rules admit, step by step."""

from __future__ import annotations

import pytest

from bench.certificates import DESKS, LIVES_A_WAVE, STAGES, Group
from bench.workload import BenchSource
from ledger.batches import parse_batch
from ledger.certificate_records import State
from ledger.registry import KINDS
from primitives.encoding import decode
from primitives.keys import SigningKey
from tests.ledger.certificate_fixtures import Consortium

MEMBERS = {"bank": "bank-a", "laboratory": "lab", "inspector": "ins"}


@pytest.fixture
def group() -> Group:
    desks = {
        desk: BenchSource(bytes(32), MEMBERS.get(desk, "cb"), SigningKey(bytes([number]) * 32))
        for number, desk in enumerate(DESKS)
    }
    return Group(3, desks)


def test_every_event_of_every_wave_is_admitted_in_its_step(group: Group) -> None:
    consortium, ended = Consortium(), 0
    for waves in (2, 1):
        said = group.waves(waves)
        for step in range(waves + len(STAGES) - 1):
            consortium.now_ms += 60_000
            for desk in DESKS:
                raw, count = said[desk][step]
                events = parse_batch(raw).events if raw else ()
                assert len(events) == count
                for event in events:
                    body = decode(KINDS[event.kind].schemas[1], event.body, size_max=65_535)
                    assert consortium.submit(event.member, body, desk) == ""
                    ended += type(body).__name__ == "Revoke"
    assert ended == 3 * LIVES_A_WAVE
    assert consortium.certificate("FTP-2029-06-00000000").state is State.REVOKED
