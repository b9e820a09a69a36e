"""Incidents and alerts: the lists, one incident, and what people do about it; silences."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import scopes_of, visible
from apps.access.views_base import needs
from apps.core.answers import go, is_part

from .. import queries, services
from ..filters import AlertFilter, IncidentFilter
from ..forms import NoteForm, SilenceForm
from ..models import Incident, Silence
from ..panels import incident_facts
from ..postmortem import markdown
from ..tables import AlertTable, IncidentTable
from .answers import form_page

NOTHING = {
    "title": "No incident yet",
    "text": "Alerts with one cause are gathered into an incident, with whom it affects and what may have done it.",
}
NO_ALERT = {"title": "No alert yet", "text": "What fails, and what monitors send, stands here."}


@needs("view")
def incidents(request: HttpRequest) -> HttpResponse:
    """All incidents the reader sees."""
    return render_list(
        request,
        page="alerts:incidents",
        title="Incidents",
        queryset=queries.listed_incidents(request.user),
        table_class=IncidentTable,
        filter_class=IncidentFilter,
        context={"noun": "incident", "live": 3, "empty": NOTHING},
        template="alerts/incidents.html",
    )


@needs("view")
def alerts(request: HttpRequest) -> HttpResponse:
    """All alerts the reader sees."""
    return render_list(
        request,
        page="alerts:alerts",
        title="Alerts",
        queryset=queries.listed_alerts(request.user),
        table_class=AlertTable,
        filter_class=AlertFilter,
        context={"noun": "alert", "live": 5, "empty": NO_ALERT},
        template="alerts/alerts.html",
    )


@needs("view")
def incident(request: HttpRequest, pk: int) -> HttpResponse:
    """One incident, live; 204 while nothing has changed since the state that `token` names."""
    found = queries.incident_page(request.user, pk)
    if is_part(request) and request.GET.get("token") == found.token:
        return HttpResponse(status=204)
    return _show(request, found, part="#live" if is_part(request) else "")


def _show(
    request: HttpRequest, found: queries.IncidentPage, *, part: str = "", status: int = 200, **said: Any
) -> HttpResponse:
    context = {
        "page": found,
        "trail": [("Incidents", reverse("alerts:incidents")), (f"#{found.incident.pk}", "")],
        "incident": found.incident,
        "facts": incident_facts(found),
        "note_form": NoteForm(),
        "may_page": scopes_of(request.user, Permission.MANAGE_ALERTS).everything,
        **queries.look_closer(request.user, found),
        **said,
    }
    return render(request, f"alerts/incident.html{part}", context, status=status)


def _act(request: HttpRequest, pk: int, act: Callable[[Incident], object]) -> HttpResponse:
    """Do something to an incident the reader sees; 422 with its page where it was refused."""
    found = get_object_or_404(visible(request.user, Incident), pk=pk)
    try:
        act(found)
    except services.Refused as refusal:
        return _show(request, queries.incident_page(request.user, pk), status=422, refused=str(refusal))
    return go(request, "alerts:incident", pk)


@needs("view", methods=("POST",))
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Look after it; nobody else is told."""
    return _act(request, pk, lambda found: services.acknowledge(found, actor=request.user))


@needs("view", methods=("POST",))
def command(request: HttpRequest, pk: int) -> HttpResponse:
    """Take command."""
    return _act(request, pk, lambda found: services.take_command(found, actor=request.user))


@needs("view", methods=("POST",))
def resolve(request: HttpRequest, pk: int) -> HttpResponse:
    """Say that it is over, and why."""
    reason = request.POST.get("reason", "")
    return _act(request, pk, lambda found: services.resolve(found, actor=request.user, reason=reason))


@needs("view", methods=("POST",))
def note(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a note."""
    text = request.POST.get("text", "")
    return _act(request, pk, lambda found: services.add_note(found, actor=request.user, text=text))


@needs("view")
def postmortem(request: HttpRequest, pk: int) -> HttpResponse:
    """The incident as a Markdown file, as far as the reader sees it."""
    found = queries.incident_page(request.user, pk)
    headers = {"Content-Disposition": f'attachment; filename="incident-{pk}.md"'}
    return HttpResponse(markdown(found), content_type="text/markdown; charset=utf-8", headers=headers)


@needs("view")
def silences(request: HttpRequest) -> HttpResponse:
    """The silences that hold, and the last that did."""
    return render(request, "alerts/silences.html", {"silences": queries.silences(request.user)})


@needs(Permission.MANAGE_ALERTS, methods=("GET", "HEAD", "POST"))
def new_silence(request: HttpRequest) -> HttpResponse:
    """Silence alerts for a while."""
    form = SilenceForm(request.POST or None, user=request.user, initial=request.GET.dict())

    def save() -> HttpResponse:
        services.silence(form.silence(), actor=request.user)
        return go(request, "alerts:silences")

    lead = "alerts that page nobody for a while; they are still seen"
    return form_page(
        request, form, save, title="New silence", lead=lead, back="alerts:silences", submit="Silence"
    )


@needs("view", methods=("POST",))
def end_silence(request: HttpRequest, pk: int) -> HttpResponse:
    """Hear of it again."""
    found = get_object_or_404(visible(request.user, Silence), pk=pk)
    try:
        services.end_silence(found, actor=request.user)
    except services.Refused as refusal:
        context = {"silences": queries.silences(request.user), "refused": str(refusal)}
        return render(request, "alerts/silences.html", context, status=422)
    return go(request, "alerts:silences")
