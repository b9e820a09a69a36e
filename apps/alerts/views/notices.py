"""Drafts of what customers are told of an incident."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import customers, queries
from ..choices import NoticeStage
from ..forms import REFUSALS, NoticeForm, refuse
from ..models import CustomerNotice

WRITES = ("GET", "HEAD", "POST")


@needs(Permission.ACKNOWLEDGE, methods=WRITES)
def new_notice(request: HttpRequest, pk: int) -> HttpResponse:
    """A text from what is known, to be changed and kept; `stage` chooses which."""
    found = queries.incident_page(request.user, pk)
    require(request.user, Permission.ACKNOWLEDGE, found.incident)
    status = 200
    if request.method == "POST":
        form, status = NoticeForm(request.POST), 422
        if form.is_valid():
            try:
                made = customers.keep(found.incident, **form.cleaned_data, actor=request.user)
                return go(request, "alerts:notice", made.pk)
            except REFUSALS as error:
                refuse(form, error)
    else:
        asked = request.GET.get("stage", "")
        default = NoticeStage.INVESTIGATING if found.incident.is_open else NoticeStage.RESOLVED
        draft = customers.draft(found, asked if asked in NoticeStage.values else default)
        form = NoticeForm(initial={"stage": draft.stage, "subject": draft.subject, "body": draft.body})
    context = {
        "form": form, "incident": found.incident, "stages": NoticeStage.choices,
        "back": reverse("alerts:incident", args=[pk]),
        "trail": [("Incidents", reverse("alerts:incidents")), (f"#{pk}", reverse("alerts:incident", args=[pk])), ("Notice", "")],
    }  # fmt: skip
    return render(request, "alerts/new_notice.html", context, status=status)


@needs("view")
def notice(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft, and whom it is for."""
    rows = CustomerNotice.objects.select_related("incident", "author")
    found = get_object_or_404(visible(request.user, rows), pk=pk)
    incident = found.incident
    page = queries.incident_page(request.user, incident.pk)
    to = customers.recipients(request.user, page)
    back = reverse("alerts:incident", args=[incident.pk])
    context = {
        "notice": found, "incident": incident, "recipients": to[: customers.SHOWN], "count": len(to),
        "trail": [("Incidents", reverse("alerts:incidents")), (f"#{incident.pk}", back), ("Notice", "")],
    }  # fmt: skip
    return render(request, "alerts/notice.html", context)
