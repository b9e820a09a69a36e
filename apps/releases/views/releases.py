"""The list of releases with who runs what; one release; two side by side."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import require, scopes_of, visible
from apps.access.views_base import needs
from apps.core.answers import go
from apps.operations.services import Refused

from .. import services
from ..filters import ReleaseFilter
from ..forms import ArtifactForm, ReasonForm, ReleaseForm, UploadForm
from ..models import Release
from ..queries.releases import compare, listed_releases, release_page, skew
from ..sbom import BadDocument
from ..tables import ReleaseTable
from .answers import first_error, words_of

EMPTY = {
    "title": "No release yet",
    "text": "A release names a version, what it mends and what it is made of. Its SBOM tells who is exposed to what.",
}


@needs("view")
def release_list(request: HttpRequest) -> HttpResponse:
    """All releases, and above them who runs what."""
    return render_list(
        request,
        page="releases:list",
        title="Releases",
        queryset=listed_releases(request.user),
        table_class=ReleaseTable,
        filter_class=ReleaseFilter,
        context={
            "noun": "release",
            "empty": EMPTY,
            "skew": skew(request.user),
            "may_manage": scopes_of(request.user, Permission.MANAGE_RELEASES).everything,
        },
        template="releases/list.html",
    )


@needs("view")
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """What it is, what it is made of, what is known against it, who runs it."""
    return _page(request, pk)


def _page(request: HttpRequest, pk: int, *, status: int = 200, **said: Any) -> HttpResponse:
    page = release_page(request.user, pk)
    context = {
        "page": page,
        "release": page.release,
        "artifact_form": ArtifactForm(),
        "upload_form": UploadForm(),
        **said,
    }
    return render(request, "releases/release.html", context, status=status)


@needs("manage_releases", methods=("GET", "HEAD", "POST"))
def new_release(request: HttpRequest) -> HttpResponse:
    """Draft a release."""
    form = ReleaseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.save_release(form.instance, actor=request.user)
            return go(request, "releases:release", made.pk)
        except (Refused, ValidationError) as error:
            form.add_error(None, words_of(error))
    return render(
        request, "releases/new.html", {"form": form}, status=422 if request.method == "POST" else 200
    )


def _found(request: HttpRequest, pk: int) -> Release:
    found = get_object_or_404(visible(request.user, Release), pk=pk)
    require(request.user, Permission.MANAGE_RELEASES, found)
    return found


@needs("manage_releases", methods=("POST",))
def move(request: HttpRequest, pk: int) -> HttpResponse:
    """Move a release through its life."""
    found, form = _found(request, pk), ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, pk, status=422, move_error=first_error(form))
    try:
        to, reason = request.POST.get("to", ""), form.cleaned_data["reason"]
        services.move_release(found, to=to, actor=request.user, reason=reason)
    except Refused as refusal:
        return _page(request, pk, status=422, move_error=str(refusal))
    return go(request, "releases:release", pk)


@needs("manage_releases", methods=("POST",))
def sbom(request: HttpRequest, pk: int) -> HttpResponse:
    """Upload what a release is made of."""
    found, form = _found(request, pk), UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, pk, status=422, upload_form=form)
    try:
        services.upload_sbom(found, form.cleaned_data["document"], actor=request.user)
    except (BadDocument, Refused) as error:
        form.add_error("document", str(error))
        return _page(request, pk, status=422, upload_form=form)
    return go(request, "releases:release", pk)


@needs("manage_releases", methods=("POST",))
def artifact(request: HttpRequest, pk: int) -> HttpResponse:
    """Add an artifact to a draft."""
    found, form = _found(request, pk), ArtifactForm(request.POST)
    if not form.is_valid():
        return _page(request, pk, status=422, artifact_form=form)
    try:
        services.add_artifact(found, actor=request.user, **form.cleaned_data)
    except (Refused, ValidationError) as error:
        form.add_error(None, words_of(error))
        return _page(request, pk, status=422, artifact_form=form)
    return go(request, "releases:release", pk)


@needs("view")
def compare_releases(request: HttpRequest) -> HttpResponse:
    """Two releases side by side: packages and advisories that came and went."""
    rows = visible(request.user, Release)
    chosen = [
        rows.filter(pk=int(text)).first() if text.isascii() and text.isdigit() and len(text) < 18 else None
        for text in (request.GET.get("a", ""), request.GET.get("b", ""))
    ]
    first, second = chosen
    context = {
        "first": first,
        "second": second,
        "difference": compare(first, second) if first and second else None,
        "choices": rows.exclude(sbom_at__isnull=True).order_by("-pk")[:100],
    }
    return render(request, "releases/compare.html", context)
