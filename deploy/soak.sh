#!/usr/bin/env bash
# Faults of every kind, round after round, for an hour or as long as one likes: see tests/faults/soak.py.
#
#   deploy/soak.sh [minutes] [corpus]
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
bash deploy/s3_server.sh install || echo "no Ceph here: S3 is moto, which cannot be restarted"
exec .venv/bin/python -m tests.faults.soak "$@"
