"""Alerting's pages, and its doors for machines."""
