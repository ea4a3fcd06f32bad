# One target a job; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export NUMBA_CACHE_DIR ?= $(CURDIR)/.cache/numba
PROTOS := $(wildcard proto/fasttree/v1/*.proto)

.PHONY: help setup setup-run system lock gen test check demo bench clean

help: ## Lists the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.run: requirements/run.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --requirement requirements/dev.txt
	touch $@

setup-run: $(VENV)/.run ## Installs what a running cluster needs into .venv/.

setup: $(VENV)/.dev ## Installs what tests and checks need too.

lock: ## Pins requirements/*.txt anew from pyproject.toml.
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --allow-unsafe --extra demo --output-file requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --allow-unsafe --extra demo --extra dev --output-file requirements/dev.txt pyproject.toml requirements/build.in

gen: $(VENV)/.dev ## Makes the stubs in gen/ from proto/.
	bash tools/gen gen
