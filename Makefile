# `make demo` and `make test` do all their own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lock contract bench clean

demo: $(VENV)/.demo
	$(BIN)/python server.py --demo

# Only root on a Debian machine can set up the container tests from nothing; elsewhere they are left out, and it says so.
CONTAINER ?= $(shell [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo yes)

test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
ifeq ($(CONTAINER),yes)
	tests/container/setup.sh
	$(BIN)/python -m pytest
else
	@echo "NOT RUN: tests marked 'container' (need root and apt-get; CONTAINER=yes forces them)"
	$(BIN)/python -m pytest -m "not container"
endif

# Rewrites what is generated: tests/tools.json, and the README between its markers.
contract: $(VENV)/.dev
	$(BIN)/python -m tests.contract

# Pins everything with hashes. Not part of any other target: what is committed is what is installed.
lock: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/python deploy/lock.py

# Measures what a call costs and writes docs/benchmarks.md and its plot. On an idle machine; about 15 minutes.
bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	$(BIN)/python -m benchmarks.run

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements-demo.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-demo.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV)
