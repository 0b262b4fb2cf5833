#!/usr/bin/env bash
# Chromium for the tests that look at pages. It listens nowhere: the tests drive it over a pipe.
set -euo pipefail

command -v chromium >/dev/null && exit
if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
  echo "chromium: not installed, and only root on a Debian machine can change that" >&2
  exit 3
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update >&2
apt-get install -y --no-install-recommends chromium >&2
