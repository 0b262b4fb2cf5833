#!/usr/bin/env bash
# Every test, those against a real S3 server too. Installs what it needs; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
# without root the tests take moto instead, and pytest's summary says so
bash deploy/s3_server.sh install || echo "no Ceph here: the S3 tests run against moto"
exec .venv/bin/python -m pytest --numprocesses 2 --dist loadfile "$@"
