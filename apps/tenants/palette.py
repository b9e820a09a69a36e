"""What ⌘K finds of tenants: what the lookup finds."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from apps.core.palette import Hit

from . import queries
from .choices import TenantState


def find_tenants(user: Any, text: str, limit: int) -> Iterable[Hit]:
    """The lookup's answers as hits."""
    return [_hit(answer) for answer in queries.answers(user, text, limit=limit)]


def _hit(answer: queries.Answer) -> Hit:
    found = answer.found
    parts = [found.plan, answer.standing.label.lower() if answer.standing else "on no instance"]
    if found.state != TenantState.ACTIVE:
        parts.insert(0, str(TenantState(found.state).label).lower())
    return Hit(
        kind="Tenant",
        label=found.name,
        url=reverse("tenants:tenant", args=[found.tenant_id]),
        detail=" · ".join(part for part in parts if part),
        score=found.score,
        matched=found.why,
    )
