"""The benchmark of proofs: a small store is filled, and every figure is of proofs that verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import proofs
from ledger.store_leveldb import LevelDBStore


def test_a_small_run_prints_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--events", "25", "--certificates", "6", "--proofs", "4", "--fsck", "--directory", str(tmp_path)]
    assert proofs.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["events"], figures["certificates"]) == (25, 6)
    for kind, size in (("receipt", "bytes_without_event"), ("status_proof", "bytes")):
        assert 1_000 < figures[kind][size]["median"] <= figures[kind][size]["most"] < 6_144
        for time in ("made_ms", "verified_ms_beside_signatures", "signatures_ms"):
            assert 0 < figures[kind][time]["median"] <= figures[kind][time]["p99"]
    assert figures["log_us_per_event"]["blocks_of_10000"] > 0
    assert figures["fsck"]["events_per_second"] > 0
    assert list(tmp_path.iterdir()) == []


def test_what_an_event_takes_in_a_receipt_is_not_counted(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "ledger.ldb")
    made = proofs.fill(store, 3, 1, lambda _: None)
    reader = made.reader(store)
    view = reader.event_at(1, 2)
    assert view is not None
    text = proofs.make_receipt(reader, view.id)
    assert text is not None
    counted = proofs._event_text(text)
    assert abs(counted - len(view.event_bytes) * 4 / 3) <= 4
    store.close()
