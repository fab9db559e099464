"""What the benchmarks submit of certificates: whole lives, each event after the one that it rests on.

A life is nine events of five parties: apply, accept, test, check, review, grant, suspend, restore, revoke; two
officers sign the grant and the revocation. In a step each party says what it has to say about the lives that stand at
its stages, and a wave of new lives begins; the next step begins when all of that is committed, since an event that
comes before its ground would be rejected.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256

from bench.workload import EVENT_LIFETIME_MS, BenchSource
from ledger.approvals import signed_by
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
from ledger.certificate_records import NO_HISTORY, History
from ledger.certificates import CERTIFICATE_KINDS
from ledger.events import Event, event_id
from primitives.encoding import encode
from primitives.ids import Hash
from primitives.keys import SigningKey

LIVES_A_WAVE = 25
CATEGORY = 6
DESKS = ("bank", "desk", "reviewer", "decider", "laboratory", "inspector")
STAGES = ("bank", "desk", "laboratory", "inspector", "reviewer", "decider", "desk", "desk", "desk")
"""Who says the event of each stage."""

_KIND_OF = {body: (spec.kind, schema) for spec in CERTIFICATE_KINDS for schema, body in spec.schemas.items()}


class Group:
    """A bank and the desks that deal with its certificates, each with a source of its own."""

    def __init__(self, number: int, desks: dict[str, BenchSource], officers: Sequence[SigningKey]) -> None:
        """Take the desks and the keys of two officers of the certification body."""
        assert desks.keys() == set(DESKS)
        self.number, self.desks = number, desks
        self._officers = officers
        self._histories: dict[int, History] = {}
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
            self._said_of(source, stage, first + (step - stage) * LIVES_A_WAVE + life, now_ms)
            for stage, who in enumerate(STAGES)
            if who == desk and 0 <= step - stage < count
            for life in range(LIVES_A_WAVE)
        ]
        return (source.signed(events), len(events)) if events else (b"", 0)

    def _said_of(self, source: BenchSource, stage: int, life: int, now_ms: int) -> bytes:
        """Return the event of a life's stage; what officers decide is upon what was said of the life before.

        They grant upon the application's events and revoke upon the rulings on the certificate, of which its grant is
        the first (`ledger.scheme_checks.decided_upon`).
        """
        body, history = self._body(stage, life), self._histories.pop(life, NO_HISTORY)
        if isinstance(body, Grant | Revoke):
            body = signed_by(Hash(source.chain_id), body, history, self._officers)
        data = encode(body)
        kind, schema = _KIND_OF[type(body)]
        reference = sha256(b"%d " % self.number + data).digest()[:16]
        event = encode(Event(source.member, reference, now_ms + EVENT_LIFETIME_MS, kind, schema, data))
        if stage + 1 < len(STAGES):
            history = NO_HISTORY if isinstance(body, Grant) else history
            self._histories[life] = history.after(event_id(event, kind), now_ms)
        return event

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
