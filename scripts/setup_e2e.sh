#!/usr/bin/env bash
# What `make e2e` needs of the machine and pip cannot give: the library that sets one process's clock off, and the tools
# for network namespaces and small disks. Installed as root; otherwise one sentence says what is missing, what for, and
# what to run. Runs do without what is missing, and each manifest that needed it is reported as not done.
set -euo pipefail
# Where Debian has `tc`; users other than root do not look there.
PATH="$PATH:/usr/sbin:/sbin"

packages=() faults=()

lacks() { # package, then the faults that need it
    packages+=("$1")
    faults+=("$2")
}

look() {
    packages=() faults=()
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' > /dev/null || lacks faketime 'wrong clocks'
    command -v ip > /dev/null && command -v tc > /dev/null || lacks iproute2 'cuts and narrow links of cables'
    command -v unshare > /dev/null && command -v nsenter > /dev/null || lacks util-linux 'cables and full disks'
    command -v mount > /dev/null || lacks mount 'cables and full disks'
}

say() {
    echo "setup: $*" >&2
}

look
if [[ ${#packages[@]} -gt 0 && $(id -u) -eq 0 ]] && command -v apt-get > /dev/null; then
    say "installing ${packages[*]}"
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
        > "$log" 2>&1 < /dev/null || tail -n 3 "$log" >&2
    rm -f "$log"
    look
fi
if [[ ${#packages[@]} -gt 0 ]]; then
    what=$(printf '%s, ' "${faults[@]}")
    say "not there: ${packages[*]}. Manifests that need them are not done (${what%, })." \
        "As root, run: apt-get install -y --no-install-recommends ${packages[*]}"
fi
if [[ $(id -u) -ne 0 ]]; then
    say 'not root: manifests with network namespaces are not done, and a full disk is a limit on the size of files'
fi
