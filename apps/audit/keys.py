"""The key that signs the seals, and the keys that a verifier trusts. No Django here: an outsider needs only this."""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class BadKey(ValueError):
    """A key that is no Ed25519 key as the documentation asks for."""


def _raw(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise BadKey(f"{what} must be 32 bytes in base64; make one with: manage.py audit keygen")
    return raw


def private_key(text: str) -> Ed25519PrivateKey:
    """The signing key from its base64 text. Raises BadKey, which never shows the text."""
    return Ed25519PrivateKey.from_private_bytes(_raw(text, "AUDIT_SIGNING_KEY"))


def public_key(text: str) -> Ed25519PublicKey:
    """A verifying key from its base64 text. Raises BadKey."""
    return Ed25519PublicKey.from_public_bytes(_raw(text, "A public key"))


def new_private_text() -> str:
    """A new signing key, as AUDIT_SIGNING_KEY wants it."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def text_of(key: Ed25519PublicKey) -> str:
    """A verifying key in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def key_id(key: Ed25519PublicKey) -> str:
    """What a seal names its key by: 16 hexadecimal digits of the SHA-256 of the key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def trusted(texts: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Verifying keys by their id."""
    return {key_id(key): key for key in map(public_key, texts)}


def is_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the holder of the key signed the message."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
