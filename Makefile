# Everything a fresh clone needs: Python 3.11+, git and make. No root, no service.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The suite runs in so many processes, a file in one of them, in the order of conftest.py. Four also on two cores: half of
# the time a process waits, for products, servers, browsers and the database.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
# More options of pytest for one run: `make test ALSO="-x --durations=20"`.
ALSO ?=
STAMPS := $(VENV)/.stamps
SOURCES := config core workspaces entities integrations email_logs email_sync calendar_sync documents simulator tests benchmarks manage.py conftest.py
# Every process would compile our whole source anew, and those of the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help run demo test gates lint format types imports migrations schema schema-fresh test-services chaos bench clean

help: ## Show this list.
	@sed -nE "s/^([a-z-]+):.*## (.*)/  make \1\t\2/p" $(MAKEFILE_LIST) | expand -t 24

# A stamp per requirements file, named by its content: a changed pin reinstalls, an unchanged one costs nothing.
RUN_STAMP := $(STAMPS)/run-$(shell cksum < requirements.txt | tr ' ' '-')
DEV_STAMP := $(STAMPS)/dev-$(shell cat requirements.txt requirements-dev.txt | cksum | tr ' ' '-')

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@mkdir -p $(STAMPS) && touch $@

$(DEV_STAMP): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@mkdir -p $(STAMPS) && touch $(RUN_STAMP) $@

run: $(RUN_STAMP) ## Run the whole product on 127.0.0.1:$PORT.
	@exec $(BIN)/python manage.py up

demo: $(RUN_STAMP) ## Run it beside the provider simulator, with mailboxes connected and syncing.
	@exec $(BIN)/python manage.py demo

test: $(DEV_STAMP) ## Every gate and the whole suite; needs no network and no service.
	$(MAKE) --no-print-directory --jobs=2 gates
	$(BIN)/python -m pytest -q $(SPREAD) $(ALSO)

gates: lint types imports migrations schema-fresh

lint: $(DEV_STAMP) ## Ruff: rules and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check . | tail -n 20; echo "run: make format"; exit 1; }

format: $(DEV_STAMP) ## Let ruff put the code into shape.
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

types: $(DEV_STAMP)
	$(BIN)/mypy

imports: $(DEV_STAMP)
	$(BIN)/lint-imports

migrations: $(DEV_STAMP)
	$(BIN)/python -m tests.bare makemigrations --check --dry-run
	$(BIN)/python -m tests.bare check --fail-level WARNING

schema: $(DEV_STAMP) ## Write openapi.yaml anew.
	$(BIN)/python -m tests.bare spectacular --fail-on-warn --validate --file openapi.yaml

schema-fresh: $(DEV_STAMP)
	@fresh=$$(mktemp) && trap 'rm -f "$$fresh"' EXIT && \
	$(BIN)/python -m tests.bare spectacular --fail-on-warn --validate --file "$$fresh" && \
	diff -u openapi.yaml "$$fresh" > /dev/null || { echo "openapi.yaml is not what the code says; run: make schema"; exit 1; }

test-services: $(DEV_STAMP) ## The tests that want real servers: PostgreSQL, Redis, Dovecot, S3, ClamAV.
	$(BIN)/python -m tests.services $(SPREAD) $(ALSO)

chaos: $(DEV_STAMP) ## The long proofs: every fault again and again; minutes, not seconds.
	@failed=0; $(BIN)/python -m pytest -q --durations=15 -m "chaos and not services" || failed=1; \
	$(BIN)/python -m tests.services --durations=15 -m "chaos and services" || failed=1; exit $$failed

bench: $(DEV_STAMP) ## The benchmarks, each beside its baseline.
	$(BIN)/python -m benchmarks

clean: ## Remove what builds and tests left; keeps .data.
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
