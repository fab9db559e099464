#!/usr/bin/env bash
# Plays what a bank's first day in docs/payments.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/first-day/first-day.sh
set -eu -o pipefail
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys N=$CHAINNODE_LOCALNET/nodes
cd "$(mktemp -d)"
set -v
