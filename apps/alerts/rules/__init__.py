"""Rules of the portal's own, over the coarse history or a Prometheus: what they are, how they are evaluated."""
