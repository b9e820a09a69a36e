"""Notices to customers: the list, one of them, and those of a rollout."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import allowed, require, visible
from apps.access.views_base import needs
from apps.core.answers import go
from apps.operations.services import Refused

from .. import customers
from ..filters import NoticeFilter
from ..forms import NoticesForm, ReasonForm
from ..models import CustomerNotice
from ..tables import NoticeTable
from .answers import first_error
from .rollouts import carry_out

EMPTY = {
    "title": "No customer has been written to",
    "text": "A prepared rollout drafts a notice to each tenant that it touches, on its page.",
}


@needs("view")
def notice_list(request: HttpRequest) -> HttpResponse:
    """The notices to tenants that the reader sees."""
    return render_list(
        request,
        page="releases:notices",
        title="Customer notices",
        queryset=visible(request.user, CustomerNotice.objects.select_related("tenant")),
        table_class=NoticeTable,
        filter_class=NoticeFilter,
        context={"noun": "notice", "empty": EMPTY, "live": 10},
    )


@needs("view")
def notice(request: HttpRequest, notice_pk: int) -> HttpResponse:
    """What a tenant was told."""
    return _page(request, notice_pk)


def _page(request: HttpRequest, pk: int, *, status: int = 200, **said: Any) -> HttpResponse:
    rows = CustomerNotice.objects.select_related("tenant", "written_by", "sent_by")
    found = get_object_or_404(visible(request.user, rows), pk=pk)
    may = allowed(request.user, Permission.ROLL_OUT, found.tenant)
    return render(request, "releases/notice.html", {"notice": found, "may": may, **said}, status=status)


@needs("roll_out", methods=("POST",))
def told(request: HttpRequest, notice_pk: int) -> HttpResponse:
    """Say how a tenant was told by other means."""
    found = get_object_or_404(
        visible(request.user, CustomerNotice.objects.select_related("tenant")), pk=notice_pk
    )
    require(request.user, Permission.ROLL_OUT, found)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, notice_pk, status=422, error=first_error(form))
    try:
        customers.mark_told(found, actor=request.user, reason=form.cleaned_data["reason"])
    except Refused as refusal:
        return _page(request, notice_pk, status=422, error=str(refusal))
    return go(request, "releases:notice", notice_pk)


@needs("roll_out", methods=("POST",))
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Draft a notice to each tenant of a rollout."""
    return carry_out(request, pk, NoticesForm(request.POST), customers.draft_notices)


@needs("roll_out", methods=("POST",))
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Send what was drafted."""
    return carry_out(request, pk, ReasonForm(request.POST), customers.send_notices)
