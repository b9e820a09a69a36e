"""Who stands in for whom, and when."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.views_base import needs
from apps.core.answers import go

from .. import overriding
from ..forms import OverrideForm
from ..models import OnCallOverride
from ..services import Refused
from .answers import form_page

#: The last overrides that the page shows.
SHOWN = 100


def _show(request: HttpRequest, *, status: int = 200, **said: Any) -> HttpResponse:
    now = timezone.now()
    rows = OnCallOverride.objects.select_related("schedule", "user").order_by("-ends_at", "-id")[:SHOWN]
    lines = [
        {
            "override": o,
            "is_over": o.ends_at <= now,
            "is_on": o.starts_at <= now < o.ends_at,
            "may_end": o.ends_at > now and overriding.may_put(request.user, o.user),
        }
        for o in rows
    ]
    context = {"lines": lines, "trail": [("On call", reverse("alerts:on_call")), ("Overrides", "")], **said}
    return render(request, "alerts/overrides.html", context, status=status)


@needs("view")
def overrides(request: HttpRequest) -> HttpResponse:
    """Those to come, those now, and the last ones."""
    return _show(request)


@needs(Permission.MANAGE_ALERTS, methods=("GET", "HEAD", "POST"))
def new_override(request: HttpRequest) -> HttpResponse:
    """Stand in, or have somebody stand in."""
    form = OverrideForm(request.POST or None, initial={"person": request.user.get_username()})

    def save() -> HttpResponse:
        data = form.cleaned_data
        overriding.stand_in(
            schedule=data["schedule"], user=data["person"], starts_at=data["starts_at"], ends_at=data["ends_at"],
            reason=data["reason"], actor=request.user,
        )  # fmt: skip
        return go(request, "alerts:overrides")

    lead = "somebody stands in for whoever's turn it is; all times are UTC"
    return form_page(
        request, form, save, title="New override", lead=lead, back="alerts:overrides", submit="Stand in"
    )


@needs(Permission.MANAGE_ALERTS, methods=("POST",))
def end_override(request: HttpRequest, pk: int) -> HttpResponse:
    """Whose turn it is counts again."""
    found = get_object_or_404(OnCallOverride.objects.select_related("schedule", "user"), pk=pk)
    try:
        overriding.end_override(found, actor=request.user)
    except Refused as refusal:
        return _show(request, status=422, refused=str(refusal))
    return go(request, "alerts:overrides")
