"""Secrets that must be known again are kept sealed; those that are only compared, as their hash."""

import hashlib
import hmac
import os
import secrets

from apps.core.seals import Sealer, Unreadable

__all__ = [
    "Unreadable",
    "from_environment",
    "new_token",
    "seal",
    "signature",
    "token_hash",
    "unseal",
]

_sealer = Sealer(b"daytwo.alerts.seal", "ALERTS_SEAL_KEY")
seal, unseal = _sealer.seal, _sealer.unseal


def from_environment(name: str) -> str:
    """The value of an environment variable. Raises Unreadable when it is not set."""
    if value := os.environ.get(name, ""):
        return value
    raise Unreadable(f"The environment variable {name} is not set for this process.")


def new_token() -> str:
    """A token that nobody guesses; shown once, kept as `token_hash` alone."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256 in hex: tokens are long and random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def signature(secret: str, at: str, body: bytes) -> str:
    """HMAC-SHA-256 of `<unix seconds>.<body>` in hex, as Stripe signs its webhooks."""
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
