#!/usr/bin/env bash
# Plays what docs/certifying.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/certification/life.sh
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys
cd "$(mktemp -d)"
set -v
for serial in 201 202 203; do $D/certified.sh 7 $serial; done
date -u -d "+1 minute" +%FT%TZ > commit-until; date -u -d "+10 minutes" +%FT%TZ > reveal-until
chainnode --as $K/regulator-regulator.key cert inspection announce 2026-q3 --category 7 --count 1 --commit-until $(cat commit-until) --reveal-until $(cat reveal-until) || echo "status $?"
chainnode --as $K/bank-a-bank.key member propose scheme-policy inspection_window_s_min=5 2>progress
chainnode -o json member status | grep -o '"id": "[^"]*"' | cut -d '"' -f 4 > proposal
for bank in bank-a bank-b bank-c; do chainnode --as $K/$bank-bank.key member approve $(cat proposal) --officer $K/$bank-governance.key 2>progress; done
chainnode member policy | grep inspection_window
date -u -d "+15 seconds" +%FT%TZ | tee commit-until
chainnode --as $K/regulator-regulator.key cert inspection announce 2026-q4 --category 7 --count 1 --commit-until $(cat commit-until) --reveal-until $(cat reveal-until)
for who in regulator-regulator lab-laboratory auditor-auditor; do chainnode --as $K/$who.key cert inspection commit regulator.2026-q4 --secret-file $who.secret; done
chainnode --as $K/lab-laboratory.key cert inspection reveal regulator.2026-q4 --secret-file lab-laboratory.secret || echo "status $?"
while [ $(date +%s) -le $(date -d $(cat commit-until) +%s) ]; do sleep 1; done
chainnode --as $K/switch-switch.key cert inspection close regulator.2026-q4
for who in regulator-regulator lab-laboratory auditor-auditor; do chainnode --as $K/$who.key cert inspection reveal regulator.2026-q4 --secret-file $who.secret; done
chainnode --as $K/switch-switch.key cert inspection draw regulator.2026-q4
chainnode -o json cert inspection show regulator.2026-q4 | grep -o '"number": "[^"]*"' | cut -d '"' -f 4 | tee drawn
chainnode --as $K/ins-inspector.key cert inspection report regulator.2026-q4 $(cat drawn) --failed --grave --finding seal_broken --evidence $D/inspection/visit.txt
chainnode cert status $(cat drawn) --proof suspended.proof || echo "status $?"
chainnode --as $K/cb-reviewer.key cert inspection resolve regulator.2026-q4 $(cat drawn) --evidence $D/inspection/corrections.txt
chainnode --as $K/cb-decider.key cert restore $(cat drawn) --evidence $D/inspection/again.txt
chainnode cert inspection show regulator.2026-q4
chainnode policy export -f policy
chainnode cert inspection replay regulator.2026-q4 --prove --policy policy --export draw.json
chainnode cert inspection replay --file draw.json
sed 's/"eligible": 3/"eligible": 2/' draw.json > changed.json
chainnode cert inspection replay --file changed.json || echo "status $?"
