"""Certificates that an instance served before, with their keys, so that one can come back: 0600, beside the served one."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..base import ProviderError
from .files import checked_name, write_whole

#: How many are kept.
KEEP = 3


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the first certificate of a PEM file, in hex."""
    return x509.load_pem_x509_certificates(pem)[0].fingerprint(hashes.SHA256()).hex()


def keep(directory: Path) -> None:
    """Keep the certificate that is served now, and forget those past the last few. Raises OSError."""
    served = directory / "served.pem"
    if not served.exists():
        return
    content = served.read_bytes()
    try:
        name = fingerprint(content)
    except ValueError:
        return  # it could not be served either
    write_whole(directory / "replaced" / f"{name}.pem", content)
    found = sorted((directory / "replaced").glob("*.pem"), key=lambda path: path.stat().st_mtime_ns)
    for old in found[:-KEEP]:
        old.unlink(missing_ok=True)


def find(directory: Path, wanted: str) -> bytes:
    """The file of a certificate, served now or kept. Raises ProviderError, not retryable, when it is neither."""
    checked_name(wanted, "a kept certificate")
    for path in (directory / "replaced" / f"{wanted}.pem", directory / "served.pem"):
        if path.exists() and fingerprint(content := path.read_bytes()) == wanted:
            return content
    raise ProviderError(
        "the certificate from before is not kept any more; present a new one", retryable=False
    )
