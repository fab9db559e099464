"""Exports of chains with every kind of event, and of chains that come to other rules: each row is its event."""

from __future__ import annotations

from pathlib import Path

from ledger.governance_bodies import ActivateRules
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.trust_policy import policy_text
from tests.chainnode.analysis_fixtures import export, rows_of
from tests.chainnode.mirror_fixtures import Served, policy_of
from tests.ledger.governance_fixtures import Council
from tests.ledger.snapshot_fixtures import make_stable
from tests.ledger.test_amendments import decided
from tests.rpc.rich_fixtures import RichNode, rich_node

__all__ = ["rich_node"]


def assert_rows_are_events(directory: Path, reader: LedgerReader) -> set[str]:
    """Hold each row against its event; return the kinds that there are."""
    tip = reader.tip()
    assert tip is not None
    views = [view for height in range(1, int(tip.height) + 1) for view in reader.block_events(height)]
    rows = rows_of(directory)
    assert len(rows) == len(views)
    for row, view in zip(rows, views, strict=True):
        assert (row["event_id"], row["log_index"]) == (view.id, view.position.log_index)
        assert (row["height"], row["index"]) == (view.position.height, view.position.index)
        assert (row["member"], row["schema"], row["source"]) == (view.event.member, view.event.schema, view.source)
        assert (row["applied"], row["rule"]) == (view.outcome.applied, view.outcome.rule or None)
        assert row["reference"] == view.event.reference
    return {row["kind"] for row in rows}


def test_events_of_every_kind_are_rows(rich_node: RichNode, tmp_path: Path) -> None:
    served = Served(rich_node.reader)
    export(tmp_path, policy_of(rich_node), served, [served])
    kinds = assert_rows_are_events(tmp_path, rich_node.reader)
    assert len(kinds) > 20
    assert {kind.partition(".")[0] for kind in kinds} >= {"certificate", "payment", "governance", "voucher", "wallet"}
    assert all(row["subject"] and row["body"] for row in rows_of(tmp_path, "certificates"))


def test_a_chain_that_comes_to_other_rules_is_exported_across_the_change(tmp_path: Path) -> None:
    council = Council(4, rules=(1, 2))
    height = council.chain.height + 40
    decided(council, ActivateRules(2, height))
    reader = LedgerReader(council.store, council.genesis)
    policy = policy_text(council.genesis, (first_span(council.genesis),))
    for stop in (height - 1, height + 3):
        while council.chain.height < stop:
            council.block()
        make_stable(council.store, council.genesis, council.set)
        done = export(tmp_path, policy, Served(reader), [Served(reader)], chunk_entries=5)
        assert (done.manifest.next_height, done.manifest.unproved) == (stop + 1, {"outcomes": 0, "batches": 0})
    versions = [header.version for each in range(height + 4) if (header := reader.header(each)) is not None]
    assert (versions[height - 1], versions[height]) == (1, 2)
    assert assert_rows_are_events(tmp_path, reader) == {"governance.propose", "governance.vote"}
