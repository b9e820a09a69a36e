"""The audit page: the trail, and one entry of it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.views_base import needs

from .filters import AuditFilter
from .queries import changes_of, object_url, operation_url, trail
from .tables import AuditTable

EMPTY = {
    "title": "Nothing you may read",
    "text": "Each change leaves an entry here. The trail is read by who holds “Read the audit trail” on everything.",
}


@needs(Permission.SEE_AUDIT)
def audit_list(request: HttpRequest) -> HttpResponse:
    """Who changed what, when, why and by which way."""
    return render_list(
        request,
        page="audit:list",
        title="Audit",
        queryset=trail(request.user),
        table_class=AuditTable,
        filter_class=AuditFilter,
        context={"noun": "entry", "nouns": "entries", "empty": EMPTY},
        template="audit/list.html",
    )


@needs(Permission.SEE_AUDIT)
def audit_entry(request: HttpRequest, pk: int) -> HttpResponse:
    """One entry, whole."""
    entry = get_object_or_404(trail(request.user), pk=pk)
    context = {
        "entry": entry,
        "changes": changes_of(entry),
        "object_url": object_url(entry.content_type, entry.object_id),
        "operation_url": operation_url(entry.operation_id),
        "same_object": f"{reverse('audit:list')}?model={entry.content_type.app_label}.{entry.content_type.model}"
        f"&object={entry.object_id or ''}",
        "same_request": f"{reverse('audit:list')}?request_id={entry.cid}" if entry.cid else "",
        "trail": [("Audit", reverse("audit:list")), (f"Entry {entry.pk}", "")],
    }
    return render(request, "audit/entry.html", context)
