"""On call, channels, sources: who is told, by which way, and who may send."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.scoping import scopes_of
from apps.access.views_base import needs
from apps.core.answers import go

from .. import gaps, managing
from ..choices import SourceKind
from ..forms import ChannelForm, EscalationForm, HeartbeatForm, OnCallForm, SourceForm
from ..models import (
    Channel,
    EscalationPolicy,
    Heartbeat,
    OnCallSchedule,
    SignalCount,
    Source,
    TelemetrySource,
)
from ..panels import on_call_lines, policy_lines
from ..services import Refused, require_on
from .answers import form_page

WRITES = ("GET", "HEAD", "POST")


def _manages_all(user: Any) -> bool:
    return scopes_of(user, Permission.MANAGE_ALERTS).everything


@needs("view")
def on_call(request: HttpRequest) -> HttpResponse:
    """Who is on call now, and who is told of what."""
    manages = _manages_all(request.user)
    context = {
        "lines": on_call_lines(),
        "policies": policy_lines(request.user),
        "gaps": gaps.gaps() if manages else [],
        "unreachable": gaps.unreachable() if manages else [],
        "may_write": manages,
    }
    return render(request, "alerts/on_call.html", context)


def _schedule(request: HttpRequest, found: OnCallSchedule | None) -> HttpResponse:
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    form = OnCallForm(request.POST or None, instance=found)

    def save() -> HttpResponse:
        managing.save_schedule(form.instance, people=form.cleaned_data["order"], actor=request.user)
        return go(request, "alerts:on_call")

    title = found.name if found else "New schedule"
    return form_page(request, form, save, title=title, lead="people who take turns", back="alerts:on_call")


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_schedule(request: HttpRequest) -> HttpResponse:
    """Make an on-call schedule."""
    return _schedule(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Change an on-call schedule."""
    return _schedule(request, get_object_or_404(OnCallSchedule, pk=pk))


def _escalation(request: HttpRequest, found: EscalationPolicy | None) -> HttpResponse:
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    form = EscalationForm(request.POST or None, instance=found, initial=request.GET.dict())

    def save() -> HttpResponse:
        managing.save_escalation(form.instance, steps=form.steps(), actor=request.user)
        return go(request, "alerts:on_call")

    title = found.name if found else "New escalation policy"
    lead = "whom to tell, one step after the other, until somebody acknowledges"
    return form_page(request, form, save, title=title, lead=lead, back="alerts:on_call")


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_escalation(request: HttpRequest) -> HttpResponse:
    """Make an escalation policy."""
    return _escalation(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def escalation(request: HttpRequest, pk: int) -> HttpResponse:
    """Change an escalation policy."""
    return _escalation(request, get_object_or_404(EscalationPolicy, pk=pk))


# --- Channels ------------------------------------------------------------------------------------


def _mine(user: Any) -> list[Channel]:
    """One's own channels; everybody's for who manages alerts on everything."""
    rows = Channel.objects.select_related("owner")
    return list(rows if _manages_all(user) else rows.filter(owner_id=user.pk))


@needs(Permission.MANAGE_ALERTS)
def channels(request: HttpRequest) -> HttpResponse:
    """The ways to be told, and what came of the last test of each."""
    found = _mine(request.user)
    tests = managing.last_tests(found)
    lines = [{"channel": c, "test": tests.get(c.pk)} for c in found]
    return render(request, "alerts/channels.html", {"lines": lines})


def _channel(request: HttpRequest, found: Channel | None) -> HttpResponse:
    form = ChannelForm(
        request.POST or None, instance=found, initial={"for_team": bool(found and found.owner_id is None)}
    )

    def save() -> HttpResponse:
        owner: Any = found.owner if found and found.owner_id else request.user
        form.instance.owner = None if form.cleaned_data["for_team"] else owner
        managing.save_channel(form.instance, address=form.cleaned_data["address"], actor=request.user)
        return go(request, "alerts:channels")

    title = found.name if found else "New channel"
    return form_page(request, form, save, title=title, lead="a way to be told", back="alerts:channels")


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_channel(request: HttpRequest) -> HttpResponse:
    """Add a channel."""
    return _channel(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def channel(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a channel; its address is not shown."""
    rows = Channel.objects.filter(pk__in=[c.pk for c in _mine(request.user)])
    return _channel(request, get_object_or_404(rows, pk=pk))


@needs(Permission.MANAGE_ALERTS, methods=("POST",))
def test_channel(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a test message."""
    managing.test_channel(get_object_or_404(Channel, pk=pk), actor=request.user)
    return go(request, "alerts:channels")


# --- Sources -------------------------------------------------------------------------------------


@needs(Permission.MANAGE_ALERTS)
def sources(request: HttpRequest) -> HttpResponse:
    """Who may send, what has to be heard of, and what was taken and refused lately."""
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    context = {
        "sources": Source.objects.select_related("account"),
        "heartbeats": Heartbeat.objects.all(),
        "telemetry": TelemetrySource.objects.select_related("account", "cell"),
        "counts": SignalCount.objects.order_by("-day", "source_name", "outcome")[:40],
    }
    return render(request, "alerts/sources.html", context)


PATHS = {
    SourceKind.ALERTMANAGER: "alerts:alertmanager",
    SourceKind.DISCOVERY: "alerts:http_sd",
    SourceKind.WEBHOOK: "alerts:webhook",
}


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_source(request: HttpRequest) -> HttpResponse:
    """Let something send signals; its token is shown once, now."""
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    form = SourceForm(request.POST or None, user=request.user)

    def save() -> HttpResponse:
        data = form.cleaned_data
        if Source.objects.filter(name=data["name"]).exists():
            raise Refused(f"There is a source named {data['name']} already.")
        account = form.found.get("account")
        made, secret = managing.make_source(
            name=data["name"], kind=data["kind"], account=account, actor=request.user
        )
        name = PATHS[SourceKind(made.kind)]
        context = {
            "name": made.name,
            "secret": secret,
            "url_name": name,
            "pk": made.pk if made.kind == SourceKind.WEBHOOK else 0,
        }
        return _secret(request, context)

    return form_page(
        request, form, save, title="New source", lead="something that may send signals", back="alerts:sources"
    )


def _secret(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """What is shown once."""
    answer = render(request, "alerts/secret.html", context)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_heartbeat(request: HttpRequest) -> HttpResponse:
    """Expect to hear of something; its address is shown once, now."""
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    form = HeartbeatForm(request.POST or None)

    def save() -> HttpResponse:
        made, token = managing.make_heartbeat(form.instance, actor=request.user)
        return _secret(request, {"name": made.name, "token": token})

    lead = "something that has to be heard of; when it is not, that is an alert"
    return form_page(request, form, save, title="New heartbeat", lead=lead, back="alerts:sources")
