"""What an auditor counts: Prometheus metrics of its own, and whether it keeps up. Labels are closed sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from chainnode.audit_entries import EntryFollower
from chainnode.audit_findings import RAISED, RULES, Kind, count_open
from chainnode.auditor import Auditor

PREFIX: Final = "chainnode_audit_"

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation there


class AuditMetrics:
    """All metrics of one auditor; written after each round, read by the operations listener."""

    def __init__(self, *, version: str, start_time_s: float) -> None:
        self.registry = CollectorRegistry()
        self._gauge("info", "Always 1; its label says which version.", "version").labels(version).set(1)
        self._gauge("start_time_seconds", "When this process started, Unix time.").set(start_time_s)
        self.rounds = self._counter("rounds_total", "Rounds in which every node was asked.")
        self.round_time = self._gauge("last_round_time_seconds", "When the last round ended, Unix time.")
        self.round_seconds = self._gauge("last_round_duration_seconds", "How long the last round took.")
        self.size = self._gauge("log_size", "Leaves of the newest checkpoint of all nodes.")
        self.time = self._gauge("checkpoint_time_seconds", "When the newest checkpoint was cosigned, Unix time.")
        self.epoch = self._gauge("epoch", "Epoch of the validators who cosigned the newest checkpoint.")
        self.entries = self._gauge("entries_followed", "Entries of the log that were read.")
        self.ends = self._gauge("deadlines", "Ends that are known from the log.")
        self.node_size = self._gauge("node_log_size", "Leaves of a node's last good checkpoint, by node.", "node")
        self.up = self._gauge("node_up", "1 where a node's last answer was good, by node.", "node")
        self.findings = self._counter("findings_total", "Findings that this process told, by kind.", "kind", "severity")
        self.open = self._gauge("findings_open", "Findings that stand, by kind.", "kind", "severity")
        for kind, (severity, _) in RULES.items():
            self.findings.labels(kind.value, severity.value)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def count(self, row: Mapping[str, Any]) -> None:
        """Count a finding that was told; that one is over is no finding."""
        if row["state"] == RAISED:
            self.findings.labels(row["kind"], row["severity"]).inc()

    def after(self, auditor: Auditor, now_s: float, took_s: float) -> None:
        """Take note of how an auditor stands after a round."""
        self.rounds.inc()
        self.round_time.set(now_s)
        self.round_seconds.set(took_s)
        newest = auditor.heads.newest
        if newest is not None:
            self.size.set(newest.checkpoint.size)
            self.time.set(newest.checked.middle_s)
            self.epoch.set(newest.checked.epoch or 0)
        if isinstance(auditor.follower, EntryFollower):
            self.entries.set(auditor.follower.place)
            self.ends.set(len(auditor.follower.book.ends))
        for name, node in auditor.nodes.items():
            seen = auditor.heads.nodes.get(name)
            self.node_size.labels(name).set(0 if seen is None else seen.checkpoint.size)
            self.up.labels(name).set(int(node.seen is not None and not node.failed and not node.refused))
        for kind, count in count_open(auditor.findings.open.values()).items():
            self.open.labels(kind.value, RULES[Kind(kind)][0].value).set(count)

    def render(self) -> bytes:
        """Return Prometheus' text format."""
        return generate_latest(self.registry)
