"""Secrets that must be known again are kept sealed; those that are only compared, as their hash."""

import base64
import hashlib
import hmac
import os
import secrets

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class Unreadable(Exception):
    """A sealed value cannot be opened: the key changed, or the environment variable is not set."""


def _fernet() -> Fernet:
    key = settings.ALERTS_SEAL_KEY or settings.SECRET_KEY
    digest = hashlib.scrypt(key.encode(), salt=b"daytwo.alerts.seal", n=2**10, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(digest))


def seal(text: str) -> str:
    """The text, encrypted and authenticated (Fernet)."""
    return _fernet().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text again. Raises Unreadable when the key is another one."""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable(
            "It was sealed with another key: set ALERTS_SEAL_KEY back, or enter it again."
        ) from error


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
