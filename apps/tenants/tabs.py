"""The tabs of one tenant's pages, ours and those of floors above."""

from typing import Any

from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import allowed

from . import panels, queries
from .models import Tenant


def tabs_of(
    user: Any, tenant: Tenant, active: str, *, sees_access: bool | None = None
) -> list[dict[str, Any]]:
    """The tabs that the reader may open, in order. `sees_access`: as `may_see_access` answered; None: it is asked."""
    tabs = [("now", "tenants:tenant", "Now"), ("timeline", "tenants:timeline", "Timeline")]
    # Whoever reads the page may view the tenant: that is not asked again.
    tabs += [
        (tab.name, tab.url_name, tab.label)
        for tab in panels.tabs
        if tab.permission == Permission.VIEW or allowed(user, tab.permission, tenant)
    ]
    if queries.may_see_access(user, tenant) if sees_access is None else sees_access:
        tabs.append(("access", "tenants:access", "Who may touch it"))
    return [
        {"label": label, "url": reverse(url_name, args=[tenant.pk]), "active": name == active}
        for name, url_name, label in tabs
    ]
