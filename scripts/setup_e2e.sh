#!/usr/bin/env bash
# What `make e2e` needs of the machine and pip cannot give: the library that sets one process's clock off, and the tools
# for network namespaces. Installed as root; otherwise one sentence says what to run. Runs do without what is missing, and
# each manifest that needed it is reported as not done.
set -euo pipefail

packages=()
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' > /dev/null || packages+=(faketime)
command -v ip > /dev/null && command -v tc > /dev/null || packages+=(iproute2)
command -v unshare > /dev/null && command -v nsenter > /dev/null || packages+=(util-linux)

if [[ ${#packages[@]} -gt 0 ]]; then
    install="apt-get install -y --no-install-recommends ${packages[*]}"
    if [[ $(id -u) -eq 0 ]] && command -v apt-get > /dev/null; then
        echo "setup: installing ${packages[*]}" >&2
        log=$(mktemp)
        { apt-get update && DEBIAN_FRONTEND=noninteractive $install; } > "$log" 2>&1 < /dev/null \
            || { tail -n 3 "$log" >&2; echo "setup: could not install; as root, run: $install" >&2; }
        rm -f "$log"
    else
        echo "setup: some manifests cannot be run without more packages; as root, run: $install" >&2
    fi
fi
