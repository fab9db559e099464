#!/usr/bin/env bash
# Plays what docs/certifying.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/certification/life.sh
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys
cd "$(mktemp -d)"
set -v
chainnode --as $K/bank-a-bank.key cert apply --product "Counter terminal" --model CT-1 --version 2.0 --category 6 --holder-name "Bank A" --holder-id 300300BANKA000DEMO04 --scope contact --scope contactless --serial 2026-101 --evidence $D/first/documents.txt || echo "status $?"
chainnode --as $K/bank-a-bank.key cert apply --product "Counter terminal" --model CT-1 --version 2.0 --category 6 --holder-name "Bank A" --holder-id 300300BANKA000DEMO03 --scope contact --scope contactless --serial 2026-101 --evidence $D/first/documents.txt
chainnode --as $K/cb-reviewer.key cert accept bank-a.2026-101
chainnode --as $K/lab-laboratory.key cert evidence bank-a.2026-101 --evidence $D/first/type.txt --evidence security_evaluation=$D/first/security.txt
chainnode --as $K/ins-inspector.key cert evidence bank-a.2026-101 --evidence $D/first/site.txt
chainnode --as $K/cb-reviewer.key cert review bank-a.2026-101 --evidence $D/first/review.txt
chainnode cert application bank-a.2026-101
chainnode --as $K/cb-reviewer.key cert issue bank-a.2026-101 --number FTP-2026-06-000101 --officer $K/cb-officer-1.key --officer $K/cb-officer-2.key || echo "status $?"
chainnode --as $K/cb-decider.key cert issue bank-a.2026-101 --number FTP-2026-06-000101 || echo "status $?"
chainnode --as $K/cb-decider.key cert issue bank-a.2026-101 --number FTP-2026-06-000101 --months 5 --prepare grant.json
chainnode cert approve grant.json --officer $K/cb-officer-1.key
chainnode cert approve grant.json --officer $K/cb-officer-1.key || echo "status $?"
chainnode --as $K/cb-decider.key cert decide grant.json || echo "status $?"
chainnode cert approve grant.json --officer $K/cb-officer-2.key
chainnode --as $K/cb-decider.key cert decide grant.json
chainnode --as $K/cb-decider.key cert decide grant.json || echo "status $?"
chainnode cert status FTP-2026-06-000101
chainnode --as $K/ins-inspector.key cert surveil FTP-2026-06-000101 --passed --evidence $D/surveillance-1.txt
chainnode --as $K/bank-a-bank.key cert apply-change FTP-2026-06-000101 --scope contact --scope contactless --scope barcode --serial 2026-102 --evidence $D/change/documents.txt
chainnode --as $K/cb-reviewer.key cert accept bank-a.2026-102
chainnode --as $K/lab-laboratory.key cert evidence bank-a.2026-102 --evidence $D/change/type.txt --evidence security_evaluation=$D/change/security.txt
chainnode --as $K/ins-inspector.key cert evidence bank-a.2026-102 --evidence $D/change/site.txt
chainnode --as $K/cb-reviewer.key cert review bank-a.2026-102 --evidence $D/change/review.txt
chainnode --as $K/cb-decider.key cert extend bank-a.2026-102 FTP-2026-06-000101
chainnode cert show FTP-2026-06-000101
chainnode --as $K/ins-inspector.key cert surveil FTP-2026-06-000101 --failed --grave --finding keys_past_their_end --evidence $D/surveillance-2.txt
chainnode cert status FTP-2026-06-000101
chainnode --as $K/cb-decider.key cert restore FTP-2026-06-000101 --evidence $D/corrections.txt
chainnode cert status FTP-2026-06-000101
chainnode --as $K/cb-decider.key cert reduce FTP-2026-06-000101 --reason reads_fail --remove barcode --evidence type_examination=$D/finding.txt
chainnode --as $K/bank-a-bank.key cert appeal FTP-2026-06-000101 --reason wrong_version_tested --evidence $D/appeal.txt
chainnode --as $K/cb-decider.key cert decide-appeal FTP-2026-06-000101 --upheld --evidence $D/opinion.txt || echo "status $?"
chainnode --as $K/cb-appeals.key cert decide-appeal FTP-2026-06-000101 --upheld --evidence $D/opinion.txt
chainnode --as $K/cb-decider.key cert reissue FTP-2026-06-000101 --reason lost --evidence $D/lost.txt
chainnode cert show FTP-2026-06-000101
chainnode --as $K/bank-a-bank.key cert renew FTP-2026-06-000101 --serial 2026-103 --evidence $D/renewal/documents.txt
chainnode --as $K/cb-reviewer.key cert accept bank-a.2026-103
chainnode --as $K/lab-laboratory.key cert evidence bank-a.2026-103 --evidence $D/renewal/type.txt --evidence security_evaluation=$D/renewal/security.txt
chainnode --as $K/ins-inspector.key cert evidence bank-a.2026-103 --evidence $D/renewal/site.txt
chainnode --as $K/cb-reviewer.key cert review bank-a.2026-103 --evidence $D/renewal/review.txt
chainnode --as $K/cb-decider.key cert issue bank-a.2026-103 --number FTP-2026-06-000102 --officer $K/cb-officer-1.key --officer $K/cb-officer-2.key
chainnode policy export -f policy
chainnode cert bundle FTP-2026-06-000101 -f terminal.bundle
date -u -d "+6 months" +%FT%TZ | tee after-its-end
chainnode cert status FTP-2026-06-000101 --offline terminal.bundle --policy policy --fresh 400d --at $(cat after-its-end) || echo "status $?"
chainnode --as $K/cb-decider.key cert cancel FTP-2026-06-000101 --evidence $D/end.txt
chainnode cert history FTP-2026-06-000101
chainnode cert list --holder bank-a
