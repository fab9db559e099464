"""What the benchmarks submit of certificates: whole lives, each event after the one that it rests on.

A life is nine events of five parties: apply, accept, test, check, review, grant, suspend, restore, revoke. In a step
each party says what it has to say about the lives that stand at its stages, and a wave of new lives begins; the next
step begins when all of that is committed, since an event that comes before its ground would be rejected.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256

from bench.workload import EVENT_LIFETIME_MS, BenchSource
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Evidence,
    Grant,
    Product,
    Restore,
    Review,
    Revoke,
    SiteCheck,
    Suspend,
    TypeTest,
)
from ledger.certificates import CERTIFICATE_KINDS
from ledger.events import Event
from primitives.encoding import encode

LIVES_A_WAVE = 25
CATEGORY = 6
DESKS = ("bank", "desk", "reviewer", "decider", "laboratory", "inspector")
STAGES = ("bank", "desk", "laboratory", "inspector", "reviewer", "decider", "desk", "desk", "desk")
"""Who says the event of each stage."""

_KIND_OF = {body: spec.kind for spec in CERTIFICATE_KINDS for body in spec.schemas.values()}


class Group:
    """A bank and the desks that deal with its certificates, each with a source of its own."""

    def __init__(self, number: int, desks: dict[str, BenchSource]) -> None:
        assert desks.keys() == set(DESKS)
        self.number, self.desks = number, desks
        self._bank = desks["bank"].member
        self._lives = 0

    def waves(self, count: int) -> dict[str, list[tuple[bytes, int]]]:
        """Return, for each desk and step of so many waves, a batch and how many events it has, if any."""
        said: dict[str, list[tuple[bytes, int]]] = {desk: [] for desk in DESKS}
        first = self._lives
        self._lives += count * LIVES_A_WAVE
        for step in range(count + len(STAGES) - 1):
            for desk in DESKS:
                said[desk].append(self._said(desk, step, first, count))
        return said

    def _said(self, desk: str, step: int, first: int, count: int) -> tuple[bytes, int]:
        now_ms = time.time_ns() // 1_000_000
        source = self.desks[desk]
        events = [
            self._event(source.member, self._body(stage, first + (step - stage) * LIVES_A_WAVE + life), now_ms)
            for stage, who in enumerate(STAGES)
            if who == desk and 0 <= step - stage < count
            for life in range(LIVES_A_WAVE)
        ]
        return (source.signed(events), len(events)) if events else (b"", 0)

    def _event(self, member: str, body: Body, now_ms: int) -> bytes:
        data = encode(body)
        reference = sha256(b"%d " % self.number + data).digest()[:16]
        return encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, _KIND_OF[type(body)], 1, data))

    def _body(self, stage: int, life: int) -> Body:
        application = f"{self._bank}.{self.number:02d}-{life:08d}"
        number = f"FTP-{2026 + self.number}-{CATEGORY:02d}-{life:08d}"
        bodies: Sequence[Body] = (
            Apply(
                application,
                "Bank",
                Product("Counter terminal", "CT-1", "2.0"),
                CATEGORY,
                self._evidence(EvidenceKind.TECHNICAL_DOCUMENTS, life),
            ),
            Accept(application),
            TypeTest(application, True, self._evidence(EvidenceKind.TYPE_EXAMINATION, life)),
            SiteCheck(application, True, self._evidence(EvidenceKind.SITE_CHECK, life)),
            Review(application, self._evidence(EvidenceKind.REVIEW_REPORT, life)),
            Grant(application, number, None, None, None),
            Suspend(number, "inspection_failed", None, None),
            Restore(number, self._evidence(EvidenceKind.CORRECTIVE_ACTION, life)),
            Revoke(number, "mark_misused", None),
        )
        return bodies[stage]

    def _evidence(self, kind: EvidenceKind, life: int) -> tuple[Evidence, ...]:
        digest = sha256(f"{self.number} {kind} {life}".encode()).digest()
        return (Evidence(kind, digest, self._bank, 1_000),)
