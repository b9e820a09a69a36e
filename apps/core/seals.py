"""Secrets that must be known again are kept sealed: encrypted and authenticated, with a key from the settings."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class Unreadable(Exception):
    """A sealed value cannot be opened: the key changed, or the environment variable is not set."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals one subject's secrets. `setting` names the setting with its key; where that is empty, SECRET_KEY does."""

    salt: bytes
    setting: str

    def _fernet(self) -> Fernet:
        key = getattr(settings, self.setting) or settings.SECRET_KEY
        digest = hashlib.scrypt(key.encode(), salt=self.salt, n=2**10, r=8, p=1, dklen=32)
        return Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, text: str) -> str:
        """The text, encrypted and authenticated (Fernet)."""
        return self._fernet().encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """The text again. Raises Unreadable when the key is another one."""
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise Unreadable(
                f"It was sealed with another key: set {self.setting} back, or enter it again."
            ) from error
