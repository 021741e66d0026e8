"""Grafana's dashboards: `python -m tools.dashboards` writes them to workloads/monitoring/base/dashboards."""
