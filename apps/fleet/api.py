"""Instances for programs."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from apps.access.api import api, listed
from apps.access.scoping import visible

from .models import Instance


@api("view")
def instances(request: HttpRequest) -> HttpResponse:
    """The instances that the token's owner sees; `?health=`, `?version=` narrow them."""
    rows = visible(request.user, Instance.objects.select_related("cell__region__account"))
    for name in ("health", "version"):
        if value := request.GET.get(name):
            rows = rows.filter(**{name: value})
    return listed(request, rows, _as_dict)


def _as_dict(one: Instance) -> dict[str, Any]:
    return {
        "id": one.pk,
        "name": one.name,
        "kind": one.kind,
        "cell": one.cell.name,
        "account": one.cell.region.account.name,
        "health": one.health,
        "health_since": one.health_since.isoformat(),
        "version": one.version,
        "wanted_version": one.wanted_version,
        "locked": one.locked_reason or one.cell.locked_reason,
    }
