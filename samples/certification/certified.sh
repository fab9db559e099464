#!/usr/bin/env bash
# Brings a terminal of Bank A into force, from its application to its grant, and prints the grant: for the chapters of
# docs/certifying.md whose subject begins there. Usage, with the keys of a localnet in $K: certified.sh CATEGORY SERIAL
set -eu -o pipefail
D=$(cd "$(dirname "$0")" && pwd)/certified
case=bank-a.2026-$2
product=(--product "Wall terminal" --model WT-3 --version "1.$2" --category "$1" --scope contactless)
holder=(--holder-name "Bank A" --holder-id 300300BANKA000DEMO03)

as() { # Runs a command of `cert` as a key; says something only where it fails.
  local said
  said=$(chainnode --as "$K/$1.key" cert "${@:2}" 2>&1) || { echo "$said" >&2; return 1; }
}

as bank-a-bank apply "${product[@]}" "${holder[@]}" --serial "2026-$2" --evidence "$D/documents.txt"
as cb-reviewer accept "$case"
as lab-laboratory evidence "$case" --evidence "$D/type.txt" --evidence security_evaluation="$D/security.txt"
as ins-inspector evidence "$case" --evidence "$D/site.txt"
as cb-reviewer review "$case" --evidence "$D/review.txt"
officers=(--officer "$K/cb-officer-1.key" --officer "$K/cb-officer-2.key")
chainnode --as "$K/cb-decider.key" cert issue "$case" --number "FTP-2026-0$1-000$2" "${officers[@]}"
