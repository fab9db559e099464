"""An auditor's metrics: named as Prometheus' own linter wants them, documented, and of bounded number."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from chainnode.audit_findings import Kind
from chainnode.audit_metrics import AuditMetrics
from tests.chainnode.auditor_fixtures import Desk
from tests.chainnode.mirror_fixtures import Served, chain, policy_of

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "auditing.md").read_text("utf-8")


def test_names_pass_the_rules_of_promtool_and_have_the_types_of_the_guide() -> None:
    metrics = AuditMetrics(version="0.1.0", start_time_s=12.0)
    held = []
    for family in text_string_to_metric_families(metrics.render().decode()):
        name = family.name
        assert re.fullmatch(r"chainnode_audit_[a-z][a-z0-9_]*[a-z0-9]", name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|kb|minutes|percent|counter|gauge|count|sum|bucket|total)\b", name)
        held.append((f"{name}_total" if family.type == "counter" else name, family.type))
    shown = re.findall(r"^\| `(chainnode_audit_\w+)` \| (\w+) \|", GUIDE, re.MULTILINE)
    assert sorted(shown) == sorted(held)


def test_a_round_is_shown_with_each_node_and_what_is_open(tmp_path: Path) -> None:
    node = chain(5, 3)
    desk = Desk(tmp_path, policy_of(node), node.now, entries=True)
    metrics = AuditMetrics(version="0.1.0", start_time_s=12.0)
    with desk.run(Served(node.reader, "http://a"), Served(chain(5, first=7).reader, "http://b")) as auditor:
        for _ in range(2):
            auditor.round()
            metrics.after(auditor, 90.0, 0.5)
    for row in desk.told:
        metrics.count(row)
    text = metrics.render().decode()
    for line in (
        "chainnode_audit_rounds_total 2.0",
        "chainnode_audit_last_round_time_seconds 90.0",
        f"chainnode_audit_log_size {node.chain.log_size}.0",
        f"chainnode_audit_entries_followed {node.chain.log_size}.0",
        f'chainnode_audit_node_log_size{{node="http://a"}} {node.chain.log_size}.0',
        'chainnode_audit_node_up{node="http://a"} 1.0',
        'chainnode_audit_findings_total{kind="fork",severity="critical"} 1.0',
        'chainnode_audit_findings_open{kind="fork",severity="critical"} 1.0',
        'chainnode_audit_findings_open{kind="stale",severity="warning"} 0.0',
    ):
        assert line in text
    assert text.count("chainnode_audit_findings_open{") == len(Kind)
