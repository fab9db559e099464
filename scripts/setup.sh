#!/usr/bin/env bash
# Creates or refreshes the virtual environment from requirements.lock; returns at once when it is fresh.
# Usage: setup.sh VENV [PYTHON]. Prints to stderr only. Needs no network when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

venv=$1
wanted=${2:-}
stamp=$venv/.setup-stamp

fail() { echo "setup: $*"; exit 1; }
usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# Fresh means: made in this directory, from these very files. (A moved environment has broken scripts.)
key=$({ pwd -P; cat requirements.lock pyproject.toml "$0"; } | sha256sum | cut -d ' ' -f 1)
if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$key" ]]; then exit 0; fi

# A version manager's shim may be on the PATH without a Python behind it, so each candidate has to run.
if [[ ! -f $venv/bin/pip ]] || ! usable "$venv/bin/python" || ! head -n 1 "$venv/bin/pip" | grep -qF "$(pwd)/$venv/"; then
    python=
    for candidate in ${wanted:-python3.12 python3.11 python3}; do
        if usable "$candidate"; then python=$candidate; break; fi
    done
    [[ -n $python ]] || fail "no Python 3.11 or 3.12 was found${wanted:+ as '$wanted'}:" \
        "install one with 'sudo apt-get install python3.11 python3.11-venv', or name one with PYTHON=/path/to/python3.12"
    version=$(version_of "$python")
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python $version cannot make virtual environments: run 'sudo apt-get install python$version-venv'"
    echo "setup: creating $venv with Python $version"
    "$python" -m venv --clear "$venv"
fi

rm -f "$stamp"
echo "setup: installing what requirements.lock names"
pip=("$venv/bin/python" -m pip --quiet --quiet --disable-pip-version-check --no-input install)
"${pip[@]}" --require-hashes -r requirements.lock || {
    [[ $(uname -sm) == "Linux x86_64" ]] || echo "setup: on this kind of machine plyvel is compiled:" \
        "it needs a C++ compiler and LevelDB, 'sudo apt-get install build-essential libleveldb-dev python3-dev'"
    fail "installing failed; the message above says why"
}
"${pip[@]}" --no-build-isolation --no-deps --editable .
echo "$key" > "$stamp"
