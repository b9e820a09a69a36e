"""Recovery policies: what they are, what they decided, what they would have done."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import allowed, visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import approving, managing, queries, rehearsing
from ..forms import RecoveryForm
from ..models import Alert, RecoveryDecision, RecoveryPolicy
from ..panels import recovery_facts
from ..services import Refused, require_on
from .answers import form_page, page

WRITES = ("GET", "HEAD", "POST")
#: Lines of a dry run that are shown.
DRY = 100


@needs("view")
def recoveries(request: HttpRequest) -> HttpResponse:
    """The policies, and the latest decisions of all of them."""
    context = {"policies": queries.policies(request.user), "decisions": queries.decisions(request.user)}
    return page(request, "recoveries", context)


def _find(request: HttpRequest, pk: int) -> RecoveryPolicy:
    rows = visible(request.user, RecoveryPolicy.objects.select_related("account", "cell", "runbook"))
    return get_object_or_404(rows, pk=pk)


def _show(request: HttpRequest, found: RecoveryPolicy, *, status: int = 200, **said: Any) -> HttpResponse:
    context = {
        "policy": found,
        "trail": [("Recovery", reverse("alerts:recoveries")), (str(found), "")],
        "facts": recovery_facts(found),
        "may_write": allowed(request.user, Permission.MANAGE_ALERTS, found),
        "decisions": queries.decisions(request.user, found),
        **said,
    }
    return page(request, "recovery", context, status=status)


@needs("view")
def recovery(request: HttpRequest, pk: int) -> HttpResponse:
    """One policy: its limits, each decision from signal to result; `?dry_run=30`: what it would have done."""
    found = _find(request, pk)
    if request.GET.get("dry_run") != "30":
        return _show(request, found)
    told = rehearsing.would_have(found, rehearsing.past(found))
    seen = set(
        visible(request.user, Alert.objects.filter(pk__in=[a.pk for a, _ in told])).values_list(
            "pk", flat=True
        )
    )
    told = [line for line in told if line[0].pk in seen]
    acted = sum(1 for _, why in told if not why)
    return _show(
        request,
        found,
        dry=[(a, why) for a, why in reversed(told)][:DRY],
        dry_total=len(told),
        dry_acted=acted,
    )


def _edit(request: HttpRequest, found: RecoveryPolicy | None) -> HttpResponse:
    form = RecoveryForm(request.POST or None, instance=found, user=request.user)

    def save() -> HttpResponse:
        made = managing.save_recovery(form.instance, actor=request.user)
        return go(request, "alerts:recovery", made.pk)

    title = found.name if found else "New recovery policy"
    lead = "which alert is answered by which operation, within which limits"
    return form_page(request, form, save, title=title, lead=lead, back="alerts:recoveries")


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_recovery(request: HttpRequest) -> HttpResponse:
    """Make a recovery policy."""
    return _edit(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def edit_recovery(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a recovery policy."""
    found = _find(request, pk)
    require_on(request.user, Permission.MANAGE_ALERTS, found.cell or found.account)
    return _edit(request, found)


@needs("view", methods=("POST",))
def switch_recovery(request: HttpRequest, pk: int) -> HttpResponse:
    """Let it act, or not."""
    found = _find(request, pk)
    managing.switch_recovery(found, on=request.POST.get("on") == "1", actor=request.user)
    return go(request, "alerts:recovery", pk)


@needs("view", methods=("POST",))
def close_breaker(request: HttpRequest, pk: int) -> HttpResponse:
    """Let it act again after its recoveries did not help."""
    found = _find(request, pk)
    try:
        managing.close_breaker(found, actor=request.user)
    except Refused as refusal:
        return _show(request, found, status=422, refused=str(refusal))
    return go(request, "alerts:recovery", pk)


@needs("view", methods=("POST",))
def approve_recovery(request: HttpRequest, pk: int) -> HttpResponse:
    """Let an answer that waits be given, or not."""
    rows = visible(request.user, RecoveryDecision.objects.select_related("policy", "instance", "incident"))
    found = get_object_or_404(rows, pk=pk)
    try:
        approving.decide(found, yes=request.POST.get("yes") == "1", actor=request.user)
    except Refused as refusal:
        return _show(request, found.policy, status=422, refused=str(refusal))
    if found.incident_id:
        return go(request, "alerts:incident", found.incident_id)
    return go(request, "alerts:recovery", found.policy_id)
