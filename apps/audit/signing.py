"""The portal's own signing key, from its settings; in development one is made and kept beside the data."""

import os
import tempfile
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from . import keys


class NoKey(RuntimeError):
    """Nothing can be sealed."""

    def __init__(self) -> None:
        super().__init__(
            "AUDIT_SIGNING_KEY is not set: the trail is recorded but not sealed. Make a key with "
            "`manage.py audit keygen`, keep it in your secret store, and give it to the worker's environment."
        )


def signing_key() -> Ed25519PrivateKey:
    """The key that seals. Raises NoKey in production without one, `keys.BadKey` for a value that is none."""
    text = settings.AUDIT_SIGNING_KEY or ("" if settings.PRODUCTION else _kept_key())
    if not text:
        raise NoKey
    return keys.private_key(text)


def _kept_key() -> str:
    """Development's key: made once, in a file that only its owner reads; whoever comes second reads the first one's."""
    path = settings.DAYTWO_DATA_DIR / "audit_signing_key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written whole under another name first: nobody reads half a key. mkstemp's files are their owner's alone.
        descriptor, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(keys.new_private_text() + "\n")
        with suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return str(path.read_text().strip())


def trusted_keys() -> dict[str, Ed25519PublicKey]:
    """The keys whose seals the portal takes: its own, and those named in AUDIT_TRUSTED_KEYS."""
    found = keys.trusted(settings.AUDIT_TRUSTED_KEYS)
    try:
        own = signing_key().public_key()
    except NoKey:
        return found
    return {**found, keys.key_id(own): own}


def public_keys() -> list[tuple[str, str]]:
    """Id and base64 of the keys that `trusted_keys` takes, for those who keep them elsewhere."""
    return [(name, keys.text_of(key)) for name, key in trusted_keys().items()]
