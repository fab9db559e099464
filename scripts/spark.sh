#!/usr/bin/env bash
# Reads an export by PySpark: the test that is marked `spark`, which nothing else runs.
# Usage: spark.sh VENV. Installs PySpark, which nothing else needs, from requirements-spark.lock.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
command -v java > /dev/null || {
    echo "spark: Java is not installed; on Debian: apt-get install openjdk-17-jre-headless" >&2
    exit 1
}
if ! "$venv/bin/python" -c 'import pyspark' 2> /dev/null; then
    echo "spark: installing what requirements-spark.lock names"
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --require-hashes -r requirements-spark.lock
fi
exec "$venv/bin/python" -m pytest -q -m spark tests/chainnode/test_audit_export_spark.py
