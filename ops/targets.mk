##  ---  what comes after the push

COMPOSE := docker compose -f ops/docker-compose.monitoring.yml

.PHONY: ml-dash-import-freshness
ml-dash-import-freshness: $(VENV) ## import the freshness dashboard to $GRAFANA_URL, with $GRAFANA_API_KEY
	@$(OBS) dashboard import ops/grafana/dashboards/ml-source-freshness.json --format json

.PHONY: rules-check
rules-check: $(VENV) ## check the alert rules and the dashboards, against the dbt project and by promtool
	@PGUSER=$${PGUSER:-nobody} $(OBS) rules check --project-dir warehouse
	@PGUSER=$${PGUSER:-nobody} $(OBS) dashboard check ops/grafana/dashboards --project-dir warehouse
	@$(PYTHON) -m pytest -q tests/integration/test_rules.py

.PHONY: monitoring-up
monitoring-up: ## start Prometheus, Alertmanager, Pushgateway and Grafana in Docker
	@$(COMPOSE) up --detach --wait

.PHONY: monitoring-down
monitoring-down: ## stop them; their data stays
	@$(COMPOSE) down

.PHONY: stack
stack: $(VENV) ## the same chain on this machine, without Docker and Grafana, until Ctrl-C
	@$(PYTHON) -m demo.stack
