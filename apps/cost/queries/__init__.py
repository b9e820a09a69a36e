"""What the money's pages read."""
