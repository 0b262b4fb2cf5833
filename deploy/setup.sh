#!/usr/bin/env bash
# Makes .venv in the checkout with the pinned dependencies: deploy/setup.sh [extra]. Does nothing where it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rookery needs Python 3.11 or newer; found $("$python" --version). Set PYTHON." >&2; exit 2; }

wanted=$(cat pyproject.toml constraints.txt | sha256sum)
stamp=.venv/.rookery-${extra:-run}
[[ -f $stamp && $(<"$stamp") == "$wanted" ]] && exit

[[ -x .venv/bin/python ]] || "$python" -m venv .venv
# torch first and by its exact version: a range would take the newest build, with gigabytes of CUDA
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' constraints.txt)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".${extra:+[$extra]}"
echo "$wanted" >"$stamp"
