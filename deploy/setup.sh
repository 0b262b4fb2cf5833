#!/usr/bin/env bash
# Makes .venv in the checkout with the pinned dependencies: deploy/setup.sh [extra]. Does nothing where it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rookery needs Python 3.11 or newer; found $("$python" --version). Set PYTHON." >&2; exit 2; }

wanted=$(cat pyproject.toml constraints.txt | sha256sum)
stamp=.venv/.rookery-${extra:-run}
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  [[ -x .venv/bin/python ]] || "$python" -m venv .venv
  # torch first and by its exact version: a range would take the newest build, with gigabytes of CUDA
  install=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile)
  "${install[@]}" "$(grep '^torch==' constraints.txt)"
  "${install[@]}" --constraint constraints.txt --editable ".${extra:+[$extra]}"
  # pip compiles on one core. What can't be compiled is for other versions of Python
  .venv/bin/python -m compileall -qq -j 0 .venv/lib || true
  echo "$wanted" >"$stamp"
fi

# That has built the operators in C, if there is a compiler. Whoever changes them has the extra `test`, which can build them
# without installing anything.
[[ $extra == test ]] || exit 0
sources=$(cat pipeline/bigbird/*.[ch] | sha256sum)
built=.venv/.rookery-operators
[[ -f $built && $(<"$built") == "$sources" ]] && exit
.venv/bin/python -W ignore -c 'import setuptools; setuptools.setup()' --quiet build_ext --inplace
echo "$sources" >"$built"
