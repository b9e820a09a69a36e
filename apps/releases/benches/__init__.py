"""Benches of releases: `make bench ONLY=releases`."""
