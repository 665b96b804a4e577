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
set-up: ## make the environment in .venv/
	@sh demo/venv.sh

##  ---  the job

.PHONY: demo
demo: $(VENV) ## the main job, live, on real services
	@$(PYTHON) -m demo

.PHONY: freshness-push
freshness-push: $(VENV) ## measure warehouse/, push to $PUSHGATEWAY_URL
	@$(OBS) freshness push --project-dir warehouse

.PHONY: dbt-freshness
dbt-freshness: $(VENV) ## how fresh warehouse/'s sources are
	@$(OBS) freshness report --project-dir warehouse

.PHONY: dbt-docs
dbt-docs: $(VENV) ## dbt's documentation, with the lineage
	@cd warehouse && DBT_SEND_ANONYMOUS_USAGE_STATS=false ../$(DBT) docs generate --profiles-dir .

.PHONY: demo-data
demo-data: $(VENV) ## fill the source tables of $PGDATABASE
	@$(PYTHON) -m demo.data

##  ---  the project

.PHONY: check
check: $(VENV) ## lint, types and unit tests: seconds
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q -n auto --hypothesis-profile quick tests/unit

.PHONY: test
test: $(VENV) ## every test, on real services
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest tests/faults
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile tests/unit tests/integration

.PHONY: faults
faults: $(VENV) ## every fault at every moment around the real product: some twenty minutes
	@$(PYTHON) -m tests.faults --record docs/reliability.md

.PHONY: faults-prove
faults-prove: $(VENV) ## break the product on purpose, and see that the faults' checks notice
	@$(PYTHON) -m tests.faults.prove

.PHONY: truth
truth: $(VENV) ## 20,000 random histories: what is claimed of the data's age, and what is true
	@$(PYTHON) -m tests.truth

.PHONY: truth-warehouse
truth-warehouse: $(VENV) ## 200 random histories on a real PostgreSQL and dbt: some forty minutes
	@$(PYTHON) -m tests.truth.warehouse

.PHONY: doctor-canary
doctor-canary: $(VENV) ## end obs doctor --end-to-end at 52 moments: is anything left behind?
	@EVERY_MOMENT=1 $(PYTHON) -m pytest -q tests/integration/test_doctor_canary.py

.PHONY: bench
bench: $(VENV) ## what obs costs, as ratios of one run
	@$(PYTHON) -m bench.exposition
	@$(PYTHON) -m bench.push
	@$(PYTHON) -m bench.lineage
	@$(PYTHON) -m bench.gate
	@$(PYTHON) -m bench.rules
	@$(PYTHON) -m bench.freshness_engines

.PHONY: docs
docs: $(VENV) ## write the pages that follow from the code
	@$(PYTHON) -m docs.make

# nitpicky and warnings as errors: a dead link, or a page that is not in docs/index.md, ends it.
SITE ?= build/site
PAGES ?= docs

.PHONY: site
site: $(VENV) ## the documentation as a site, in build/site/
	@$(PYTHON) -m sphinx --quiet --nitpicky --fail-on-warning --keep-going --fresh-env \
		--conf-dir docs/site --doctree-dir $(SITE)/.doctrees $(PAGES) $(SITE)
	@echo "$(SITE)/index.html"

include $(wildcard ops/*.mk)

.PHONY: clean
clean: ## remove .venv/, .tools/ and every cache
	@rm -rf .venv .tools build .pytest_cache .mypy_cache .ruff_cache .hypothesis warehouse/target warehouse/logs
