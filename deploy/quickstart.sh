#!/usr/bin/env bash
# Labels the shipped sample with the shipped checkpoint, on this machine, and shows what came out.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh
exec .venv/bin/python -m jobs.quickstart
