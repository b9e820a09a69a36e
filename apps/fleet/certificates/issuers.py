"""Which issuer counts where, and how one is kept: with its account's key, in the hands of who may deploy there."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from josepy import b64

from apps.access.choices import Permission
from apps.access.scoping import require, scopes_of
from apps.core.context import acting
from apps.core.events import event, record
from apps.tenants.models import Domain

from ..choices import IssuerKind
from ..models import Cell, CertificateIssuer, Instance
from .acme import network, secrets

#: Names in one certificate; public authorities take a hundred.
MOST_NAMES = 100
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def issuer_of(cell: Cell) -> CertificateIssuer | None:
    """Who issues in a cell: its own, else its account's, else everybody's; None is the internal authority."""
    return _nearest(CertificateIssuer.objects.filter(is_enabled=True), cell)


def _nearest(issuers: Iterable[CertificateIssuer], cell: Cell) -> CertificateIssuer | None:
    by_place = {(i.account_id, i.cell_id): i for i in issuers}
    account = cell.region.account_id
    found = by_place.get((None, cell.pk)) or by_place.get((account, None)) or by_place.get((None, None))
    return found if found is not None and found.kind == IssuerKind.ACME else None


def held_cells(cells: Iterable[Cell]) -> dict[int, CertificateIssuer]:
    """By cell id, the issuer that limits its orders now. One query."""
    enabled = list(CertificateIssuer.objects.filter(is_enabled=True).select_related("cell", "account"))
    found = {cell.pk: _nearest(enabled, cell) for cell in cells}
    return {pk: issuer for pk, issuer in found.items() if issuer is not None and issuer.is_held}


def names_of(issuer: CertificateIssuer, instance: Instance, host: str) -> list[str]:
    """What a certificate is asked for: the instance under the issuer's domain, its host, and its tenants' domains."""
    names = [f"{instance.name}.{issuer.domain}".lower(), host]
    if issuer.covers_tenants:
        rows = Domain.objects.filter(tenant__placements__instance=instance).order_by("name")
        names += rows.values_list("name", flat=True)
    return list(dict.fromkeys(name for name in names if name))[:MOST_NAMES]


# --- Keeping -------------------------------------------------------------------------------------


def save_issuer(issuer: CertificateIssuer, *, eab_key: str = "", actor: Any) -> CertificateIssuer:
    """Keep an issuer; a new one gets its account's key. Another directory is another account, with another key.

    Raises ValidationError, Http404, PermissionDenied: it takes deploying in its place.
    """
    _require(issuer, actor)
    before = CertificateIssuer.objects.filter(pk=issuer.pk).first() if issuer.pk else None
    if eab_key:
        issuer.eab_key_sealed = secrets.seal(_checked_eab(eab_key))
    _check(issuer)
    is_other = before is None or before.directory_url != issuer.directory_url or bool(eab_key)
    if issuer.kind == IssuerKind.ACME and is_other:
        issuer.key_sealed, issuer.account_url = secrets.new_key(), ""
        issuer.held_until, issuer.held_why = None, ""
    issuer.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the issuer {issuer.name}"):
        issuer.save()
        title = f"Certificates in {issuer.place or 'every account'} come from {issuer}"
        where: dict[str, Any] = issuer.event_context()
        record([event("issuer.kept", title, actor=actor, **where)])
    return issuer


def try_issuer(issuer: CertificateIssuer, *, actor: Any) -> str:
    """Register its account, or find it again; gives a word about what came. Raises IssuerFault in words, PermissionDenied."""
    _require(issuer, actor)
    if issuer.kind != IssuerKind.ACME:
        return "The internal authority is always there."
    with acting(actor, reason=f"tries the issuer {issuer.name}"), network.session(issuer) as at:
        at.acme.query_registration(at.account)
    return f"{issuer} answers; the account is {issuer.account_url}."


def _require(issuer: CertificateIssuer, actor: Any) -> None:
    if issuer.place is not None:
        require(actor, Permission.DEPLOY, issuer.place)
    elif not scopes_of(actor, Permission.DEPLOY).everything:
        raise PermissionDenied(
            "An issuer for everything takes the permission to deploy on everything; name a place."
        )


def _check(issuer: CertificateIssuer) -> None:
    complaints: dict[str, str] = {}
    if issuer.kind == IssuerKind.ACME:
        issuer.domain = issuer.domain.strip().lower().strip(".")
        if not issuer.directory_url.startswith("https://"):
            complaints["directory_url"] = "The address of a directory begins with https://."
        if not _DOMAIN.fullmatch(issuer.domain):
            complaints["domain"] = "A domain such as fleet.example.com, of which the instances are part."
        if bool(issuer.eab_kid) != bool(issuer.eab_key_sealed):
            complaints["eab_kid"] = "An external binding has both, a key id and a key."
    for field in ("directory_roots", "roots"):
        if text := getattr(issuer, field).strip():
            try:
                x509.load_pem_x509_certificates(text.encode())
            except ValueError:
                complaints[field] = "This is no certificate in PEM (-----BEGIN CERTIFICATE-----)."
    if complaints:
        raise ValidationError(complaints)


def _checked_eab(key: str) -> str:
    try:
        if len(b64.b64decode(key.strip())) >= 16:
            return key.strip()
    except (ValueError, binascii.Error):
        pass
    raise ValidationError(
        {"eab_kid": "The key of an external binding is base64url, as the authority gave it."}
    )
