# Every target sets up what it needs: the environment in .venv/, service binaries below .tools/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON := .venv/bin/python
OBS := .venv/bin/obs
DBT := .venv/bin/dbt
VENV := set-up

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-26s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: set-up
set-up: ## make the environment in .venv/ (a matter of milliseconds when nothing changed)
	@sh demo/venv.sh

##  ---  the job

.PHONY: demo
demo: $(VENV) ## the main job, live: PostgreSQL, dbt, a push, and what the Pushgateway then serves
	@$(PYTHON) -m demo

.PHONY: freshness-push
freshness-push: $(VENV) ## measure warehouse/ and push to $PUSHGATEWAY_URL
	@$(OBS) freshness push --project-dir warehouse

.PHONY: dbt-freshness
dbt-freshness: $(VENV) ## measure warehouse/ and print the result, as a gate: exit 1 on stale data
	@$(OBS) freshness check --project-dir warehouse

.PHONY: dbt-docs
dbt-docs: $(VENV) ## generate dbt's documentation of warehouse/, with the lineage of the exposures
	@cd warehouse && DBT_SEND_ANONYMOUS_USAGE_STATS=false ../$(DBT) docs generate --profiles-dir .

.PHONY: demo-data
demo-data: $(VENV) ## fill the seven source tables of $PGDATABASE with demo data
	@$(PYTHON) -m demo.data

##  ---  the project

.PHONY: check
check: $(VENV) ## lint, types and unit tests: seconds
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/unit

.PHONY: test
test: $(VENV) ## everything: lint, types, unit tests, and integration tests on real services
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest

.PHONY: bench
bench: $(VENV) ## the benchmarks: ratios measured in one run
	@$(PYTHON) -m bench.exposition
	@$(PYTHON) -m bench.push

.PHONY: docs
docs: $(VENV) ## write the pages that follow from the code
	@$(PYTHON) -m docs.make

.PHONY: clean
clean: ## remove .venv/, .tools/ and every cache
	@rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis warehouse/target warehouse/logs
