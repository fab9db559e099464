"""The lives that the benchmark submits are ones that the rules admit, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.certificates import DESKS, LIVES_A_WAVE, STAGES, Group
from bench.workload import BenchSource
from ledger.batches import parse_batch
from ledger.certificate_records import State
from ledger.kinds import ApplyContext
from ledger.registry import KINDS
from primitives.encoding import decode
from primitives.ids import ZERO_HASH, EventId
from primitives.keys import SigningKey
from tests.ledger.scheme_fixtures import Scheme, officer_of


class Numbered(Scheme):
    """The consortium in which events have the ids that they have in their batches: officers sign upon them."""

    event_id = EventId(ZERO_HASH)

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        return replace(super().context(member, desk, roles), event_id=self.event_id)


MEMBERS = {"bank": "bank-a", "laboratory": "lab", "inspector": "ins"}


@pytest.fixture
def group() -> Group:
    desks = {
        desk: BenchSource(bytes(32), MEMBERS.get(desk, "cb"), SigningKey(bytes([number]) * 32))
        for number, desk in enumerate(DESKS)
    }
    return Group(3, desks, [officer_of("cb", number) for number in range(2)])


def test_every_event_of_every_wave_is_admitted_in_its_step(group: Group) -> None:
    consortium, ended = Numbered(), 0
    for waves in (2, 1):
        said = group.waves(waves)
        for step in range(waves + len(STAGES) - 1):
            consortium.now_ms += 60_000
            for desk in DESKS:
                raw, count = said[desk][step]
                batch = parse_batch(raw) if raw else None
                assert (0 if batch is None else len(batch.events)) == count
                for event, consortium.event_id in () if batch is None else zip(batch.events, batch.ids, strict=True):
                    body = decode(KINDS[event.kind].schemas[event.schema], event.body, size_max=65_535)
                    assert consortium.submit(event.member, body, desk) == ""
                    ended += type(body).__name__ == "RevokeSigned"
    assert ended == 3 * LIVES_A_WAVE
    assert consortium.certificate("FTP-2029-06-00000000").state is State.REVOKED
