#!/usr/bin/env bash
# Plays what docs/certifying.md tells, on the localnet of $CHAINNODE_LOCALNET or var/localnet; each command is printed before it is run.
# Made by scripts/make_guides.py from that page and head.sh. Usage, with `chainnode` on the path: samples/certification/life.sh
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)
export CHAINNODE_LOCALNET=${CHAINNODE_LOCALNET:-$PWD/var/localnet}
K=$CHAINNODE_LOCALNET/keys
cd "$(mktemp -d)"
set -v
$D/certified.sh 6 301
chainnode --as $K/bank-a-bank.key cert mark use FTP-2026-06-000301 --medium packaging --covers contactless --artwork $D/mark/artwork.txt || echo "status $?"
chainnode --as $K/cb-decider.key cert mark license FTP-2026-06-000301 --medium packaging --medium web --terms $D/mark/terms.txt
chainnode --as $K/bank-a-bank.key cert mark use FTP-2026-06-000301 --medium packaging --covers contactless --artwork $D/mark/artwork.txt
chainnode --as $K/bank-a-bank.key cert mark use FTP-2026-06-000301 --medium promotion --artwork $D/mark/artwork.txt || echo "status $?"
chainnode cert mark qr FTP-2026-06-000301 --url https://explorer.example -f mark.png
chainnode cert scan mark.png --url https://explorer.example
chainnode cert scan "https://explorer.example/certificate/FTP-2026-06-000301?mark=1.abc0f8f970a6e3a3.7e85ac4e69bb664e0860fe563a879608" --url https://explorer.example || echo "status $?"
chainnode cert scan mark.png --url https://ours.example || echo "status $?"
chainnode -o json cert mark show FTP-2026-06-000301 | grep -o '"mark": "1[^"]*"' | cut -d '"' -f 4 | tee code
chainnode cert scan "https://explorer.example/certificate/FTP-2026-06-000301?mark=$(sed 's/.....$/00000/' code)" --url https://explorer.example || echo "status $?"
chainnode -o json cert scan "https://explorer.example/certificate/FTP-2026-06-000399?mark=$(cat code)" --url https://explorer.example > made-up.json || echo "status $?"
chainnode -o json cert scan mark.png --url https://explorer.example --medium web --covers barcode > shop.json || echo "status $?"
grep -o '"breach": "[^"]*"' shop.json
chainnode --as $K/bank-b-bank.key cert mark report --number FTP-2026-06-000301 --medium web --misuse beyond_scope --evidence $D/mark/screenshot.txt
chainnode -o json cert mark reports --number FTP-2026-06-000301 | grep -o '"report": [0-9]*' | cut -d ' ' -f 2 | tee report
chainnode --as $K/cb-reviewer.key cert mark decide $(cat report) --finding confirmed --reason page_claims_barcode
chainnode cert mark reports --number FTP-2026-06-000301
chainnode --as $K/cb-decider.key cert mark withdraw FTP-2026-06-000301 --reason misused --report $(cat report)
chainnode cert mark show FTP-2026-06-000301
chainnode cert mark events FTP-2026-06-000301
chainnode cert scan mark.png --url https://explorer.example || echo "status $?"
