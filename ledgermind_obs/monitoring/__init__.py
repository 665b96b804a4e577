"""What looks at the metrics: alert rules, dashboards, Grafana."""
