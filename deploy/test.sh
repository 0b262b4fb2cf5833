#!/usr/bin/env bash
# Every test, those against a real S3 server too. Installs what it needs; arguments go to pytest.
# --coverage, first, adds a line with the share of lines that ran. Not those of Ray's workers and of commands in processes
# of their own, which are not counted.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
# without root the tests take moto instead, and pytest's summary says so
bash deploy/s3_server.sh install || echo "no Ceph here: the S3 tests run against moto"
test=(.venv/bin/python -m pytest --numprocesses 2 --dist loadfile)
[[ ${1:-} == --coverage ]] || exec "${test[@]}" "$@"
"${test[@]}" --cov --cov-report= "${@:2}"
echo "Coverage: $(.venv/bin/python -m coverage report --format=total) % of the lines"
