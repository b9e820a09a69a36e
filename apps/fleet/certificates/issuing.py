"""Who issues: the internal authority, whose key never leaves the workers' disk."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from .. import providers
from ..choices import ProviderName
from ..providers.local.authority import AUTHORITY_NAME, Authority
from ..providers.local.provider import LocalProvider


def authority() -> Authority:
    """The internal authority, which every probe of the local fleet trusts."""
    provider = providers.get(ProviderName.LOCAL)
    assert isinstance(provider, LocalProvider)  # noqa: S101 - the registry says so
    return provider.authority


def issue(names: Sequence[str]) -> tuple[bytes, bytes]:
    """A new leaf with a new key for these names, the first as subject: (chain PEM, key PEM)."""
    return authority().issue(names)


def is_ours(issuer: str) -> bool:
    """Whether a certificate of this issuer can be renewed here."""
    return issuer == f"CN={AUTHORITY_NAME}"


def fingerprint_of(chain_pem: bytes) -> str:
    """SHA-256 of the leaf, in hex, as a handshake tells it."""
    return x509.load_pem_x509_certificates(chain_pem)[0].fingerprint(hashes.SHA256()).hex()
