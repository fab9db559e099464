"""Auditors over logs in memory: one state directory, as many runs as a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainnode.audit_entries import open_follower
from chainnode.audit_findings import Findings
from chainnode.auditor import Auditor, Limits, open_auditor
from chainnode.log_source import LogSource
from chainnode.monitoring import Trust
from ledger.policy import DAY_MS


@dataclass
class Desk:
    """An auditor's desk: a state directory, a policy, a clock, and what was told."""

    directory: Path
    policy: str
    now_ms: int
    limits: Limits = field(default_factory=Limits)
    entries: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def run(self, *sources: LogSource) -> Iterator[Auditor]:
        """Start an auditor where the last one stood."""
        findings = Findings(self.directory / "findings.jsonl", lambda: self.now_ms, self.told.append)
        auditor = open_auditor(self.directory, Trust(self.policy), findings, sources, self.limits)
        auditor.now_s = lambda: self.now_ms / 1_000
        if self.entries:
            warn_ms = int(self.limits.warn_days * DAY_MS)
            auditor.follower = open_follower(self.directory, findings, lambda: self.now_ms, warn_ms)
        try:
            yield auditor
        finally:
            auditor.close()

    def look(self, *sources: LogSource, rounds: int = 1) -> list[dict[str, Any]]:
        """Make rounds by a new run; return what it told."""
        before = len(self.told)
        with self.run(*sources) as auditor:
            for _ in range(rounds):
                auditor.round()
        return self.told[before:]

    def kinds(self, *sources: LogSource, rounds: int = 1) -> list[str]:
        """Make rounds by a new run; return the kinds of what it found, over or not."""
        return [f"{row['kind']} {row['state']}" for row in self.look(*sources, rounds=rounds)]
