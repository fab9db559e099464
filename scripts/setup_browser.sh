#!/usr/bin/env bash
# What `make browser` needs: Playwright, from requirements-browser.lock, and Debian's Chromium with fonts for Chinese.
# Packages of the system are installed as root; otherwise one sentence says what to run. Usage: setup_browser.sh VENV.
# Prints to stderr only. Status 1 where a browser is missing in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

venv=$1
stamp=$venv/.browser-stamp
packages=()

say() { echo "setup: $*"; }

look() {
    packages=()
    command -v chromium > /dev/null || packages+=(chromium)
    compgen -G '/usr/share/fonts/opentype/noto/NotoSansCJK-*' > /dev/null || packages+=(fonts-noto-cjk)
}

look
if [[ ${#packages[@]} -gt 0 && $(id -u) -eq 0 ]] && command -v apt-get > /dev/null; then
    say "installing ${packages[*]}"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
        > "$log" 2>&1 < /dev/null || tail -n 3 "$log"
    look
fi
if [[ ${#packages[@]} -gt 0 ]]; then
    say "not there: ${packages[*]}. As root, run: apt-get install -y --no-install-recommends ${packages[*]}"
fi
command -v chromium > /dev/null || exit 1

key=$({ pwd -P; cat requirements-browser.lock "$0" "$venv/.setup-stamp"; } | sha256sum | cut -d ' ' -f 1)
if [[ -f $stamp && $(<"$stamp") == "$key" ]]; then exit 0; fi
say "installing what requirements-browser.lock names"
"$venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check --no-input install \
    --require-hashes --only-binary :all: -r requirements-browser.lock
echo "$key" > "$stamp"
