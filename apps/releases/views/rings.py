"""Rings: the order in which tenants get new things."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.scoping import require, visible
from apps.access.views_base import needs
from apps.core.answers import go
from apps.operations.services import Refused

from .. import rings as services
from ..forms import ReasonForm
from ..models import Ring
from ..queries.rings import rings_page
from ..ring_forms import RingForm, RingMemberForm
from .answers import first_error, words_of


@needs("view")
def rings(request: HttpRequest) -> HttpResponse:
    """The rings in their order, and who is in each."""
    return _page(request)


def _page(request: HttpRequest, *, status: int = 200, **said: Any) -> HttpResponse:
    context = {
        "page": rings_page(request.user),
        "ring_form": RingForm(),
        "member_form": RingMemberForm(user=request.user),
        **said,
    }
    return render(request, "releases/rings.html", context, status=status)


@needs("manage_releases", methods=("POST",))
def save(request: HttpRequest) -> HttpResponse:
    """Add a ring, or change the one of that name."""
    form = RingForm(request.POST)
    if form.is_valid():
        try:
            services.save_ring(form.instance, actor=request.user, reason=form.cleaned_data["reason"])
            return go(request, "releases:rings")
        except (Refused, ValidationError) as error:
            form.add_error(None, words_of(error))
    return _page(request, status=422, ring_form=form, open_ring=True)


@needs("manage_releases", methods=("POST",))
def put(request: HttpRequest) -> HttpResponse:
    """Put a tenant or a plan in a ring, or take it out of its own."""
    form = RingMemberForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            services.put_in_ring(actor=request.user, **form.cleaned_data)
            return go(request, "releases:rings")
        except (Refused, ValidationError) as error:
            form.add_error(None, words_of(error))
    return _page(request, status=422, member_form=form, open_member=True)


@needs("manage_releases", methods=("POST",))
def remove(request: HttpRequest, ring_pk: int) -> HttpResponse:
    """Take a ring away in which nobody is named."""
    found = get_object_or_404(visible(request.user, Ring), pk=ring_pk)
    require(request.user, Permission.MANAGE_RELEASES, found)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, error=first_error(form))
    try:
        services.remove_ring(found, actor=request.user, reason=form.cleaned_data["reason"])
    except Refused as refusal:
        return _page(request, status=422, error=str(refusal))
    return go(request, "releases:rings")
