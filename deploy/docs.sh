#!/usr/bin/env bash
# The documentation's site, in out/docs/index.html. Installs what it needs; the build itself asks nobody, and a warning ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh docs
.venv/bin/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --fresh-env --quiet \
  --doctree-dir out/doctrees docs out/docs
echo "out/docs/index.html"
