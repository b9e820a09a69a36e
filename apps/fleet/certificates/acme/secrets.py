"""Keys of accounts and of orders under way: made here, kept sealed, opened only where a request is signed."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.core.seals import Sealer

_sealer = Sealer(b"daytwo.certificates.seal", "CERTIFICATES_SEAL_KEY")
seal, unseal = _sealer.seal, _sealer.unseal


def new_key() -> str:
    """A new EC P-256 key as PEM, sealed."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return seal(pem.decode())
