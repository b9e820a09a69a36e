"""The operations' pages."""
