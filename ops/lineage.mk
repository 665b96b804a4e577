##  ---  lineage

# Tables that change only when somebody acts: their age says nothing about the training data.
ML_GATE := --exposure ml_training_pipeline \
	--allow-no-freshness app.suggestion_events --allow-no-freshness app.suggestion_feedback

.PHONY: ml-gate
ml-gate: $(VENV) ## may ML training run on warehouse/?
	@$(OBS) freshness check --project-dir warehouse $(ML_GATE)

.PHONY: lineage-check
lineage-check: $(VENV) ## is warehouse/'s lineage sound and watched?
	@$(OBS) lineage check --project-dir warehouse --tag ml \
		--ignore L203:app.suggestion_events --ignore L203:app.suggestion_feedback

.PHONY: test-browser
test-browser: $(VENV) ## dbt's docs in a headless Chromium
	@$(PYTHON) -m pytest -q tests/browser
