# Everything here needs only python3 (3.11 or newer), its venv module and pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: help install serve test test-slow lint clean
.DEFAULT_GOAL := help

help:            ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/install.stamp: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/install.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

install: $(VENV)/install.stamp   ## create .venv and install abruzzi into it

serve: install   ## start the server; ARGS="--model /path/to/checkpoint --port 9000"
	$(BIN)/abruzzi serve $(ARGS)

test: $(VENV)/test.stamp   ## lint, then the default test suite; ARGS="-k scheduler"
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not slow and not gpu" $(ARGS)

test-slow: $(VENV)/test.stamp   ## the tests that take long
	$(BIN)/python -m pytest -m slow --timeout 1800 $(ARGS)

lint: $(VENV)/test.stamp   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:           ## remove the environment and build products
	rm -rf $(VENV) build dist *.egg-info
