# Two commands on a fresh machine: `make run` and `make test`. `make help` shows the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The time of every file in a wheel, so that the same sources make the same bytes: 2026-01-01.
WHEEL_TIME := 1767225600
# Python compiles a module when it is first imported; most are never.
PIP_FLAGS := -q --disable-pip-version-check --no-deps --no-compile
SOLVE := -q --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
	--custom-compile-command "make lock" pyproject.toml

.PHONY: help run demo test test-all check verify containers kubernetes engines format protos metrics wheel lock clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: $(VENV)/.run ## set up, start the whole platform on the embedded default, print where to open it
	@$(BIN)/rookery up

demo: $(VENV)/.dev ## Kafka, Cassandra, Redis, two of each role, and Jaeger, Prometheus and OpenSearch that watch them, until Ctrl-C
	@$(BIN)/python -m tools.operations.demo

test: $(VENV)/.dev ## set up, then run the checks and every test that is not marked slow; 8 to 10 minutes on 2 cores, 1 to 2 more to set up
	@$(BIN)/python -m tools.run_tests

test-all: $(VENV)/.dev ## run every test and every long run: faults, containers, Kubernetes; hours, needs root
	@$(BIN)/python -m tools.run_tests --all

check: $(VENV)/.dev ## run the checks alone: format, lint, types, imports, protos, page
	@$(BIN)/python -m tools.run_tests --checks

verify: $(VENV)/.dev ## run every fault in full on real Kafka, Cassandra and Redis; some 45 minutes
	@$(BIN)/python -m tools.faults

containers: $(VENV)/.dev ## build the image twice, and run docker-compose.yml for real; some minutes, needs root
	@$(BIN)/python -m tools.operations.compose

kubernetes: $(VENV)/.dev ## the image and the chart on a real node of Kubernetes, in namespaces of this machine; needs root
	@$(BIN)/python -m tools.operations.node

engines: $(VENV)/.dev ## download the Kafka, Cassandra and Redis of the tests
	@$(BIN)/python -m tools.engines install

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

protos: $(VENV)/.dev ## generate rookery/v1/, shared/rpc/standard/ and web/wire.js from protos/
	@$(BIN)/python -m tools.protos.generate

metrics: $(VENV)/.dev ## generate the table of docs/metrics.md from the catalogue
	@$(BIN)/python -m shared.telemetry.metrics.document

wheel: $(VENV)/.run node_modules/.package-lock.json ## build the wheel into dist/, for any pip: our modules, purerpc's and the bundled page
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$(WHEEL_TIME) $(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir dist .
	@ls dist/*.whl

node_modules/.package-lock.json: package-lock.json
	@command -v npm > /dev/null || { echo "A wheel contains the page bundled by esbuild: install Node.js with npm." >&2; exit 1; }
	@npm ci --no-audit --no-fund --silent

lock: ## solve the dependencies anew; needs uv
	uv pip compile $(SOLVE) --extra distributed --group rpc -o requirements.lock
	uv pip compile $(SOLVE) --extra distributed --group rpc --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove what was set up; the data stays
	rm -rf $(VENV) node_modules build dist *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rookery needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock deploy/build.lock pyproject.toml | $(VENV)/bin/python
	@echo "Setting up (once) ..."
	@$(BIN)/pip install $(PIP_FLAGS) --require-hashes -r requirements.lock -r deploy/build.lock
	@$(BIN)/pip install $(PIP_FLAGS) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Setting up for development (once) ..."
	@$(BIN)/pip install $(PIP_FLAGS) --require-hashes -r requirements-dev.lock
	@touch $@
