#!/usr/bin/env bash
# promtool for the tests, which check Prometheus' rules and Grafana's queries with it: from Debian's package, into .venv.
# The package is unpacked and not installed, for it would start a server that listens on every interface.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v promtool >/dev/null || [[ -x .venv/bin/promtool ]]; then
  exit
fi
if ! command -v apt-get >/dev/null; then
  echo "promtool: not here, and only apt-get gets it" >&2
  exit 3
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download() { (cd "$folder" && apt-get download prometheus) >&2; }
download || { [[ $EUID -eq 0 ]] && apt-get update >&2 && download; }
dpkg-deb --extract "$folder"/prometheus_*.deb "$folder"
install "$folder/usr/bin/promtool" .venv/bin/promtool
