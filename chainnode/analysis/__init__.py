"""Auditors' analysis: the log as Parquet, and questions to it in SQL. Needs the extra `chainnode[analysis]`."""
