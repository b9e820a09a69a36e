"""Runbooks that run by the clock."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import queries
from ..forms import REFUSALS
from ..models import RunbookSchedule
from ..runbook_forms import ScheduleForm
from ..runbooks import scheduling
from .answers import form_page

WRITES = ("GET", "HEAD", "POST")


def _page(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    context = {
        "schedules": queries.runbook_schedules(request.user),
        "trail": [("Runbooks", reverse("alerts:runbooks")), ("Schedules", "")],
        **more,
    }
    return render(request, "alerts/runbook_schedules.html", context, status=status)


@needs("view")
def schedules(request: HttpRequest) -> HttpResponse:
    """What runs by the clock, of what the reader sees."""
    return _page(request)


def _edit(request: HttpRequest, found: RunbookSchedule | None) -> HttpResponse:
    initial = {key: request.GET[key][:63] for key in ("runbook", "instance") if key in request.GET}
    form = ScheduleForm(request.POST or None, instance=found, user=request.user, initial=initial)

    def save() -> HttpResponse:
        scheduling.save(form.instance, actor=request.user)
        return go(request, "alerts:runbook_schedules")

    return form_page(
        request, form, save, title=found.name if found else "New schedule of a runbook",
        lead="it runs with the rights of whoever kept it last", back="alerts:runbook_schedules",
    )  # fmt: skip


@needs(Permission.RESTART, methods=WRITES)
def new_schedule(request: HttpRequest) -> HttpResponse:
    """Have a runbook run by the clock; what its operations need is asked for there."""
    return _edit(request, None)


@needs(Permission.RESTART, methods=WRITES)
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Change when and how it runs."""
    rows = RunbookSchedule.objects.select_related("runbook", "instance__cell__region")
    return _edit(request, get_object_or_404(visible(request.user, rows, Permission.RESTART), pk=pk))


@needs("view", methods=("POST",))
def switch_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Let it run, or not."""
    rows = RunbookSchedule.objects.select_related("runbook", "instance__cell__region")
    found = get_object_or_404(visible(request.user, rows), pk=pk)
    try:
        scheduling.switch(found, on=request.POST.get("on") == "1", actor=request.user)
    except REFUSALS as refusal:
        return _page(request, status=422, refused=str(refusal))
    return go(request, "alerts:runbook_schedules")
