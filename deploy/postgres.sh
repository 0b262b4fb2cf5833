#!/usr/bin/env bash
# PostgreSQL's programs for the tests, which start servers of their own on sockets in folders of their own.
# Debian's package would make a cluster and start it: not here.
set -euo pipefail

shopt -s nullglob
programs=(/usr/lib/postgresql/*/bin/initdb)
[[ ${#programs[@]} -gt 0 ]] && exit
if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
  echo "postgres: not installed, and only root on a Debian machine can change that" >&2
  exit 3
fi
export DEBIAN_FRONTEND=noninteractive
mkdir -p /etc/postgresql-common
[[ -e /etc/postgresql-common/createcluster.conf ]] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update >&2
apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold postgresql >&2
