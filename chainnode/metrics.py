"""What a node counts: one registry of Prometheus metrics, `chainnode_…`, in base units (seconds, bytes).

Here: the names, their meaning and labels. Not here: the HTTP listener (`rpc`), when to count (`node`). Labels are
closed sets (reasons, kinds, members of the chain), so that a peer cannot grow the registry: `reason_label` maps what is
not a slug of ours to `other`.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from chainnode.commit_minutes import CommitMinutes, quantile
from chainnode.expiry import count_by_band
from rpc.ports import Activity, Ending

LABEL_VALUES_MAX = 256
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,47}")
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Finer, so that percentiles read from it are good to a fifth.
PHASE_SECONDS = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.01, 0.012, 0.015, 0.018, 0.022, 0.027),
    *(0.033, 0.04, 0.048, 0.058, 0.07, 0.085, 0.1, 0.12, 0.15, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1),
    *(1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 30.0),
)
FSYNC_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)


# The time when a series was made is in no dashboard, and doubles the series.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation there


class NodeMetrics:
    """All metrics of one node; owned by the node's loop, read by the operations listener."""

    def __init__(self, *, node: str = "", member: str = "", version: str = "", start_time_s: float = 0.0) -> None:
        self.registry = CollectorRegistry()
        self._labels: dict[str, set[str]] = {}
        self._of_fsync: dict[str, tuple[Counter, Histogram]] = {}
        self._of_topic: dict[str, Counter] = {}
        self._of_call: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._consensus()
        self._traffic()
        self._ledger()
        self.commit_minutes = CommitMinutes(PHASE_SECONDS)
        self._messages = MessageTally()
        self.registry.register(self._messages)
        self._process = ProcessUsage()
        self.registry.register(self._process)
        info = self._gauge(
            "chainnode_info", "Always 1; its labels say which node and version.", "node", "member", "version"
        )
        info.labels(node, member, version).set(1)
        self.start_time = self._gauge("chainnode_start_time_seconds", "When this process started, Unix time.")
        self.start_time.set(start_time_s)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _consensus(self) -> None:
        self.height = self._gauge("chainnode_height", "Newest delivered height.")
        self.certified_height = self._gauge(
            "chainnode_certified_height", "Highest height known to be certified anywhere."
        )
        self.epoch = self._gauge("chainnode_epoch", "Epoch of the validator set.")
        self.view = self._gauge("chainnode_view", "View that this node is in.")
        self.leader = self._gauge("chainnode_is_leader", "1 while this node leads its view.")
        self.catching_up = self._gauge(
            "chainnode_catching_up", "1 while this node fetches blocks certified without it."
        )
        self.behind_blocks = self._gauge("chainnode_behind_blocks", "Blocks that others have and this node lacks.")
        self.proved_time = self._gauge(
            "chainnode_proved_time_seconds", "Until when this node can prove how the chain stood, Unix time."
        )
        self.view_changes = self._counter(
            "chainnode_view_changes_total", "Views left, by what made this node leave.", "reason"
        )
        self.evidence = self._counter(
            "chainnode_evidence_total", "Contradicting signed pairs seen, by validator.", "validator"
        )
        self.rivals = self._counter(
            "chainnode_source_contradictions_total", "Sources seen to sign two batches that cannot both be."
        )
        self.evidence_recorded = self._gauge("chainnode_evidence_recorded", "Evidence recorded on the chain.")
        self.proposal_times_refused = self._counter(
            "chainnode_proposal_times_refused_total",
            "Proposals refused because their time and this node's clock are too far apart.",
        )
        self.checkpoint_size = self._gauge("chainnode_checkpoint_size", "Log size of the newest stable checkpoint.")
        self.witness_cosignatures = self._counter(
            "chainnode_witness_cosignatures_total", "Cosignatures of outside witnesses, by witness.", "witness"
        )
        self.witness_failures = self._counter(
            "chainnode_witness_failures_total",
            "Times that a witness did not cosign, by witness and reason.",
            "witness",
            "reason",
        )
        self.witness_size = self._gauge(
            "chainnode_witness_size", "Log size that a witness cosigned last, by witness.", "witness"
        )
        self.commit_latency = self._histogram(
            "chainnode_commit_latency_seconds", "From a batch's submission here to its commit.", LATENCY_SECONDS
        )
        self.submission_phase = self._histogram(
            "chainnode_submission_phase_seconds",
            "From a batch's arrival here until it was so far, by phase: received, ordered, committed.",
            PHASE_SECONDS,
            "phase",
        )
        self.block_interval = self._histogram(
            "chainnode_block_interval_seconds", "Between two deliveries of a block.", LATENCY_SECONDS
        )

    def _traffic(self) -> None:
        self.peers = self._gauge("chainnode_peers", "Connected peers.")
        self.dropped = self._counter(
            "chainnode_messages_dropped_total", "Messages refused or dropped, by reason.", "reason"
        )
        self.disconnects = self._counter(
            "chainnode_disconnects_total", "Links to peers that ended, by reason.", "reason"
        )
        self.refused = self._counter(
            "chainnode_connections_refused_total", "Connections not accepted, by reason.", "reason"
        )
        self.bans = self._counter("chainnode_peer_bans_total", "Times that a peer was shut out.")
        self.held_back = self._counter(
            "chainnode_peer_held_back_seconds_total", "Time that peers were over their quota."
        )
        self.requests = self._counter(
            "chainnode_rpc_requests_total", "RPC calls, by method and result.", "method", "result"
        )
        self.request_seconds = self._histogram(
            "chainnode_rpc_request_duration_seconds", "Time to answer an RPC call.", LATENCY_SECONDS, "method"
        )

        self.subscriptions = self._gauge("chainnode_subscriptions", "Subscriptions, by topic.", "topic")
        self.notifications = self._counter(
            "chainnode_notifications_total", "Notifications handed to connections, by topic.", "topic"
        )
        self.slow_subscribers = self._counter(
            "chainnode_slow_subscribers_total", "Connections closed because their client did not keep up."
        )

    def _ledger(self) -> None:
        self.events = self._counter("chainnode_events_committed_total", "Events delivered, by outcome.", "outcome")
        self.blocks = self._counter("chainnode_blocks_committed_total", "Blocks delivered.")
        self.batches = self._counter("chainnode_batches_committed_total", "Batches delivered.")
        self.log_size = self._gauge("chainnode_log_size", "Leaves of the log.")
        self.archived_height = self._gauge("chainnode_archived_height", "Height up to which bodies were archived.")
        self.archive_missing = self._gauge(
            "chainnode_archive_missing_height",
            "Highest block whose archived bodies are in no archive here; 0 for none.",
        )
        self.expiry = self._gauge(
            "chainnode_expiry_timestamp_seconds", "When a TLS certificate or root CA ends, Unix time.", "kind", "name"
        )
        self.ending = self._gauge(
            "chainnode_certificates_ending",
            "TLS certificates and root CAs that end within so many days.",
            "within_days",
        )
        self.products_ending = self._gauge(
            "chainnode_product_certificates_ending", "Certificates of products that end within 30 days."
        )
        self.deadlines = self._gauge(
            "chainnode_certificate_deadlines",
            "What is so of certificates, by kind; of moments that are ahead, those within 90 days.",
            "kind",
        )
        self.payments = self._gauge(
            "chainnode_payments_reconciliation",
            "Payments by how both sides' statements stand; `unpaired` counts statements without a pair key.",
            "state",
        )
        self.totals = self._gauge(
            "chainnode_payments_totals",
            "End-of-day totals of two banks, a day and a currency, by how both sides' stand.",
            "state",
        )
        self.reconciled_height = self._gauge(
            "chainnode_reconciliation_height", "The block up to which the index of reconciliation has followed."
        )
        self.pool_batches = self._gauge("chainnode_pool_batches", "Batches waiting for a block.")
        self.pool_bytes = self._gauge("chainnode_pool_bytes", "Bytes of the batches waiting for a block.")
        self.gateway_pending = self._gauge("chainnode_gateway_pending_events", "Own events waiting to be committed.")
        self.gateway_waiting = self._gauge(
            "chainnode_gateway_waiting_bytes", "Bytes that wait at the gateway, batches' own cost included."
        )
        self.gateway_room = self._gauge(
            "chainnode_gateway_room_bytes", "Bytes that may wait at the present pace; above, submissions are refused."
        )
        self.submissions = self._counter("chainnode_submissions_total", "Events submitted here, by status.", "status")
        self.fsyncs = self._counter("chainnode_fsyncs_total", "Synced writes, by file.", "file")
        self.fsync_seconds = self._histogram(
            "chainnode_fsync_duration_seconds", "Time of a synced write.", FSYNC_SECONDS, "file"
        )
        self.wal_bytes = self._gauge("chainnode_wal_bytes", "Size of the write-ahead log.")
        self.loop_lag = self._histogram("chainnode_loop_lag_seconds", "How late the node's loop ran.", FSYNC_SECONDS)

    def ends(self, endings: Sequence[Ending], now_ms: int) -> None:
        """Take over what ends when; of several of a kind and name the first to end, of very many the first ones."""
        for days, count in count_by_band(endings, now_ms).items():
            self.ending.labels(str(days)).set(count)
        self.expiry.clear()
        first = {(item.kind, item.name): item for item in sorted(endings, key=lambda item: -item.ends_ms)}
        for item in sorted(first.values(), key=lambda item: item.ends_ms)[:LABEL_VALUES_MAX]:
            self.expiry.labels(item.kind, item.name).set(item.ends_ms / 1_000)

    def reason_label(self, reason: str, *, of: str = "reason") -> str:
        """Return a label value that is surely one of few: the slug itself, or `other`."""
        known = self._labels.setdefault(of, set())
        if reason in known:
            return reason
        if len(known) >= LABEL_VALUES_MAX or not _SLUG.fullmatch(reason):
            return "other"
        known.add(reason)
        return reason

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Count messages that were refused or dropped."""
        self.dropped.labels(self.reason_label(reason, of="dropped")).inc(count)

    def count_messages(self, direction: str, kind: str, count: int, size: int) -> None:
        """Count messages of `size` bytes of payload that came `in`, or were queued to go `out`; on one thread."""
        self._messages.count(direction, kind, count, size)

    def count_disconnect(self, reason: str) -> None:
        """Count a link that ended."""
        self.disconnects.labels(self.reason_label(reason, of="disconnect")).inc()

    def peer_disconnected(self, peer: str, reason: str) -> None:
        """An established link ended (the port of `p2p`)."""
        del peer
        self.count_disconnect(reason)

    def connection_refused(self, reason: str) -> None:
        """A connection did not become a link (the port of `p2p`)."""
        self.refused.labels(self.reason_label(reason, of="refused")).inc()

    def refusals(self) -> list[tuple[str, int]]:
        """Return how many connections did not become a link, by reason, the most frequent first."""
        found = [
            (sample.labels["reason"], int(sample.value))
            for family in self.refused.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        ]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def peer_banned(self, peer: str, duration_ms: int) -> None:
        """A peer is shut out for a time (the port of `p2p`)."""
        del peer, duration_ms
        self.bans.inc()

    def peer_held_back(self, peer: str, duration_ms: int) -> None:
        """Reading from a peer was paused (the port of `p2p`)."""
        del peer
        self.held_back.inc(duration_ms / 1_000)

    def message_dropped(self, peer: str, lane: object) -> None:
        """A queue to a peer was full (the port of `p2p`); `lane` is an enumeration's member."""
        del peer
        self.count_dropped(f"queue_full_{str(getattr(lane, 'name', lane)).lower()}")

    def called(self, method: str, code: int, seconds: float) -> None:
        """Count one RPC call (the port of `rpc`); `method` is a registered name or `unknown`, `code` 0 for success."""
        found = self._of_call.get((method, code))
        if found is None:
            found = self.requests.labels(method, "ok" if code == 0 else str(code)), self.request_seconds.labels(method)
            self._of_call[method, code] = found
        found[0].inc()
        found[1].observe(seconds)

    def subscribed(self, topic: str, change: int) -> None:
        """Count a subscription that began (1) or ended (-1) (the port of `rpc`); `topic` is one of the API's."""
        self.subscriptions.labels(topic).inc(change)

    def notified(self, topic: str, count: int) -> None:
        """Count notifications that were handed to a connection (the port of `rpc`)."""
        found = self._of_topic.get(topic)
        if found is None:
            found = self._of_topic[topic] = self.notifications.labels(topic)
        found.inc(count)

    def subscriber_slow(self) -> None:
        """Count a connection that was closed because its client did not keep up (the port of `rpc`)."""
        self.slow_subscribers.inc()

    def observe_fsync(self, file: str, seconds: float) -> None:
        """Count one synced write and its time."""
        found = self._of_fsync.get(file)
        if found is None:
            found = self._of_fsync[file] = self.fsyncs.labels(file), self.fsync_seconds.labels(file)
        found[0].inc()
        found[1].observe(seconds)

    def position(self, *, height: int, view: int, epoch: int, is_leader: bool, catching_up: bool) -> None:
        """Set where the replica stands."""
        self.height.set(height)
        self.view.set(view)
        self.epoch.set(epoch)
        self.leader.set(is_leader)
        self.catching_up.set(catching_up)

    def activity(self) -> Activity:
        """Return what the explorer's first page tells of this process."""
        buckets = list(_samples(self.submission_phase, phase="committed"))
        count = int(buckets[-1][1]) if buckets else 0
        quantiles = (quantile(buckets, 0.5) * 1_000, quantile(buckets, 0.95) * 1_000) if count else None
        return Activity(
            since_ms=int(_total(self.start_time) * 1_000),
            view_changes=int(_total(self.view_changes)),
            evidence_seen=int(_total(self.evidence) + _total(self.rivals)),
            commit_ms=quantiles,
            batches_submitted=count,
            minutes=self.commit_minutes.rows(),
        )

    def render(self) -> bytes:
        """Return the exposition in Prometheus' text format, for /metrics."""
        return generate_latest(self.registry)


def _total(metric: Counter | Gauge) -> float:
    """Return the sum over all labels."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)


def _samples(metric: Histogram, **labels: str) -> Iterator[tuple[float, float]]:
    """Yield upper bound and cumulative count of each bucket under these labels."""
    for family in metric.collect():
        for sample in family.samples:
            fits = all(sample.labels.get(name) == value for name, value in labels.items())
            if sample.name.endswith("_bucket") and fits:
                yield float(sample.labels["le"]), sample.value


class MessageTally(Collector):
    """Messages and bytes since the start: plain numbers, since counters with locks cost more than handling a frame.

    One thread counts, any may read: totals only grow.
    """

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str], list[int]] = {}

    def count(self, direction: str, kind: str, count: int, size: int) -> None:
        """Add messages of `size` bytes each."""
        found = self._totals.get((direction, kind))
        if found is None:
            found = self._totals[direction, kind] = [0, 0]
        found[0] += count
        found[1] += count * size

    def collect(self) -> list[CounterMetricFamily]:
        """Return the current values."""
        messages = CounterMetricFamily(
            "chainnode_messages_total", "Messages, by direction and kind.", labels=("direction", "kind")
        )
        sizes = CounterMetricFamily(
            "chainnode_message_bytes_total", "Payload bytes, by direction.", labels=("direction",)
        )
        bytes_of: dict[str, int] = {}
        for (direction, kind), (count, size) in list(self._totals.items()):
            messages.add_metric((direction, kind), count)
            bytes_of[direction] = bytes_of.get(direction, 0) + size
        for direction, size in bytes_of.items():
            sizes.add_metric((direction,), size)
        return [messages, sizes]


class ProcessUsage(Collector):
    """CPU time, memory and open files of this process, read from /proc at each scrape; nothing where there is none."""

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the current values."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        rows = [
            ("chainnode_process_cpu_seconds", "CPU time of this process.", used.ru_utime + used.ru_stime),
        ]
        try:
            with open("/proc/self/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
            rows.append(("chainnode_process_resident_memory_bytes", "Resident memory.", pages * resource.getpagesize()))
            rows.append(("chainnode_process_open_fds", "Open file descriptors.", len(os.listdir("/proc/self/fd"))))
        except OSError:
            pass
        return [GaugeMetricFamily(name, text, value=value) for name, text, value in rows]
