#!/usr/bin/env bash
# What the container tests need on a Debian machine without a Docker engine or an image registry: podman, a stand-in for
# python:3.13-slim made of Debian packages, and the real Compose v2. As root; idempotent; a second run only looks.
# Everything but Debian's packages goes into the user's cache, which `rm -rf` of the printed folder gives back.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/aws-ops-container
suite=trixie # the Debian that python:3.13-slim is built on
packages=(podman runc netavark aardvark-dns conmon iptables catatonit mmdebstrap golang-github-containers-common)

fail() {
  echo "tests/container/setup.sh: $*" >&2
  exit 1
}

[[ $(id -u) == 0 ]] || fail "needs root, to install packages and to run podman"
command -v apt-get >/dev/null || fail "needs apt-get"
mkdir -p "$cache/bin" "$cache/docker/cli-plugins"

if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
  echo "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# The machine's own mirror serves the other suite too.
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
[[ -n $mirror ]] || fail "apt has no Debian mirror; run apt-get update"

base=$cache/python-stand-in.tar
if [[ ! -s $base ]]; then
  echo "making the stand-in for python:3.13-slim ($suite)"
  part=$cache/part.tar
  rm -f "$part"
  # As in the official image, pip lies under /usr/local, can be uninstalled, and is there once.
  # shellcheck disable=SC2016 # the hooks' $1 is mmdebstrap's
  mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates,python3,python3-pip-whl \
    --customize-hook='rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -s python3 "$1/usr/bin/python"' \
    --customize-hook='chroot "$1" sh -c "for wheel in /usr/share/python-wheels/pip-*.whl; do
      python3 \$wheel/pip install --quiet --no-index --no-cache-dir --root-user-action=ignore \$wheel && rm \$wheel; done"' \
    "$suite" "$part" "$mirror"
  mv "$part" "$base"
fi

# fetch PACKAGE FILE TARGET: take one file out of one package of the newer suite, without installing it.
fetch() {
  local work
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives" -o APT::Sandbox::User=root)
  (cd "$work" && "${apt[@]}" update && "${apt[@]}" download "$1" && dpkg -x "$1"_*.deb "$work/tree")
  install -m 0755 "$work/tree/$2" "$3"
  rm -rf "$work"
}

compose=$cache/docker/cli-plugins/docker-compose
if [[ ! -x $compose ]]; then
  echo "fetching Compose v2"
  fetch docker-compose usr/libexec/docker/cli-plugins/docker-compose "$compose"
fi
if ! command -v docker >/dev/null && [[ ! -x $cache/bin/docker ]]; then
  echo "fetching the docker command (no engine)"
  fetch docker-cli usr/bin/docker "$cache/bin/docker"
fi
echo "container tests: ready ($cache)"
