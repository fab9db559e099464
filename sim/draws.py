"""Random inspections in a simulated consortium: a draw of each life, led on by whoever has the next word in it.

The members vote for windows of a second first, as a day would outlast a run. A draw that comes to nothing is announced
anew once. As with the rest of a life (`sim.lives`), what is lost or late only slows it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from random import Random
from typing import Final

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Body, Evidence, ReportInspection, ResolveInspection
from ledger.governance_bodies import SetSchemePolicy
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawBody,
    DrawCategory,
    DrawInspection,
    RevealInspection,
)
from ledger.inspection_records import Inspection, Phase, read_inspection, read_report
from ledger.inspection_selection import commitment_of
from ledger.scheme_policy import read_scheme_policy
from ledger.state import StateView
from primitives.ids import Hash, TimeMs
from sim.cluster import Cluster
from sim.workload import START_MS, bank_of

WINDOW_S: Final = 1
WINDOW_MS: Final = 3_500
"""How long a draw takes commitments, and reveals: some steps of a life."""
CLOSING_MS: Final = 150
"""How long before their end somebody says that commitments have ended: some such words are just in time."""
COUNT: Final = 2
REPORT_DAYS: Final = 30
PROPOSED_MS, VOTED_MS = 100, 1_500

Word = tuple[int, Body | DrawBody]
"""A bank, and what it says."""


def plan_windows(cluster: Cluster) -> None:
    """Have the members vote for windows so short that draws come to their ends within a run."""
    cluster.schedule(START_MS + PROPOSED_MS, partial(_propose, cluster))


def _propose(cluster: Cluster) -> None:
    proposal = cluster.gateways.propose(0, SetSchemePolicy(None, None, None, None, WINDOW_S))
    banks = range(len(cluster.gateways.sources))
    cluster.schedule(cluster.now_ms + VOTED_MS, lambda: cluster.gateways.approve(proposal, banks))


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of one life: who announces, who examines, and what a node's state holds of them."""

    announcer: int
    inspector: int
    banks: int
    name: str
    category: int
    chain_id: Hash
    now_ms: TimeMs
    state: StateView

    def next(self, random: Random, text: str) -> Word | None:
        """Return what leads on; `text` tells its documents from others. None where nothing is to be done."""
        if read_scheme_policy(self.state).inspection_window_s_min > WINDOW_S:
            return None
        first = read_inspection(self.state, self._id(0))
        if first is None:
            return self._announce(0, None)
        if first.phase is not Phase.VOID:
            return self._of(first, random, text)
        again = read_inspection(self.state, self._id(1))
        return self._announce(1, first.id) if again is None else self._of(again, random, text)

    def _id(self, turn: int) -> str:
        return f"{bank_of(self.announcer)}.{self.name}-{turn}"

    def _announce(self, turn: int, replaces: str | None) -> Word:
        until = self.now_ms + WINDOW_MS
        categories = (DrawCategory(self.category, 1),)
        body = AnnounceInspection(self._id(turn), categories, COUNT, until, until + WINDOW_MS, REPORT_DAYS, replaces)
        return self.announcer, body

    def _of(self, draw: Inspection, random: Random, text: str) -> Word | None:
        anybody = random.randrange(self.banks)
        match draw.phase:
            case Phase.ANNOUNCED if self.now_ms < draw.commit_until_ms - CLOSING_MS:
                return self._commit(draw, anybody)
            case Phase.ANNOUNCED:
                return anybody, CloseInspection(draw.id)
            case Phase.CLOSED | Phase.DRAWING:
                return self._go_on(draw, anybody)
            case Phase.DRAWN:
                return self._report(draw, random, text)
            case _:
                return None

    def _commit(self, draw: Inspection, bank: int) -> Word:
        member = bank_of(bank)
        return bank, CommitInspection(draw.id, commitment_of(self.chain_id, draw.id, member, _secret(draw, member)))

    def _go_on(self, draw: Inspection, anybody: int) -> Word:
        assert draw.reveal_until_ms is not None, "closed draws have a closing"
        if not draw.missing or self.now_ms >= draw.reveal_until_ms:
            return anybody, DrawInspection(draw.id)
        member = draw.missing[0]
        bank = next(bank for bank in range(self.banks) if bank_of(bank) == member)
        return bank, RevealInspection(draw.id, _secret(draw, member))

    def _report(self, draw: Inspection, random: Random, text: str) -> Word | None:
        """Report on what was drawn, or say that what was found was corrected; some reports and words are refused."""
        for item in draw.selection:
            report = read_report(self.state, draw.id, item.number)
            if report is None:
                passed = random.random() < 0.4
                found = () if passed else ("seal_broken",)
                grave = not passed and random.random() < 0.5
                visit = (_document(EvidenceKind.SITE_CHECK, text, self.inspector),)
                return self.inspector, ReportInspection(draw.id, item.number, passed, grave, found, None, visit)
            if not report.passed and report.resolved is None:
                fixed = (_document(EvidenceKind.CORRECTIVE_ACTION, text, self.announcer),)
                return self.announcer, ResolveInspection(draw.id, item.number, fixed)
        return None


def _secret(draw: Inspection, member: str) -> bytes:
    return sha256(f"secret {draw.id} {member}".encode()).digest()


def _document(kind: EvidenceKind, text: str, bank: int) -> Evidence:
    return Evidence(kind, sha256(f"{kind} of a draw {text}".encode()).digest(), bank_of(bank), 1_000)
