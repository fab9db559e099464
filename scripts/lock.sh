#!/usr/bin/env bash
# Renews requirements.lock, requirements-fuzz.lock for `make fuzz` alone, requirements-web.lock for JavaScript,
# requirements-browser.lock for `make browser` and requirements-spark.lock for `make spark`: with hashes for every Python admitted.
# Usage: lock.sh UV [--upgrade]. Versions already locked stay unless --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")/.."

options=(--quiet --universal --python-version 3.11 --generate-hashes
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "${@:2}")
"$1" pip compile pyproject.toml --extra dev --extra scan --extra analysis --output-file requirements.lock "${options[@]}"
for group in fuzz web browser spark; do
    "$1" pip compile --group "$group" --output-file "requirements-$group.lock" "${options[@]}"
done

# The files must install from whatever index a machine is set up with.
if grep -nE '://|file:|^-' requirements.lock requirements-*.lock; then
    echo "lock: a lock file names an index or a path (lines above)" >&2
    exit 1
fi
