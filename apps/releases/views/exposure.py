"""The list of advisories; one of them with its clock."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import require, scopes_of, visible
from apps.access.views_base import needs
from apps.core.answers import answer, go
from apps.operations.services import Refused

from .. import exposing
from ..filters import AdvisoryFilter
from ..forms import UploadForm, VexForm
from ..models import Advisory
from ..queries.exposure import advisory_page, burn_down_of, listed_advisories
from ..sbom import BadDocument
from ..tables import AdvisoryTable
from .answers import first_error

EMPTY = {
    "title": "No advisory is known",
    "text": "Import one as OSV or CSAF JSON; it is matched with the SBOMs of the releases that run.",
}


@needs("view")
def advisory_list(request: HttpRequest) -> HttpResponse:
    """All advisories, and how many instances the reader sees exposed."""
    return render_list(
        request,
        page="releases:advisories",
        title="Exposure",
        queryset=listed_advisories(request.user),
        table_class=AdvisoryTable,
        filter_class=AdvisoryFilter,
        context={
            "noun": "advisory",
            "nouns": "advisories",
            "empty": EMPTY,
            "live": 10,
            "may_manage": scopes_of(request.user, Permission.MANAGE_RELEASES).everything,
        },
        template="releases/advisories.html",
    )


@needs("manage_releases", methods=("GET", "HEAD", "POST"))
def import_document(request: HttpRequest) -> HttpResponse:
    """Take in an OSV or CSAF document."""
    is_sent = request.method == "POST"
    form = UploadForm(request.POST, request.FILES) if is_sent else UploadForm()
    if is_sent and form.is_valid():
        try:
            made = exposing.import_advisory(form.cleaned_data["document"], actor=request.user)
            return go(request, "releases:advisory", made.pk)
        except (BadDocument, Refused) as error:
            form.add_error("document", str(error))
    return render(request, "releases/import.html", {"form": form}, status=422 if is_sent else 200)


@needs("view")
def advisory(request: HttpRequest, advisory_pk: int) -> HttpResponse:
    """Who is exposed, since when, what blocks, and when it will be over."""
    return _page(request, advisory_pk)


@needs("view")
def burn_down_figures(request: HttpRequest, advisory_pk: int) -> HttpResponse:
    """How many were exposed when, for the chart."""
    return JsonResponse(burn_down_of(request.user, advisory_pk))


def _page(request: HttpRequest, pk: int, *, status: int = 200, **said: Any) -> HttpResponse:
    page = advisory_page(request.user, pk)
    context = {"page": page, "advisory": page.advisory, "vex_form": VexForm(user=request.user), **said}
    return answer(request, "releases/advisory.html", "live", context, status=status)


@needs("manage_releases", methods=("POST",))
def not_affected(request: HttpRequest, advisory_pk: int) -> HttpResponse:
    """Say that a release is not affected, and why."""
    found = get_object_or_404(visible(request.user, Advisory), pk=advisory_pk)
    require(request.user, Permission.MANAGE_RELEASES, found)
    form = VexForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, advisory_pk, status=422, vex_form=form, vex_error=first_error(form))
    try:
        exposing.state_not_affected(found, actor=request.user, **form.cleaned_data)
    except Refused as refusal:
        return _page(request, advisory_pk, status=422, vex_form=form, vex_error=str(refusal))
    return go(request, "releases:advisory", advisory_pk)
