# Stages: `server` (the default) is production; `demo` adds the embedded AWS. Neither keeps pip or a compiler.
# The tag says what the digest is of; whoever moves one moves both: docker buildx imagetools inspect python:3.13-slim
FROM python:3.13-slim@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS python

FROM python AS build
WORKDIR /build
COPY requirements.txt .
# The environment has no pip of its own: the base image's pip fills it, and stays behind in this stage.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --only-binary=:all: --require-hashes --requirement requirements.txt

FROM build AS build-demo
COPY requirements-demo.txt .
RUN pip --python /opt/venv/bin/python install --no-cache-dir --only-binary=:all: --require-hashes --requirement requirements-demo.txt

# What .dockerignore lets through; readable for any uid, whatever the umask of the checkout.
FROM python AS source
WORKDIR /app
COPY . .
RUN rm requirements*.txt && chmod -R u=rwX,go=rX .

FROM python AS base
RUN pip uninstall --yes --root-user-action=ignore pip \
    && useradd --uid 10001 --user-group --create-home --home-dir /home/app --shell /usr/sbin/nologin app \
    && chmod 755 /home/app
# HOME is open and spelled out for those who run it under their own uid, which /etc/passwd does not know.
ENV HOME=/home/app PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MCP_HOST=0.0.0.0 MCP_PORT=8100
WORKDIR /app
EXPOSE 8100
# A number, so that Kubernetes can tell it is not root.
USER 10001:10001
# No argument holds a space: podman's Docker API would split it there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "deploy/healthcheck.py", "/healthz"]
ENTRYPOINT ["python", "server.py"]

FROM base AS demo
COPY --from=build-demo /opt/venv /opt/venv
COPY --from=source /app .
CMD ["--demo"]

FROM base AS server
COPY --from=build /opt/venv /opt/venv
# Owned by root, as is all but /home/app: the server cannot rewrite itself.
COPY --from=source /app .
