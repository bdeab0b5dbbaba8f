# Everything here needs only python3 (3.11 or newer), its venv module and pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: help install serve test test-slow bench-peers test-clients test-agents fuzz npm-clients lint clean
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
	$(BIN)/python -m pytest -m "not slow and not gpu and not clients" $(ARGS)

test-slow: $(VENV)/test.stamp   ## the tests that take long
	$(BIN)/python -m pytest -m slow --timeout 1800 $(ARGS)

.venv-clients/%.stamp: pyproject.toml tests/clients/constraints-%.txt
	$(PYTHON) -m venv .venv-clients/$*
	.venv-clients/$*/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	.venv-clients/$*/bin/python -m pip install --quiet -c tests/clients/constraints-$*.txt --group $*
	@touch $@

tests/clients/javascript/npm.stamp: tests/clients/javascript/package.json
	cd tests/clients/javascript && npm install --silent --no-package-lock
	@touch $@

npm-clients:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory tests/clients/javascript/npm.stamp; \
	else echo "npm is not installed: the JavaScript clients are left out"; fi

CLIENTS := $(addprefix .venv-clients/,clients.stamp clients-openai2.stamp clients-tools.stamp) npm-clients
RUN_CLIENTS = ABRUZZI_PYTHON=$(abspath $(BIN)/python) .venv-clients/$(1)/bin/python -m pytest -m clients -W default
ONE_LOOP := -o asyncio_mode=auto -o asyncio_default_test_loop_scope=session -o asyncio_default_fixture_loop_scope=session
IN := tests/clients

test-clients: install $(CLIENTS)   ## run other people's clients (LangChain, LiteLLM, npm openai, ...) against the server
	$(call RUN_CLIENTS,clients) $(ONE_LOOP) $(IN) $(ARGS)
	$(call RUN_CLIENTS,clients-openai2) $(addprefix $(IN)/test_,openai.py litellm.py instructor.py documents.py) $(ARGS)
	$(call RUN_CLIENTS,clients-tools) $(addprefix $(IN)/test_,lm_eval.py schemathesis.py documents.py) $(ARGS)

bench-peers: $(VENV)/test.stamp   ## ours beside llama.cpp, vLLM and transformers; PEERS=folder (docs/performance.md)
	$(BIN)/python -m benchmarks.peers $(PEERS) $(ARGS)

fuzz: install .venv-clients/clients-tools.stamp   ## some 20,000 requests made from /openapi.json by schemathesis
	FUZZ_EXAMPLES=225 $(call RUN_CLIENTS,clients-tools) -s $(IN)/test_schemathesis.py $(ARGS)

AGENTS := @anthropic-ai/claude-code@2.1.197 @openai/codex@0.171.0

test-agents: install   ## start two coding agents from npm against the server and show how they end
	npm install --silent --no-package-lock --prefix .venv-clients/agents $(AGENTS)
	ABRUZZI=$(abspath $(BIN)/abruzzi) tests/clients/agents.sh .venv-clients/agents

lint: $(VENV)/test.stamp   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:           ## remove the environment and build products
	rm -rf $(VENV) .venv-clients build dist *.egg-info
