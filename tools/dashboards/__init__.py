"""Grafana's dashboards, made from a table of panels: `python -m tools.dashboards` writes deploy/dashboards."""
