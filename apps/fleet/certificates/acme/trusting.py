"""Which root a chain ends in: probes and handshakes trust that one, not all that the machine trusts."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from ...models import CertificateIssuer
from .faults import IssuerFault


def root_of(issuer: CertificateIssuer, chain_pem: bytes) -> bytes:
    """The root, as PEM, of those entered with the issuer or else of the machine's. Raises IssuerFault."""
    last = x509.load_pem_x509_certificates(chain_pem)[-1]
    roots = x509.load_pem_x509_certificates(issuer.roots.encode()) if issuer.roots else _of_machine()
    for root in roots:
        if root.subject == last.issuer and _signed(last, root):
            return root.public_bytes(serialization.Encoding.PEM)
    where = "entered with the issuer" if issuer.roots else "that this machine trusts"
    raise IssuerFault(
        f"{issuer}: the chain ends in “{last.issuer.rfc4514_string()}”, which is none of the roots {where}; "
        "enter the right root, or its visitors will not trust it either.",
        retryable=False,
    )


def _signed(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@cache
def _of_machine() -> list[x509.Certificate]:
    file = ssl.get_default_verify_paths().cafile
    return x509.load_pem_x509_certificates(Path(file).read_bytes()) if file and Path(file).exists() else []
