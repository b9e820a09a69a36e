"""Certificates from an ACME directory (RFC 8555): accounts, orders, and proving that a name is ours."""
