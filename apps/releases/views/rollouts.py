"""The list of rollouts; a new one; one of them, live."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import holds, require, visible
from apps.access.views_base import needs
from apps.core.answers import answer, go
from apps.operations.services import Refused

from .. import returning, scheduling
from .. import rollouts as services
from ..filters import RolloutFilter
from ..forms import NoticesForm, ReasonForm, RetargetForm, RolloutForm, ScheduleForm
from ..models import Advisory, Release, Rollout, RolloutTarget
from ..queries.calendar import calendar_page
from ..queries.rollouts import listed_rollouts, report, rollout_page
from ..tables import RolloutTable
from .answers import first_error, words_of

EMPTY = {
    "title": "Nothing has been rolled out yet",
    "text": "A rollout brings a release to instances in waves; a gate after each decides whether there is a next one.",
}


@needs("view")
def rollout_list(request: HttpRequest) -> HttpResponse:
    """All rollouts that touch what the reader sees."""
    return render_list(
        request,
        page="releases:rollouts",
        title="Rollouts",
        queryset=listed_rollouts(request.user),
        table_class=RolloutTable,
        filter_class=RolloutFilter,
        context={
            "noun": "rollout",
            "empty": EMPTY,
            "live": 3,
            "may_roll_out": holds(request.user, Permission.ROLL_OUT),
        },
        template="releases/rollouts.html",
    )


@needs("roll_out", methods=("GET", "HEAD", "POST"))
def new_rollout(request: HttpRequest) -> HttpResponse:
    """Prepare a rollout; nothing is changed in the fleet until it is started."""
    is_sent = request.method == "POST"
    advisory = _chosen(request, "advisory", Advisory)
    initial = _initial(request, advisory)
    form = RolloutForm(
        request.POST if is_sent else None,
        instance=Rollout(advisory=advisory),
        initial=initial,
        user=request.user,
    )
    if is_sent and form.is_valid():
        try:
            services.prepare_rollout(
                form.instance, actor=request.user, exclusions=form.cleaned_data["exclude"]
            )
            return go(request, "releases:rollout", form.instance.pk)
        except (Refused, ValidationError, PermissionDenied) as error:
            form.instance.pk = None
            form.add_error(None, words_of(error))
    context = {"form": form, "advisory": advisory}
    return render(request, "releases/new_rollout.html", context, status=422 if is_sent else 200)


def _chosen(request: HttpRequest, name: str, model: Any) -> Any:
    text = (request.POST if request.method == "POST" else request.GET).get(name, "")
    is_number = text.isascii() and text.isdigit() and len(text) < 18
    return visible(request.user, model).filter(pk=int(text)).first() if is_number else None


def _initial(request: HttpRequest, advisory: Advisory | None) -> dict[str, Any]:
    initial: dict[str, Any] = {"query": request.GET.get("query", "")[:2_000]}
    if release := _chosen(request, "release", Release):
        initial["release"] = release.pk
    if advisory is not None:
        initial["reason"] = f"{advisory}: {advisory.summary}"[:500]
    return initial


@needs("view")
def rollout(request: HttpRequest, pk: int) -> HttpResponse:
    """Waves, gates, exceptions; live until it has ended."""
    return _page(request, pk)


def _page(request: HttpRequest, pk: int, *, status: int = 200, **said: Any) -> HttpResponse:
    page = rollout_page(request.user, pk)
    context = {
        "page": page,
        "rollout": page.rollout,
        "notices_form": NoticesForm(),
        "retarget_form": RetargetForm(user=request.user),
        **said,
    }
    return answer(request, "releases/rollout.html", "live", context, status=status)


def carry_out(request: HttpRequest, pk: int, form: forms.Form, act: Callable[..., Any]) -> HttpResponse:
    """What a person asks of one rollout: `act` gets it, who asks, and what the form says; the page again with what is wrong."""
    found = get_object_or_404(visible(request.user, Rollout.objects.select_related("release")), pk=pk)
    require(request.user, Permission.ROLL_OUT, found)
    if not form.is_valid():
        return _page(request, pk, status=422, order_error=first_error(form))
    try:
        act(found, actor=request.user, **form.cleaned_data)
    except (Refused, ValidationError) as refusal:
        return _page(request, pk, status=422, order_error=words_of(refusal))
    return go(request, "releases:rollout", pk)


@needs("roll_out", methods=("POST",))
def order(request: HttpRequest, pk: int) -> HttpResponse:
    """Start, pause, resume, abort, roll back, retry, pass a gate, discard."""
    name = request.POST.get("order", "")
    return carry_out(
        request, pk, ReasonForm(request.POST), lambda found, **said: services.steer(found, name, **said)
    )


@needs("roll_out", methods=("POST",))
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a prepared rollout start by itself, or no longer."""
    return carry_out(request, pk, ScheduleForm(request.POST), scheduling.schedule_start)


@needs("roll_out", methods=("POST",))
def take_in(request: HttpRequest, pk: int) -> HttpResponse:
    """Take in instances that were made since its set was frozen."""
    return carry_out(request, pk, ReasonForm(request.POST), scheduling.take_in_newcomers)


@needs("roll_out", methods=("POST",))
def wave_back(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Roll one wave back."""
    return carry_out(
        request,
        pk,
        ReasonForm(request.POST),
        lambda found, **said: returning.roll_back_wave(found, number, **said),
    )


@needs("roll_out", methods=("POST",))
def retarget(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a rollout that stands still another version."""
    return carry_out(request, pk, RetargetForm(request.POST, user=request.user), returning.retarget)


@needs("view")
def calendar(request: HttpRequest) -> HttpResponse:
    """Windows, freezes and rollouts of four weeks."""
    return render(
        request, "releases/calendar.html", {"page": calendar_page(request.user, request.GET.get("from", ""))}
    )


@needs("roll_out", methods=("POST",))
def order_target(request: HttpRequest, target_pk: int) -> HttpResponse:
    """Skip an instance, or take it in again."""
    rows = RolloutTarget.objects.select_related("instance", "rollout__release")
    found = get_object_or_404(visible(request.user, rows), pk=target_pk)
    require(request.user, Permission.ROLL_OUT, found.rollout)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, found.rollout_id, status=422, order_error=first_error(form))
    try:
        services.steer_target(
            found, request.POST.get("order", ""), actor=request.user, reason=form.cleaned_data["reason"]
        )
    except Refused as refusal:
        return _page(request, found.rollout_id, status=422, order_error=str(refusal))
    return go(request, "releases:rollout", found.rollout_id)


@needs("view")
def rollout_report(request: HttpRequest, pk: int) -> HttpResponse:
    """The rollout as evidence, to download."""
    return JsonResponse(
        report(request.user, pk),
        json_dumps_params={"indent": 1},
        headers={"Content-Disposition": f'attachment; filename="rollout-{pk}.json"'},
    )
