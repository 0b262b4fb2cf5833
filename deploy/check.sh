#!/usr/bin/env bash
# Style, types, layers and the documentation. Installs what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
.venv/bin/ruff format --check --quiet
.venv/bin/ruff check --quiet
.venv/bin/mypy
.venv/bin/lint-imports --no-cache
bash deploy/docs.sh
