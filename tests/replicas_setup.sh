#!/usr/bin/env bash
# What the test of two replicas needs on a Debian machine: haproxy. As root; idempotent; a second run only looks.
set -euo pipefail

if ! command -v haproxy >/dev/null; then
  [[ $(id -u) == 0 ]] || {
    echo "tests/replicas_setup.sh: needs root, to install haproxy" >&2
    exit 1
  }
  echo "installing haproxy"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy >/dev/null
fi
echo "replica tests: ready ($(haproxy -v | head -n 1))"
