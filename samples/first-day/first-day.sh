#!/usr/bin/env bash
# Plays what a bank's first day in docs/payments.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/first-day/first-day.sh
set -eu -o pipefail
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys N=$CHAINNODE_LOCALNET/nodes
cd "$(mktemp -d)"
set -v
chainnode generate payments --day 2026-11-20 --banks 4 --payments 120 --seed 11 --discrepancies 0.05 -d day
chainnode --home $N/bank-a payment intake day/bank-a --once | tail -n 3
for bank in b c d; do chainnode --home $N/bank-$bank payment intake day/bank-$bank --once > $bank.log; done
ls day/bank-a/done | head -n 4
chainnode --home $N/bank-a payment reconcile --member bank-a --state mismatch --kept
chainnode --home $N/bank-a payment trace 66ade4b8-c923-4a49-a67f-2a849b285ca5
chainnode --home $N/bank-a payment kept 66ade4b8-c923-4a49-a67f-2a849b285ca5
chainnode --home $N/bank-a payment totals make --day 2026-11-20 --counterparty bank-d --currency CNY --submit
chainnode --home $N/bank-d payment totals make --day 2026-11-20 --counterparty bank-a --currency CNY --submit
chainnode --home $N/bank-a payment totals show bank-a bank-d --day 2026-11-20 --currency CNY
echo "Audit of the payments of 20 November 2026" > mandate.txt
chainnode --as $K/auditor-auditor.key payment request-disclosure 66ade4b8-c923-4a49-a67f-2a849b285ca5 --reporter bank-a --field amount --field debtor_name --basis audit_mandate --document mandate.txt --key auditor.secret
chainnode --home $N/bank-a payment disclosures --reporter bank-a --open | tee open
chainnode --home $N/bank-a payment disclose --request $(awk 'END { print $NF }' open) --field amount --field debtor_name -f package
chainnode policy export -f policy
chainnode payment open package --key auditor.secret --policy policy
echo 6200000000000848 > account
chainnode --home $N/bank-a payment kept --account - < account
chainnode --home $N/bank-a payment erase --account - --basis customer_request --yes -f erasure.json < account
chainnode --home $N/bank-a payment kept --account - < account || echo "status $?"
cat erasure.json
chainnode --home $N/bank-a payment show 66ade4b8-c923-4a49-a67f-2a849b285ca5 | tee shown
chainnode prove $(awk 'NR == 2 { print $NF }' shown) -f receipt
chainnode verify receipt --policy policy | sed -n 1,2p
