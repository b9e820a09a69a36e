"""Signatures of artifacts: Ed25519 over the digest's hexadecimal text, by a key that the settings name."""

import base64
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ValidationError

from .models import Artifact


def has_keys() -> bool:
    """Whether signatures are asked for at all."""
    return bool(settings.RELEASE_SIGNING_KEYS)


def is_signed(artifact: Artifact) -> bool:
    """Whether one of the keys signed the artifact's digest. Raises ValueError for a key that is none."""
    try:
        signature = base64.b64decode(artifact.signature, validate=True)
    except ValueError:  # letters that base64 has not, or a part of it
        return False
    return any(_verifies(key, signature, artifact.sha256.encode()) for key in _keys())


def check_signature(text: str) -> None:
    """Raises ValidationError for a text that can be no signature; an empty one is none."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValidationError({"signature": "A signature is written in base64."}) from error


def _keys() -> list[Ed25519PublicKey]:
    try:
        return [
            Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
            for text in settings.RELEASE_SIGNING_KEYS
        ]
    except ValueError as error:
        raise ValueError(
            "RELEASE_SIGNING_KEYS holds something that is no Ed25519 public key; "
            "each is 32 bytes in base64, without header."
        ) from error


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def complaint(version: str, artifacts: Iterable[Artifact]) -> str:
    """Why a version may not be deployed as far as its signatures go; empty where nothing is wrong.

    Without keys in the settings nothing is asked. With them, there must be an artifact, and each must be signed.
    """
    if not has_keys():
        return ""
    mine = list(artifacts)
    if not mine:
        return f"Version {version} has no signed artifact."
    bad = [artifact.name for artifact in mine if not is_signed(artifact)]
    return f"Version {version} has artifacts without a good signature: {', '.join(bad[:3])}." if bad else ""


def why_unknown(version: str) -> str:
    """Why a version that is no known release may not be deployed; empty where signatures are not asked for."""
    if not has_keys():
        return ""
    return f"Version {version} is no known release, so nothing says that it is signed."
