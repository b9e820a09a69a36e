"""The tenants' pages."""

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.access.listing import render_list
from apps.access.views_base import needs
from apps.audit.choices import EventKind
from apps.audit.telling import tell
from apps.core.answers import is_part

from . import queries, search
from .filters import TenantFilter
from .models import Tenant
from .tables import TenantTable
from .tabs import tabs_of


def _event_id(request: HttpRequest) -> int | None:
    text = request.GET.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@needs("view")
def tenant_list(request: HttpRequest) -> HttpResponse:
    """All tenants in one list."""
    return render_list(
        request,
        page="tenants:list",
        title="Tenants",
        queryset=queries.listed(request.user),
        table_class=TenantTable,
        filter_class=TenantFilter,
        template="tenants/list.html",
        context={"noun": "tenant"},
    )


@needs("view")
def tenant(request: HttpRequest, pk: int) -> HttpResponse:
    """One tenant: what a support agent needs while the customer is on the phone."""
    template = "tenants/tenant.html#live" if is_part(request) else "tenants/tenant.html"
    page = queries.tenant_page(request.user, pk)
    if page.contacts and not is_part(request):
        _record_contacts_read(request.user, page.tenant)
    return render(
        request,
        template,
        {"page": page, "tabs": tabs_of(request.user, page.tenant, "now", sees_access=page.may_see_access)},
    )


#: Seconds for which one reader's look at one tenant's contacts is told once.
ONCE = 3600


def _record_contacts_read(user: Any, tenant: Tenant) -> None:
    """The contacts' names and addresses are personal data: that somebody saw them stands in the trail, once an hour."""
    if cache.add(f"contacts-read:{user.pk}:{tenant.pk}", 1, ONCE):
        tell(EventKind.READ, f"the contacts of {tenant}", actor=user, about=tenant)


@needs("view")
def timeline(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything that happened to one tenant, in pages."""
    page = queries.timeline_page(request.user, pk, before=_event_id(request))
    return render(
        request,
        "tenants/timeline.html",
        {
            "page": page,
            "tabs": tabs_of(request.user, page.tenant, "timeline", sees_access=page.may_see_access),
        },
    )


@needs("view")
def access(request: HttpRequest, pk: int) -> HttpResponse:
    """Who may touch one tenant, and by which grant."""
    page = queries.access_page(request.user, pk)
    return render(
        request,
        "tenants/access.html",
        {"page": page, "tabs": tabs_of(request.user, page.tenant, "access", sees_access=page.may_see_access)},
    )


@needs("view")
def lookup(request: HttpRequest) -> HttpResponse:
    """Find a tenant by whatever the caller says: answers as one types, or a page without JavaScript."""
    text = search.clean(request.GET.get("q", ""))
    answers = queries.answers(request.user, text, limit=20) if text else []
    template = "tenants/lookup.html#answers" if is_part(request) else "tenants/lookup.html"
    return render(request, template, {"q": text, "answers": answers})
