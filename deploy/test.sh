#!/usr/bin/env bash
# Every test, those against a real S3 server too. Installs what it needs; arguments go to pytest.
# --quick, first, leaves out what takes longest: Ray, the S3 server, whole commands, injected faults and documents that
# end processes.
# --coverage, first, adds a line with the share of the project's lines that ran: of all of them, however few tests are
# named. Processes that tests start and Ray's workers are counted; what is killed is not, for it writes nothing down.
set -euo pipefail
cd "$(dirname "$0")/.."

bash deploy/setup.sh test
bash deploy/promtool.sh || echo "no promtool here: Prometheus' rules and Grafana's queries are not checked"
# hundreds of processes import it all; where PYTHONDONTWRITEBYTECODE is set, each would compile it
.venv/bin/python -m compileall -q -j 0 rookery.py pipeline jobs tests/hooks
# three on two cores: the tests on Ray and on stores wait for most of their time
test=(.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder)
if [[ ${1:-} == --quick ]]; then
  exec "${test[@]}" -m "not ray and not s3" \
    --ignore=tests/faults --ignore=tests/jobs --ignore-glob="*/test_isolated_*.py" "${@:2}"
fi
# without root the tests take moto instead, and pytest's summary says so
bash deploy/s3_server.sh install || echo "no Ceph here: the S3 tests run against moto"
[[ -z ${ROOKERY_AIRFLOW:-} ]] || bash deploy/airflow/setup.sh || echo "no Airflow here: its DAG's tests are skipped"
bash deploy/postgres.sh || echo "no PostgreSQL here: what loads into it is skipped"
bash deploy/chromium.sh || echo "no Chromium here: nobody looks at the pages of reports"
[[ ${1:-} == --coverage ]] || exec "${test[@]}" "$@"
"${test[@]}" --cov --cov-report= "${@:2}"
rm -f .coverage.*  # what killed processes had begun to write
echo "Coverage: $(.venv/bin/python -m coverage report --format=total) % of the lines"
