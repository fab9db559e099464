#!/usr/bin/env bash
# Fuzzes each target of tests/fuzz/targets.py by coverage, for SECONDS in all, and stops at the first finding.
# Usage: fuzz.sh VENV SECONDS. Installs atheris, which nothing else needs, from requirements-fuzz.lock.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
seconds=$2
folder=.fuzz

mkdir -p "$folder"
if ! "$venv/bin/python" -c 'import atheris' 2>/dev/null; then
    echo "fuzz: installing what requirements-fuzz.lock names"
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install \
        --require-hashes --only-binary :all: -r requirements-fuzz.lock || {
        echo "fuzz: atheris cannot be installed here (it has builds for Linux on x86_64 only): left out" >&2
        exit 0
    }
fi
# Messages twice: there is most behind them.
mapfile -t targets < <("$venv/bin/python" -c 'from tests.fuzz.targets import TARGETS; print("message", *TARGETS, sep="\n")')
for target in "${targets[@]}"; do
    log=$folder/$target.log
    if ! "$venv/bin/python" -m tests.fuzz.coverage_guided "$target" $((seconds / ${#targets[@]} + 1)) "$folder" > "$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: $target raised what it may not. Keep the input as a regression case:" >&2
        echo "  cp $(ls -t "$folder/found-$target-"* | head -n 1) tests/fuzz/crashes/$target-NAME" >&2
        exit 1
    fi
    echo "fuzz: $target: $(grep -o 'number_of_executed_units: *[0-9]*' "$log" | grep -o '[0-9]*$') inputs," \
        "$(ls "$folder/$target" | wc -l) kept for the code they reach"
done
