#!/usr/bin/env bash
# Makes .venv-airflow in the checkout, with which tests/deploy/test_airflow.py runs: Airflow pins libraries that Rookery
# has newer. Does nothing where it is up to date. The versions are those that `pip freeze` gave after an installation of
# apache-airflow-core and apache-airflow-providers-cncf-kubernetes.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=$(sha256sum <deploy/airflow/constraints.txt)
stamp=.venv-airflow/.rookery
[[ -f $stamp && $(<"$stamp") == "$wanted" ]] && exit

rm -rf .venv-airflow
"${PYTHON:-python3}" -m venv .venv-airflow
# all versions are known: nothing to resolve, and most of it is never imported
.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --requirement deploy/airflow/constraints.txt
echo "$wanted" >"$stamp"
