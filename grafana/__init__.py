"""Dashboards as code, the queries behind them, and a preview for machines without Grafana."""
