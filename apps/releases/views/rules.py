"""Holds, freezes, the blast radius."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.views_base import needs
from apps.core.answers import go
from apps.operations.services import Refused

from .. import escalating, metering
from .. import rules as services
from ..forms import (
    FreezeForm,
    HoldForm,
    HoursForm,
    PolicyForm,
    ReasonForm,
    SeenForm,
    SourceForm,
    StepForm,
    WindowForm,
)
from ..models import BlastPolicy, ClockStep, Freeze, Hold, Window
from ..queries.rules import rules_page
from .answers import first_error, words_of


@needs("view")
def rules(request: HttpRequest) -> HttpResponse:
    """What rollouts, and every change, must keep."""
    return _page(request)


def _page(request: HttpRequest, *, status: int = 200, **said: Any) -> HttpResponse:
    context = {
        "page": rules_page(request.user),
        "hold_form": HoldForm(user=request.user),
        "freeze_form": FreezeForm(user=request.user),
        "window_form": WindowForm(user=request.user),
        "policy_form": PolicyForm(user=request.user),
        "hours_form": HoursForm(),
        "step_form": StepForm(),
        "source_form": SourceForm(),
        **said,
    }
    return render(request, "releases/rules.html", context, status=status)


def _added(request: HttpRequest, name: str, form: Any, add: Callable[[], Any]) -> HttpResponse:
    """Add what a form says, or the page again with what is wrong."""
    if form.is_valid():
        try:
            add()
            return go(request, "releases:rules")
        except (Refused, ValidationError) as error:
            form.add_error(None, words_of(error))
    return _page(request, status=422, **{f"open_{name}": True, f"{name}_form": form})


def _ended(request: HttpRequest, end: Callable[[str], Any]) -> HttpResponse:
    """End something with a reason, or the page again with what stands against it."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, error=first_error(form))
    try:
        end(form.cleaned_data["reason"])
    except Refused as refusal:
        return _page(request, status=422, error=str(refusal))
    return go(request, "releases:rules")


@needs("roll_out", methods=("POST",))
def hold(request: HttpRequest) -> HttpResponse:
    """Keep rollouts away from a tenant for a while."""
    form = HoldForm(request.POST, user=request.user)
    return _added(request, "hold", form, lambda: services.set_hold(actor=request.user, **form.cleaned_data))


@needs("roll_out", methods=("POST",))
def hold_end(request: HttpRequest, hold_pk: int) -> HttpResponse:
    """End one's own hold, or ask for and agree to the end of another's."""
    found = get_object_or_404(visible(request.user, Hold.objects.select_related("tenant")), pk=hold_pk)
    return _ended(request, lambda reason: services.end_hold(found, actor=request.user, reason=reason))


@needs("roll_out", methods=("POST",))
def freeze(request: HttpRequest) -> HttpResponse:
    """Announce a freeze."""
    form = FreezeForm(request.POST, user=request.user)
    return _added(request, "freeze", form, lambda: services.add_freeze(form.instance, actor=request.user))


@needs("manage_releases", methods=("POST",))
def freeze_end(request: HttpRequest, freeze_pk: int) -> HttpResponse:
    """Ask for the end of a freeze, or agree to it."""
    found = get_object_or_404(visible(request.user, Freeze), pk=freeze_pk)
    return _ended(request, lambda reason: services.end_freeze(found, actor=request.user, reason=reason))


@needs("roll_out", methods=("POST",))
def window(request: HttpRequest) -> HttpResponse:
    """Give a tenant a maintenance window."""
    form = WindowForm(request.POST, user=request.user)
    return _added(
        request, "window", form, lambda: services.add_window(Window(**form.cleaned_data), actor=request.user)
    )


@needs("roll_out", methods=("POST",))
def window_end(request: HttpRequest, window_pk: int) -> HttpResponse:
    """Take a maintenance window away, or ask for it, or agree to it."""
    found = get_object_or_404(visible(request.user, Window.objects.select_related("tenant")), pk=window_pk)
    return _ended(request, lambda reason: services.remove_window(found, actor=request.user, reason=reason))


@needs("roll_out", methods=("POST",))
def window_agree(request: HttpRequest, window_pk: int) -> HttpResponse:
    """Agree to a further maintenance window."""
    found = get_object_or_404(visible(request.user, Window.objects.select_related("tenant")), pk=window_pk)
    try:
        services.agree_window(found, actor=request.user)
    except Refused as refusal:
        return _page(request, status=422, error=str(refusal))
    return go(request, "releases:rules")


@needs("manage_releases", methods=("POST",))
def limit(request: HttpRequest) -> HttpResponse:
    """Set a limit of the blast radius, or ask for a higher one."""
    form = PolicyForm(request.POST, user=request.user)

    def add() -> None:
        data = {key: value for key, value in form.cleaned_data.items() if key != "name"}
        services.set_policy(actor=request.user, **data)

    return _added(request, "policy", form, add)


@needs("approve", methods=("POST",))
def limit_approve(request: HttpRequest, policy_pk: int) -> HttpResponse:
    """Agree to a higher limit."""
    found = get_object_or_404(visible(request.user, BlastPolicy), pk=policy_pk)
    form = SeenForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, error=first_error(form))
    found.wanted_count, found.wanted_percent = form.cleaned_data["count"], form.cleaned_data["percent"]
    try:
        services.approve_policy(found, actor=request.user)
    except Refused as refusal:
        return _page(request, status=422, error=str(refusal))
    return go(request, "releases:rules")


@needs("manage_releases", methods=("POST",))
def clock_hours(request: HttpRequest) -> HttpResponse:
    """Say how long a severity has."""
    form = HoursForm(request.POST)
    return _added(
        request, "hours", form, lambda: escalating.set_hours(actor=request.user, **form.cleaned_data)
    )


@needs("manage_releases", methods=("POST",))
def clock_step(request: HttpRequest) -> HttpResponse:
    """Have somebody asked before security deadlines."""
    form = StepForm(request.POST)

    def add() -> None:
        data = {key: value for key, value in form.cleaned_data.items() if key != "reason"}
        escalating.add_step(ClockStep(**data), actor=request.user, reason=form.cleaned_data["reason"])

    return _added(request, "step", form, add)


@needs("manage_releases", methods=("POST",))
def clock_step_end(request: HttpRequest, step_pk: int) -> HttpResponse:
    """Have somebody asked no longer."""
    found = get_object_or_404(visible(request.user, ClockStep), pk=step_pk)
    require(request.user, Permission.MANAGE_RELEASES, found)
    return _ended(request, lambda reason: escalating.remove_step(found, actor=request.user, reason=reason))


@needs("manage_releases", methods=("POST",))
def metric_source(request: HttpRequest) -> HttpResponse:
    """Set a source of metrics."""
    form = SourceForm(request.POST)

    def add() -> None:
        metering.save_source(form.instance, actor=request.user, reason=form.cleaned_data["reason"])

    return _added(request, "source", form, add)
