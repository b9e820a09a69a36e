"""Figures and logs that are kept beside the portal: by Prometheus' and Loki's query APIs."""
