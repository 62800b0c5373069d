#!/usr/bin/env bash
# Start aws-ops in Docker: make .env with a random token if there is none, build, start, wait until it is ready.
# May be run again at any time; it keeps the token. WAIT_SECONDS is how long it waits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
placeholder=replace-me-with-a-random-token

fail() {
  echo "docker-start.sh: $*" >&2
  exit 1
}

check_docker() {
  local why
  command -v docker >/dev/null || fail "docker is not installed: https://docs.docker.com/get-docker/"
  docker compose version >/dev/null 2>&1 || fail "Compose v2 is missing: https://docs.docker.com/compose/install/"
  why=$(docker info 2>&1 >/dev/null) || fail "the Docker daemon does not answer; start it and try again. ${why##*$'\n'}"
}

# The container runs as whoever owns ~/.aws, but never as root.
choose_user() {
  if [[ $(id -u) == 0 ]]; then
    echo "running as root: the container's user is ${HOST_UID:-10001}, who must be able to read $HOME/.aws" >&2
  else
    HOST_UID=$(id -u) HOST_GID=$(id -g)
    export HOST_UID HOST_GID
  fi
}

# The token goes through no command's arguments, which other users could see.
prepare_env() {
  local source=.env line token
  [[ -e .env ]] || source=.env.example
  [[ -r $source ]] || fail "$source cannot be read"
  if [[ $source == .env.example ]] || grep -q "^MCP_AUTH_TOKEN=.*$placeholder" .env; then
    token=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    while IFS= read -r line || [[ -n $line ]]; do
      [[ $line == MCP_AUTH_TOKEN=*"$placeholder"* ]] && line=MCP_AUTH_TOKEN=$token
      printf '%s\n' "$line"
    done <"$source" >.env.part
    if [[ $source == .env.example && -n ${HOST_UID:-} ]]; then
      printf '\n# The owner of ~/.aws, as whom the container runs, also after a plain docker compose up.\n' >>.env.part
      printf 'HOST_UID=%s\nHOST_GID=%s\n' "$HOST_UID" "$HOST_GID" >>.env.part
    fi
    mv .env.part .env
    echo "made .env with a random MCP_AUTH_TOKEN"
  fi
  chmod 600 .env
}

wait_until_ready() {
  local answer="" deadline=$((SECONDS + ${WAIT_SECONDS:-60}))
  until answer=$(docker compose exec -T server python deploy/healthcheck.py /readyz 2>&1); do
    if [[ -n $(docker compose ps --all --quiet --status exited server) ]]; then
      docker compose logs --no-log-prefix --tail 5 server >&2
      fail "the server stopped; its last words are above"
    fi
    if ((SECONDS >= deadline)); then
      [[ $answer == *'"credentials":false'* ]] && answer+=" (no AWS credentials: AWS_PROFILE in .env, or ~/.aws)"
      fail "started at $1, but not ready yet: $answer"
    fi
    sleep 1
  done
}

umask 077
check_docker
choose_user
prepare_env
mkdir -p "$HOME/.aws/sso/cache" "$HOME/.aws/login/cache" # Compose mounts them; made by Docker they would be root's
docker compose up --build --detach server
url=http://$(docker compose port server 8100)
wait_until_ready "$url"
cat <<END
aws-ops is ready: $url/mcp (Streamable HTTP), $url/sse (SSE)
Token: MCP_AUTH_TOKEN in .env. Logs: docker compose logs -f server. Stop: docker compose down
END
