#!/usr/bin/env bash
# Plays what docs/certifying.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/certification/life.sh
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys
cd "$(mktemp -d)"
set -v
