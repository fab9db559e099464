#!/usr/bin/env bash
# Renews requirements.lock: one file with hashes for every Python that pyproject.toml admits.
# Usage: lock.sh UV [--upgrade]. Versions already locked stay unless --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")/.."

"$1" pip compile pyproject.toml --extra dev --output-file requirements.lock --quiet \
    --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "${@:2}"

# The file must install from whatever index a machine is set up with.
if grep -nE '://|file:|^-' requirements.lock; then
    echo "lock: requirements.lock names an index or a path (lines above)" >&2
    exit 1
fi
