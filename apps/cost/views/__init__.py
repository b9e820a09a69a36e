"""The money's pages."""
