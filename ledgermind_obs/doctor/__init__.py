"""Where is the chain broken: checks from dbt to the alert, each with what was seen."""
