"""The accounts' pages."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.access.listing import render_list
from apps.access.views_base import needs
from apps.core.answers import answer

from . import queries
from .filters import AccountFilter
from .tables import AccountTable


def _event_id(request: HttpRequest) -> int | None:
    text = request.GET.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _tabs(pk: int, active: str) -> list[dict[str, Any]]:
    tabs = [("now", "accounts:account", "Now"), ("timeline", "accounts:timeline", "Timeline")]
    return [
        {"label": label, "url": reverse(url_name, args=[pk]), "active": name == active}
        for name, url_name, label in tabs
    ]


@needs("view")
def account_list(request: HttpRequest) -> HttpResponse:
    """All cloud accounts, ours and our customers', in one view."""
    return render_list(
        request,
        page="accounts:list",
        title="Accounts",
        queryset=queries.listed(request.user),
        table_class=AccountTable,
        filter_class=AccountFilter,
        context={"noun": "account"},
    )


@needs("view")
def account(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: its regions, cells, how full they are and how they fare."""
    page = queries.account_page(request.user, pk)
    return answer(request, "accounts/account.html", "live", {"page": page, "tabs": _tabs(pk, "now")})


@needs("view")
def timeline(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything that happened in one account, in pages."""
    page = queries.timeline_page(request.user, pk, before=_event_id(request))
    return render(request, "accounts/timeline.html", {"page": page, "tabs": _tabs(pk, "timeline")})
