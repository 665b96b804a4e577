##  ---  what comes after the push

COMPOSE := docker compose -f ops/docker-compose.monitoring.yml

.PHONY: ml-dash-import-freshness
ml-dash-import-freshness: $(VENV) ## import the dashboard to $GRAFANA_URL
	@$(OBS) dashboard import ops/grafana/dashboards/ml-source-freshness.json --format json

RULES := $(OBS) rules generate --project-dir warehouse --critical-after 5d \
	--output prometheus/rules/dbt_freshness.yml --tests tests/rules/generated.yml

.PHONY: rules
rules: $(VENV) ## write the alert rules of warehouse/, and their cases
	@$(RULES)

DASHBOARD := $(OBS) dashboard generate --project-dir warehouse --all-projects \
	--title "LedgerMind ML Source Freshness" --uid ml-freshness \
	--tile app.transactions --tile app.transaction_labels --tile app.ml_features \
	--output ops/grafana/dashboards/ml-source-freshness.json

.PHONY: dashboard
dashboard: $(VENV) ## write the dashboard of warehouse/
	@$(DASHBOARD)

.PHONY: rules-check
rules-check: $(VENV) ## do rules and dashboards match the metrics?
	@$(RULES) --check
	@$(DASHBOARD) --check
	@$(OBS) rules check --project-dir warehouse --fail-on warning \
		--alertmanager ops/alertmanager/alertmanager.yml
	@$(OBS) dashboard check ops/grafana/dashboards --project-dir warehouse --fail-on warning
	@$(PYTHON) -m pytest -q tests/integration/test_rules.py

.PHONY: rules-prove
rules-prove: $(VENV) ## fifty projects' rules on the real Prometheus and Alertmanager
	@OBS_TEST_PROJECTS=50 $(PYTHON) -m pytest -q tests/integration/test_generated_rules.py

.PHONY: monitoring-up
monitoring-up: ## start the whole chain in Docker
	@$(COMPOSE) up --detach --wait

.PHONY: monitoring-down
monitoring-down: ## stop them; their data stays
	@$(COMPOSE) down

.PHONY: stack
stack: $(VENV) ## the chain on this machine, without Docker
	@$(PYTHON) -m demo.stack
