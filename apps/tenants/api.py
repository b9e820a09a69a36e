"""Tenants for programs."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from apps.access.api import api, listed
from apps.access.scoping import visible

from .models import Tenant


@api("view")
def tenants(request: HttpRequest) -> HttpResponse:
    """The tenants that the token's owner sees; `?key=` finds one."""
    rows = visible(request.user, Tenant)
    if key := request.GET.get("key"):
        rows = rows.filter(key=key)
    return listed(request, rows, _as_dict)


def _as_dict(one: Tenant) -> dict[str, Any]:
    return {"id": one.pk, "key": one.key, "name": one.name, "state": one.state}
