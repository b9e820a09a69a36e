"""What ⌘K finds of accounts."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.urls import reverse

from apps.access.scoping import visible
from apps.core.palette import Hit

from .models import Account


def find_accounts(user: Any, text: str, limit: int) -> Iterable[Hit]:
    """Accounts whose name or cloud's own id holds the text. There are few, so no index is needed."""
    rows = visible(user, Account.objects.filter(Q(name__icontains=text) | Q(external_id__icontains=text)))
    return [_hit(account, text.lower()) for account in rows.order_by("name")[:limit]]


def _hit(account: Account, text: str) -> Hit:
    by_name = text in account.name
    known = account.name if by_name else account.external_id.lower()
    score = 1.0 if known == text else (0.88 if known.startswith(text) else 0.72)
    return Hit(
        kind="Account",
        label=account.name,
        url=reverse("accounts:account", args=[account.pk]),
        detail=f"{account.get_cloud_display()} · {account.get_owner_display()}",
        score=score,
        matched="" if by_name else f"cloud's id {account.external_id}",
    )
