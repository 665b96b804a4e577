##  ---  lineage

.PHONY: builds-push
builds-push: $(VENV) ## push what dbt last built of warehouse/ to $PUSHGATEWAY_URL
	@$(OBS) builds push --project-dir warehouse

.PHONY: ml-gate
ml-gate: $(VENV) ## may ML training run on warehouse/?
	@$(OBS) freshness check --project-dir warehouse --exposure ml_training_pipeline

.PHONY: lineage-check
lineage-check: $(VENV) ## is warehouse/'s lineage sound and watched?
	@$(OBS) lineage check --project-dir warehouse --tag ml

.PHONY: test-browser
test-browser: $(VENV) ## dbt's docs in a headless Chromium
	@$(PYTHON) -m pytest -q tests/browser

.PHONY: test-panels
test-panels: $(VENV) ## the dashboard's panels, drawn by Grafana's own code in Chromium
	@$(PYTHON) -m pytest -q tests/panels

.PHONY: dashboard-picture
dashboard-picture: test-panels ## the README's picture of the dashboard
	@cp build/panels/dashboard.png docs/images/dashboard.png
