#!/usr/bin/env bash
# Style, types, layers and the documentation. Installs what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
bash deploy/setup.sh docs  # before mypy, which reads what is installed
.venv/bin/ruff format --check --quiet
.venv/bin/ruff check --quiet
# the site and the types take longest, and a core each
bash deploy/docs.sh &
site=$!
.venv/bin/mypy
.venv/bin/lint-imports --no-cache
wait "$site"
