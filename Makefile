# Set-up and the commands that a person needs; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-modes test-slow test-slurm check bench docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@echo "Installing requirements.lock into $(VENV), 2.2 GB: two minutes or more, silent unless it fails"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "error: no virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
	@echo "Ready. 'make run' builds the study in params.yaml; '$(BIN)/palimpsest plan' says how long it takes"

run: $(READY)  ## build the study that params.yaml asks for and record it in DVC
	@$(BIN)/palimpsest run

test: $(READY)  ## units and the smoke study, at most 10 minutes, in two processes
	$(BIN)/python -m pytest -n 2 -m "not slow and not modes and not slurm"

test-modes: $(READY)  ## one tiny run of every mode, at most 4 minutes
	$(BIN)/python -m pytest -m modes

test-slow: $(READY)  ## what takes longer
	$(BIN)/python -m pytest -m slow

test-slurm: $(READY)  ## the workflow on a SLURM of two nodes, started for it on this machine
	$(BIN)/python -m pytest -m slurm tests/slurm

check: $(READY)  ## style, types, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/lint_workflow.py

bench: $(READY)  ## measure what the documentation claims
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file; done

docs:  ## build the guide into site/, links checked
	@test -x .venv-docs/bin/mkdocs || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

clean:  ## remove caches of tools; artifacts stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache
