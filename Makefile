# runatlas: `make run` answers a first query, `make test` is the whole check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

ifdef UV
install = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
else
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test schema format lock graphiql clean

help: ## Show these lines.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## Create .venv and install what runatlas needs to run.

setup-dev: $(VENV)/.installed-dev

run: setup ## Start runatlas, with two databases of its own unless DATABASE_URL is set.
	@exec $(BIN)/runatlas serve $(ARGS)

test: setup-dev ## Format, lint, types, import rules, tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

schema: setup-dev ## Print the GraphQL schema into schema/schema.graphql.
	$(BIN)/runatlas schema > schema/schema.graphql.new && mv schema/schema.graphql.new schema/schema.graphql

format: setup-dev ## Format the code and apply the safe fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Resolve the newest versions that work together into .requirements/ (needs uv).
	@test -n "$(UV)" || { echo "make lock needs uv: pip install uv"; exit 1; }
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra embedded pyproject.toml .requirements/build.in -o .requirements/run.txt
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra embedded --extra redis --extra dev -c .requirements/run.txt pyproject.toml .requirements/build.in -o .requirements/dev.txt

graphiql: ## Fetch the files of GraphiQL again, verified (needs npm).
	$(PYTHON) .ci/graphiql.py

clean: ## Remove .venv and the caches. The data of an embedded start stays.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("runatlas needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
ifdef UV
	@$(UV) venv --quiet --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -m venv $(VENV)
endif

$(VENV)/.installed: .requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing runatlas into $(VENV) ..."
	@$(install) --require-hashes -r .requirements/run.txt
	@$(install) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: .requirements/dev.txt $(VENV)/.installed
	@echo "Installing the tools of the check ..."
	@$(install) --require-hashes -r .requirements/dev.txt
	@touch $@
