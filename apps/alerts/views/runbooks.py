"""The catalogue of runbooks, one of them with its versions and runs, and a run."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import scopes_of, visible
from apps.access.views_base import needs
from apps.core.answers import go

from .. import queries
from ..filters import RunbookFilter
from ..forms import REFUSALS, refuse
from ..models import Runbook, RunbookRun
from ..runbook_forms import RunbookForm, RunForm
from ..runbooks import keeping, reading, running
from ..services import Refused, require_on
from ..tables import RunbookTable
from .answers import form_page, page

WRITES = ("GET", "HEAD", "POST")
TEMPLATE = """name: my-runbook
title: What it is for
about: When to run it, and what to expect.
tags: [restart]
inputs:
  - name: watch
    label: Seconds to watch
    type: integer
    default: 20
    min: 0
    max: 600
steps:
  - title: Restart it
    do: restart
  - title: Let it run
    do: wait
    seconds: $watch
  - title: See that it is well
    do: check
    health: [well]
    seconds: 30
"""


def _may_write(user: Any) -> bool:
    return scopes_of(user, Permission.MANAGE_ALERTS).everything


@needs("view")
def runbooks(request: HttpRequest) -> HttpResponse:
    """The catalogue, with a search over names, texts and tags."""
    return render_list(
        request,
        page="alerts:runbooks",
        title="Runbooks",
        queryset=queries.listed_runbooks(request.user),
        table_class=RunbookTable,
        filter_class=RunbookFilter,
        template="alerts/runbooks.html",
        context={
            "noun": "runbook",
            "may_write": _may_write(request.user),
            "empty": {
                "title": "No runbook yet",
                "text": "Those of the repository come with the first minutes of a scheduler.",
            },
        },
    )


def _show(
    request: HttpRequest, found: Runbook, form: RunForm | None = None, *, status: int = 200
) -> HttpResponse:
    version = found.versions.select_related("author").order_by("-number").first()
    definition, complaint = None, ""
    try:
        definition = running.definition_of(version) if version else None
    except reading.Malformed as error:
        complaint = str(error)
    if form is None and definition is not None:
        form = RunForm(
            definition=definition, user=request.user,
            initial={"key": uuid.uuid4().hex, "instance": request.GET.get("instance", "")[:63]},
        )  # fmt: skip
    context = {
        "runbook": found, "version": version, "definition": definition, "complaint": complaint, "form": form,
        "versions": found.versions.select_related("author")[:20], "runs": queries.runs(request.user, found),
        "may_write": _may_write(request.user), "trail": [("Runbooks", reverse("alerts:runbooks")), (str(found), "")],
    }  # fmt: skip
    return page(request, "runbook", context, status=status)


@needs("view")
def runbook(request: HttpRequest, pk: int) -> HttpResponse:
    """What it says, who may want it, how it went."""
    return _show(request, get_object_or_404(Runbook, pk=pk))


def _edit(request: HttpRequest, found: Runbook | None) -> HttpResponse:
    last = found.versions.order_by("-number").first() if found else None
    form = RunbookForm(request.POST or None, initial={"text": last.text if last else TEMPLATE})

    def save() -> HttpResponse:
        data = form.cleaned_data
        # A browser sends line ends of its own; what is the same text stays the same version.
        text = data["text"].replace("\r\n", "\n").rstrip() + "\n"
        made = keeping.save(text, note=data["note"], actor=request.user, runbook=found)
        return go(request, "alerts:runbook", made.pk)

    lead = "each change is a version; runs keep the one they began with"
    return form_page(
        request, form, save, title=str(found) if found else "New runbook", lead=lead, back="alerts:runbooks"
    )


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_runbook(request: HttpRequest) -> HttpResponse:
    """Write a runbook."""
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    return _edit(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def edit_runbook(request: HttpRequest, pk: int) -> HttpResponse:
    """Write its next version."""
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    return _edit(request, get_object_or_404(Runbook, pk=pk))


@needs(Permission.MANAGE_ALERTS, methods=("POST",))
def switch_runbook(request: HttpRequest, pk: int) -> HttpResponse:
    """Let it be run, or not."""
    keeping.switch(get_object_or_404(Runbook, pk=pk), on=request.POST.get("on") == "1", actor=request.user)
    return go(request, "alerts:runbook", pk)


@needs("view", methods=("POST",))
def run_runbook(request: HttpRequest, pk: int) -> HttpResponse:
    """Run it on an instance; what its operations need is asked for there."""
    found = get_object_or_404(Runbook, pk=pk)
    version = found.versions.order_by("-number").first()
    try:
        definition = running.definition_of(version) if version else None
    except reading.Malformed:
        definition = None
    if definition is None:
        return _show(request, found, status=422)
    form = RunForm(request.POST, definition=definition, user=request.user)
    if form.is_valid():
        data = form.cleaned_data
        try:
            run = running.start(
                runbook=found, instance=data["instance"], inputs=form.inputs(), actor=request.user,
                reason=data["reason"], key=f"page:{data['key']}",
            )  # fmt: skip
            return go(request, "alerts:run", run.pk)
        except REFUSALS as error:
            refuse(form, error)
    return _show(request, found, form, status=422)


def _find_run(request: HttpRequest, pk: int) -> RunbookRun:
    rows = RunbookRun.objects.select_related("version__runbook", "instance__cell__region", "actor")
    return get_object_or_404(visible(request.user, rows), pk=pk)


@needs("view")
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """How far a run is; live."""
    found = _find_run(request, pk)
    return page(request, "run", queries.run_page(request.user, found))


@needs("view", methods=("POST",))
def cancel_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Take no further step."""
    found = _find_run(request, pk)
    try:
        running.cancel(found, actor=request.user)
    except Refused as refusal:
        context = {**queries.run_page(request.user, found), "refused": str(refusal)}
        return page(request, "run", context, status=422)
    return go(request, "alerts:run", pk)
