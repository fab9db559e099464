#!/usr/bin/env bash
# Plays what docs/certifying.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/certification/life.sh
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys
cd "$(mktemp -d)"
set -v
chainnode --as $K/bank-b-bank.key cert apply --product "Code board" --model QB-7 --version 1.1 --category 9 --holder-name "Bank B" --holder-id 91999900MA0DEMB0BC --scope "static codes" --serial 2026-101 --evidence $D/recall/documents.txt
chainnode --as $K/cb-reviewer.key cert accept bank-b.2026-101
chainnode --as $K/lab-laboratory.key cert evidence bank-b.2026-101 --evidence $D/recall/type.txt --evidence security_evaluation=$D/recall/security.txt
chainnode --as $K/ins-inspector.key cert evidence bank-b.2026-101 --evidence $D/recall/site.txt
chainnode --as $K/cb-reviewer.key cert review bank-b.2026-101 --evidence $D/recall/review.txt
chainnode --as $K/cb-decider.key cert issue bank-b.2026-101 --number FTP-2026-09-000101 --officer $K/cb-officer-1.key --officer $K/cb-officer-2.key
chainnode policy export -f recall.policy
chainnode cert bundle FTP-2026-09-000101 -f board.bundle
chainnode cert status FTP-2026-09-000101 --offline board.bundle --policy recall.policy
chainnode -o json cert show FTP-2026-09-000101 | grep -o '"valid_from": "[^"]*"' | cut -d '"' -f 4 | tee first-moment
chainnode --as $K/regulator-regulator.key cert revoke FTP-2026-09-000101 --reason forged_report --invalid-from $(cat first-moment) --prepare recall.json
chainnode cert approve recall.json --officer $K/regulator-officer-1.key
chainnode cert approve recall.json --officer $K/regulator-officer-2.key
chainnode --as $K/regulator-regulator.key cert decide recall.json
chainnode cert status FTP-2026-09-000101
chainnode cert status FTP-2026-09-000101 --at $(cat first-moment)
chainnode cert history FTP-2026-09-000101
chainnode cert bundle FTP-2026-09-000101 -f board.bundle
chainnode cert status FTP-2026-09-000101 --offline board.bundle --policy recall.policy || echo "status $?"
chainnode --as $K/bank-b-bank.key cert appeal FTP-2026-09-000101 --reason report_was_genuine --evidence $D/recall/appeal.txt
chainnode --as $K/regulator-appeals.key cert decide-appeal FTP-2026-09-000101 --dismissed --evidence $D/recall/opinion.txt
chainnode cert show FTP-2026-09-000101
