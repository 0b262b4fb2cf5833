#!/usr/bin/env bash
# Known vulnerabilities of the pinned dependencies: run it on a schedule. Not a part of check.sh, since an advisory
# appears without a change of ours. Needs the advisory service of the package index; says of each pin it does not get.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check "pip-audit>=2.9,<3"
"$tools/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --progress-spinner off "$@"
