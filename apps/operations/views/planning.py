"""Schedules."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.views_base import needs
from apps.core.answers import go

from .. import panels, planning, queries
from ..forms import ScheduleForm
from ..models import Schedule
from ..services import Refused


@needs("view")
def schedules(request: HttpRequest) -> HttpResponse:
    """The reader's own schedules, or all of them for who sees everything."""
    return render(
        request,
        "operations/schedules.html",
        {"lines": queries.schedule_lines(request.user), "trail": panels.trail_to(("Schedules", ""))},
    )


@needs("view", methods=("GET", "HEAD", "POST"))
def new_schedule(request: HttpRequest) -> HttpResponse:
    """A schedule of one's own."""
    initial = {name: request.GET[name] for name in ("kind", "target") if name in request.GET}
    user: Any = request.user
    return _edit(request, Schedule(owner=user, zone=user.zone or "UTC"), initial)


@needs("view", methods=("GET", "HEAD", "POST"))
def edit_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a schedule; it stays its owner's."""
    schedule = get_object_or_404(queries.schedules_of(request.user), pk=pk)
    if not planning.may_change(schedule, request.user):
        raise PermissionDenied(
            f"“{schedule.name}” is {schedule.owner}'s; only they, or who may do this everywhere, change it."
        )
    return _edit(request, schedule, {})


def _edit(request: HttpRequest, schedule: Schedule, initial: dict[str, str]) -> HttpResponse:
    is_sent = request.method == "POST"
    form = ScheduleForm(
        request.POST if is_sent else None, instance=schedule, initial=initial, user=request.user
    )
    if is_sent and form.is_valid():
        try:
            planning.save_schedule(form.instance, actor=request.user)
            return go(request, "operations:schedules")
        except ValidationError as error:
            form.add_error(None, error)
        except (Refused, PermissionDenied, Http404) as error:
            form.add_error(None, str(error))
    status = 422 if is_sent else 200
    context = {
        "form": form,
        "schedule": schedule,
        "next_times": planning.next_times(schedule),
        "trail": panels.trail_to(
            ("Schedules", reverse("operations:schedules")), (schedule.name or "New schedule", "")
        ),
    }
    return render(request, "operations/schedule.html", context, status=status)


@needs("view", methods=("POST",))
def switch_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a schedule run or rest."""
    schedule = get_object_or_404(queries.schedules_of(request.user), pk=pk)
    try:
        planning.switch_schedule(schedule, on=request.POST.get("on") == "1", actor=request.user)
    except (Refused, LookupError, ValueError) as error:
        messages.error(request, str(error))
    return go(request, "operations:schedules")


@needs("view", methods=("POST",))
def delete_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a schedule."""
    schedule = get_object_or_404(queries.schedules_of(request.user), pk=pk)
    planning.delete_schedule(schedule, actor=request.user)
    return go(request, "operations:schedules")
