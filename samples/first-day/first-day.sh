#!/usr/bin/env bash
# Plays what a bank's first day in docs/payments.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/first-day/first-day.sh
set -eu -o pipefail
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys N=$CHAINNODE_LOCALNET/nodes
cd "$(mktemp -d)"
set -v
chainnode generate payments --day 2026-11-20 --banks 4 --payments 120 --seed 7 --discrepancies 0.05 -d day
chainnode --home $N/bank-a submit day/bank-a/* | tail -n 3
for bank in b c d; do chainnode --home $N/bank-$bank submit day/bank-$bank/* | tail -n 1; done
chainnode --home $N/bank-a payment reconcile --member bank-a --state mismatch --kept
chainnode --home $N/bank-a payment trace e721930e-a8d0-4f75-9909-1342e436094b
chainnode --home $N/bank-a payment kept e721930e-a8d0-4f75-9909-1342e436094b
echo "Audit of the payments of 20 November 2026" > mandate.txt
chainnode --as $K/auditor-auditor.key payment request-disclosure e721930e-a8d0-4f75-9909-1342e436094b --reporter bank-a --field amount --field debtor_name --basis audit_mandate --document mandate.txt --key auditor.secret
chainnode --home $N/bank-a payment disclosures --reporter bank-a --open | tee open
chainnode --home $N/bank-a payment disclose --request $(awk 'END { print $NF }' open) --field amount --field debtor_name -f package
chainnode policy export -f policy
chainnode payment open package --key auditor.secret --policy policy
echo 6200000000004290 > account
chainnode --home $N/bank-a payment kept --account - < account
chainnode --home $N/bank-a payment erase --account - --basis customer_request --yes -f erasure.json < account
chainnode --home $N/bank-a payment kept --account - < account || echo "status $?"
cat erasure.json
chainnode --home $N/bank-a payment show e721930e-a8d0-4f75-9909-1342e436094b | tee shown
chainnode prove $(awk 'NR == 2 { print $NF }' shown) -f receipt
chainnode verify receipt --policy policy | sed -n 1,2p
