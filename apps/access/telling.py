"""What is told of access: on which timeline, and to whom."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from .choices import ScopeKind
from .models import Scope

_FIELD = {
    ScopeKind.ACCOUNT: "account_id",
    ScopeKind.CELL: "cell_id",
    ScopeKind.TENANT: "tenant_id",
}


def context_of_scope(scope: Scope) -> dict[str, Any]:
    """The context column of an event that puts it on the timeline of what the scope is of."""
    name = _FIELD.get(ScopeKind(scope.kind))
    return {name: scope.object_id} if name else {}


def link(name: str, *args: object) -> str:
    """A page's whole address, for a letter."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(name, args=args)}"


def span(minutes: int) -> str:
    """A number of minutes in words: “2 h”, “1 h 30 min”, “45 min”."""
    hours, rest = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)
