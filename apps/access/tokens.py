"""API tokens: made by their owner, shown once, kept as a hash, ended by time or by hand."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.core.context import acting
from apps.core.events import event, record

from . import scoping
from .choices import NEVER_PROVISIONED, Permission, UserKind
from .granting import NotGiven
from .models import ApiToken

PREFIX = "dt_"
MOST_DAYS = 365
#: Seconds between two writes of when a token was last used.
TOUCH = 60


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(
    *, owner: Any, name: str, permissions: Sequence[str], days: int, may_give: Sequence[str] = ()
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is nowhere kept: show it now or never.

    `may_give`: what the groups that a provisioning token fills may allow. Raises NotGiven for no permission, one
    that the owner does not hold anywhere (to provision: on everything), or a bad length.
    """
    wanted = [str(p) for p in Permission if p in permissions]
    if not wanted:
        raise NotGiven("Choose what the token may do.")
    if lacking := [Permission(p).label for p in wanted if not scoping.holds(owner, p)]:
        raise NotGiven(f"You do not hold: {', '.join(lacking)}.")
    given = _may_give(owner, wanted, may_give)
    if not 1 <= days <= MOST_DAYS:
        raise NotGiven(f"A token lasts a day to {MOST_DAYS} days.")
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic(durable=True), acting(owner, reason=f"makes the API token {name}"):
        token = ApiToken.objects.create(
            owner=owner, name=name, start=secret[:8], digest=_digest(secret), permissions=wanted, may_give=given,
            expires_at=timezone.now() + timedelta(days=days),
        )  # fmt: skip
        record([event("token.made", f"{owner} made the API token {name}")])
    return token, secret


def _may_give(owner: Any, wanted: Sequence[str], may_give: Sequence[str]) -> list[str]:
    given = [str(p) for p in Permission if p in may_give]
    if Permission.PROVISION not in wanted:
        if given:
            raise NotGiven(f"Only a token that may “{Permission.PROVISION.label}” fills groups.")
        return []
    if not scoping.scopes_of(owner, Permission.PROVISION).everything:
        raise NotGiven("People and groups reach everywhere: to provision them you need it on everything.")
    barred = [Permission(p).label for p in given if p in NEVER_PROVISIONED or not scoping.holds(owner, p)]
    if barred:
        raise NotGiven(f"No directory gives these, or you do not hold them: {', '.join(barred)}.")
    return given


def find(secret: str) -> ApiToken | None:
    """The token of this secret, if it stands: not revoked, not expired, its owner active."""
    if not secret.startswith(PREFIX) or len(secret) > 100:
        return None
    now = timezone.now()
    token: ApiToken | None = (
        ApiToken.objects.select_related("owner")
        .filter(digest=_digest(secret), revoked_at__isnull=True, expires_at__gt=now)
        .filter(owner__is_active=True, owner__kind=UserKind.PERSON)
        .first()
    )
    if token is None:
        return None
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - timedelta(seconds=TOUCH))
    ApiToken.objects.filter(stale, pk=token.pk).unrecorded_update(last_used_at=now)
    token.owner._only = frozenset(token.permissions)  # type: ignore[attr-defined]
    return token


def revoke(token: ApiToken, *, actor: Any) -> None:
    """End a token at once: its owner, or who manages access on everything. Raises PermissionDenied for anybody else."""
    if token.owner_id != actor.pk and not scoping.scopes_of(actor, Permission.MANAGE_ACCESS).everything:
        raise PermissionDenied(
            f"It is {token.owner}'s token; they end it, or who manages access on everything."
        )
    with transaction.atomic(durable=True), acting(actor, reason=f"revokes the API token {token.name}"):
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save()
            record([event("token.revoked", f"The API token {token.name} of {token.owner} was revoked")])
