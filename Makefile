# `make demo` and `make test` do all their own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
# Compiling everything takes as long as fetching it; what is imported is compiled then.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo test clients lock contract bench clean

demo: $(VENV)/.demo
	$(BIN)/python server.py --demo

# Only root on a Debian machine can install what these tests need; elsewhere they are left out, and it says so.
DEBIAN ?= $(shell [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo yes)

test: $(VENV)/.dev clients
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
ifeq ($(DEBIAN),yes)
	tests/container/setup.sh
	tests/replicas_setup.sh
else
	@echo "NOT RUN: tests marked 'container' or 'balancer' (need root and apt-get; DEBIAN=yes forces them)"
endif
	$(BIN)/python -m pytest -m "alone$(if $(filter yes,$(DEBIAN)), or container)"
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not alone and not container$(if $(filter yes,$(DEBIAN)),, and not balancer)"

# Clients that others wrote, for the tests in tests/clients: npm's, with the Node of PyPI, and the Python SDK 1.x.
clients: $(CLIENTS)/node_modules/.ready $(CLIENTS)/.mcp1/.ready

$(CLIENTS)/node_modules/.ready: $(CLIENTS)/package-lock.json | $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(CLIENTS) ci --loglevel=error
	touch $@

$(CLIENTS)/.mcp1/.ready: $(CLIENTS)/requirements.txt | $(VENV)/.dev
	rm -rf $(@D)
	$(PIP) --no-deps --only-binary :all: --require-hashes --target $(@D) -r $<
	touch $@

# Rewrites what is generated: tests/tools.json, and the README between its markers.
contract: $(VENV)/.dev
	$(BIN)/python -m tests.contract

# Pins everything with hashes. Not part of any other target: what is committed is what is installed.
lock: $(VENV)/.dev
	$(PIP) uv==0.13.9
	$(BIN)/python deploy/lock.py

# Measures what a call costs and writes docs/benchmarks.md and its plot. On an idle machine; about 15 minutes.
bench: $(VENV)/.dev
	$(PIP) --require-hashes -r requirements-bench.txt
	$(BIN)/python -m benchmarks.run

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements-demo.txt | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements-demo.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements-dev.txt
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) $(CLIENTS)/node_modules $(CLIENTS)/.mcp1
