"""An export as PySpark reads it; `python -m pytest -m spark`, where PySpark and Java are installed."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from tests.chainnode.analysis_fixtures import export, rows_of
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.rpc.conftest import statement

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
def test_spark_reads_the_same_rows_with_the_same_types(tmp_path: Path) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
    node = chain(30)
    node.now += 86_400_000
    grow(node, 5)
    served = Served(node.reader)
    export(tmp_path, policy_of(node), served, [served])
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    try:
        events = spark.read.parquet(str(tmp_path / "events"))
        payments = spark.read.parquet(str(tmp_path / "payments"))
        types = dict(payments.dtypes)
        assert (types["amount"], types["settlement_date"], types["pair_key"]) == ("decimal(38,0)", "date", "binary")
        assert (types["time"], types["applied"], types["day"]) == ("timestamp", "boolean", "date")
        found = sorted(events.collect(), key=lambda row: int(row["log_index"]))
        expected = rows_of(tmp_path)
        for name in ("event_id", "height", "index", "kind", "member", "source", "batch_number", "applied", "rule"):
            assert [row[name] for row in found] == [row[name] for row in expected], name
        total = payments.groupBy("currency").agg({"amount": "sum", "*": "count"}).collect()[0]
        amounts = [int(row["amount"]) for row in rows_of(tmp_path, "payments")]
        assert (total["currency"], total["count(1)"], total["sum(amount)"]) == ("CNY", 35, Decimal(sum(amounts)))
        assert amounts[0] == statement(1).amount
        assert payments.select("day").distinct().count() == 2
    finally:
        spark.stop()
