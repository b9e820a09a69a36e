"""What the pages of releases read."""
