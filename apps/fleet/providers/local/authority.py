"""The local fleet's certificate authority: EC P-256, its key 0600 under `<root>/authority/`."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..base import ProviderError, ServedCertificate
from .files import locked, write_whole

AUTHORITY_NAME = "Daytwo local fleet authority"
AUTHORITY_DAYS = 3650
LEAF_DAYS = 90
_SKEW = timedelta(minutes=5)


class Authority:
    """Issues the instances' certificates. Safe across processes: made once, under a lock."""

    def __init__(self, directory: Path) -> None:
        self.certificate_file = directory / "ca.pem"
        self.key_file = directory / "ca.key"
        self.trusted = directory / "trusted"
        self._lock_file = directory / "ca.lock"

    def prepare(self) -> None:
        """Make the authority when there is none; an existing one is kept."""
        if self.certificate_file.exists() and self.key_file.exists():
            return
        with locked(self._lock_file):
            if self.certificate_file.exists() and self.key_file.exists():
                return
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            certificate = (
                _unsigned(name, name, key.public_key(), AUTHORITY_DAYS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(key, hashes.SHA256())
            )
            write_whole(self.key_file, _key_pem(key))
            write_whole(
                self.certificate_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644
            )

    def issue(self, names: Sequence[str], *, days: float = LEAF_DAYS) -> tuple[bytes, bytes]:
        """A leaf for these DNS names and IP addresses, the first as subject: (chain PEM, key PEM)."""
        self.prepare()
        authority = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        signer = serialization.load_pem_private_key(self.key_file.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        leaf = (
            _unsigned(subject, authority.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(signer_id, critical=False)
            .sign(signer, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM), _key_pem(key)

    def trust(self, root_pem: bytes) -> None:
        """Have clients trust another authority's root too; it is trusted already: no effect. Raises ProviderError, OSError."""
        try:
            root = x509.load_pem_x509_certificate(root_pem)
        except ValueError as error:
            raise ProviderError("the root is no certificate in PEM", retryable=False) from error
        path = self.trusted / f"{root.fingerprint(hashes.SHA256()).hex()}.pem"
        if not path.exists():
            write_whole(path, root.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def trusted_since(self) -> int:
        """A number that changes when another root is trusted; one stat."""
        try:
            return self.trusted.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def trusts_as_of(self, since: int) -> bool:
        """Whether no further root was trusted since `trusted_since` told this number."""
        return self.trusted_since() == since

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this authority and what `trust` was told. Lean: the system's 140 roots are not loaded."""
        self.prepare()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cafile=str(self.certificate_file))
        for root in sorted(self.trusted.glob("*.pem")):
            context.load_verify_locations(cafile=str(root))
        return context


def checked_pair(chain_pem: bytes, key_pem: bytes) -> bytes:
    """Key and chain as one file's content, when they belong together.

    Raises ProviderError, not retryable, when either cannot be read or the key is another certificate's.
    """
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = (
            f"the certificate or its key is not readable PEM without a passphrase ({type(error).__name__})"
        )
        raise ProviderError(message, retryable=False) from error
    if _public_bytes(chain[0]) != key.public_key().public_bytes(*_SPKI):
        raise ProviderError(
            "the key does not belong to the first certificate of the chain; send leaf first, with its own key",
            retryable=False,
        )
    encoded = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    return _key_pem(key) + encoded


def described(der: bytes) -> ServedCertificate:
    """What a page shows of a certificate; the fingerprint is SHA-256 in hex."""
    certificate = x509.load_der_x509_certificate(der)
    names: tuple[str, ...] = ()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(str(name.value) for name in extension.value)
    except x509.ExtensionNotFound:
        pass
    return ServedCertificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=names,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key=_key_kind(certificate),
    )


def expired_own(pem: bytes) -> bool:
    """Whether the served file holds a certificate of the local authority whose time is over."""
    certificate = x509.load_pem_x509_certificate(pem)
    own = certificate.issuer.rfc4514_string() == f"CN={AUTHORITY_NAME}"
    return own and certificate.not_valid_after_utc <= datetime.now(UTC)


_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(*_SPKI)


def _key_kind(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return f"{'RSA' if isinstance(key, rsa.RSAPublicKey) else 'DSA'} {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else "unknown"


def _key_pem(key: object) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return key.private_bytes(encoding, form, plain)  # type: ignore[attr-defined,no-any-return]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(int.from_bytes(os.urandom(16)) >> 1)
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
