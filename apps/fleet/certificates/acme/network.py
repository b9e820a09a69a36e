"""A client of one issuer's directory: signs with its account's key, registers the account when it has none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from acme import client, errors, messages
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from ...models import CertificateIssuer
from .doing import doing
from .faults import IssuerFault, explained
from .secrets import unseal

#: Seconds a directory may take for one answer.
TIMEOUT = 15
AGENT = "daytwo"
#: Further tries with a fresh nonce.
NONCES = 3


class Network(client.ClientNetwork):
    """As the library's, telling what came: its errors do not say when to come back."""

    def __init__(self, *args: Any, came: list[requests.Response], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.came = came

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As the library's, which tries a nonce that was refused once more: a busy directory forgets them quickly."""
        for _ in range(NONCES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        if not url.startswith("https://"):
            raise errors.ClientError("it names an address that is not https")
        response = super()._send_request(method, url, *args, allow_redirects=False, **kwargs)
        self.came[:] = [response]
        return response


class Session:
    """An account at a directory, ready to sign."""

    def __init__(self, issuer: CertificateIssuer, acme: client.ClientV2, key: JWK) -> None:
        self.issuer, self.acme, self.key = issuer, acme, key
        self.account = messages.RegistrationResource(uri=issuer.account_url, body=messages.Registration())
        acme.net.account = self.account

    def post(self, url: str, body: Any = None) -> requests.Response:
        """A signed POST; without a body it reads (RFC 8555, 6.3)."""
        return self.acme.net.post(url, body, new_nonce_url=self.acme.directory["newNonce"])


@contextmanager
def session(issuer: CertificateIssuer) -> Iterator[Session]:
    """A session at the issuer's directory. Raises IssuerFault for whatever goes wrong within, in words."""
    with explained(issuer) as came, tempfile.NamedTemporaryFile("w", suffix=".pem") as roots:
        roots.write(issuer.directory_roots)
        roots.flush()
        private = load_pem_private_key(unseal(issuer.key_sealed).encode(), password=None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - secrets.new_key makes no other
        key = JWKEC(key=private)
        net = Network(
            key, alg=ES256, user_agent=AGENT, timeout=TIMEOUT, came=came,
            verify_ssl=roots.name if issuer.directory_roots else True,
        )  # fmt: skip
        net.session.trust_env = False
        acme = client.ClientV2(client.ClientV2.get_directory(issuer.directory_url, net), net)
        _sign_in(issuer, acme, key)
        yield Session(issuer, acme, key)


def _sign_in(issuer: CertificateIssuer, acme: client.ClientV2, key: JWK) -> None:
    """Use the account there is, or register: the same key again gives the same account (RFC 8555, 7.3.1)."""
    if not issuer.account_url:
        try:
            url = acme.new_account(_registration(issuer, acme, key)).uri
        except errors.ConflictError as known:
            url = known.location
        with doing(f"registers an account with {issuer}"):
            issuer.account_url = url
            issuer.save(update_fields=["account_url", "updated_at"])


def _registration(issuer: CertificateIssuer, acme: client.ClientV2, key: JWK) -> messages.NewRegistration:
    binding = None
    if issuer.eab_kid:
        binding = messages.ExternalAccountBinding.from_data(
            key.public_key(), issuer.eab_kid, unseal(issuer.eab_key_sealed), acme.directory
        )
    elif acme.external_account_required():
        raise IssuerFault(
            f"{issuer} takes no account without an external binding: enter its key id and key.",
            retryable=False,
        )
    return messages.NewRegistration.from_data(
        email=issuer.contact or None, external_account_binding=binding, terms_of_service_agreed=True
    )
