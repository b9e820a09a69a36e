"""The audit pages: the trail, one entry of it, its seals."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import scopes_of
from apps.access.views_base import needs

from .choices import EventKind
from .exports import as_csv, as_json_lines
from .filters import AuditFilter, SealFilter, StreamFilter
from .models import AuditEntry
from .naming import named, with_names
from .outside import checkpoint_of
from .queries import object_url, operation_url, trail
from .seal_tables import SealTable, StreamTable
from .seals import (
    last_check,
    last_retirement,
    look_at,
    seals,
    streams,
    waiting,
    with_seal_states,
    with_states,
)
from .signing import public_keys
from .streaming import FAILING, retry_now
from .tables import AuditTable
from .telling import tell

EMPTY = {
    "title": "Nothing you may read",
    "text": "Each change leaves an entry here. The trail is read by who holds “Read the audit trail” on everything.",
}
NO_SEAL = {
    "title": "No seal yet",
    "text": "The worker seals what is committed every few seconds; see docs/how-to/verify-the-trail.md if none comes.",
}
NO_STREAM = {
    "title": "The trail is sent nowhere",
    "text": "A stream sends each sealed entry to a SIEM, by webhook or syslog. Streams are made in the admin.",
}
#: By the value of `_export`: how it is streamed, what it is called, its content type.
EXPORTS = {
    "csv": (as_csv, "CSV", "text/csv; charset=utf-8"),
    "jsonl": (as_json_lines, "JSON Lines", "application/jsonl; charset=utf-8"),
}


@needs(Permission.SEE_AUDIT)
def audit_list(request: HttpRequest) -> HttpResponse:
    """Who did what, when, why and by which way."""
    rows = trail(request.user)
    if request.GET.get("_export") in EXPORTS:
        return _export(request, request.GET["_export"], rows)
    return render_list(
        request,
        page="audit:list",
        title="Audit",
        queryset=rows.enriched_by(_known),
        table_class=AuditTable,
        filter_class=AuditFilter,
        context={"noun": "entry", "nouns": "entries", "empty": EMPTY},
        template="audit/list.html",
    )


def _known(rows: Sequence[AuditEntry]) -> None:
    """What the list says beside the rows themselves; three queries for all."""
    with_states(rows)
    with_names(rows)


def _export(request: HttpRequest, kind: str, rows: Any) -> HttpResponse:
    """The filtered entries, streamed; the export is itself recorded, with its filters."""
    if not scopes_of(request.user, Permission.EXPORT).everything:
        raise PermissionDenied(
            "You need the permission “Export lists” on everything; ask whoever manages access."
        )
    found = AuditFilter(request.GET, queryset=rows, request=request)
    entries = found.qs if found.is_valid() else rows.none()
    stream, words, content_type = EXPORTS[kind]
    with transaction.atomic(durable=True):
        what = f"export of audit:list?{request.GET.urlencode()}"
        tell(EventKind.EXPORT, what, actor=request.user, reason=f"exports audit:list as {words}")
    lines = stream(entries.enriched_by(_known) if kind == "csv" else entries)
    name = f"audit-{timezone.now():%Y%m%d-%H%M}.{kind}"
    answer: Any = StreamingHttpResponse(
        lines, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
    return answer  # type: ignore[no-any-return]


@needs(Permission.SEE_AUDIT)
def audit_entry(request: HttpRequest, pk: int) -> HttpResponse:
    """One entry, whole, verified as it is looked at."""
    entry = get_object_or_404(trail(request.user), pk=pk)
    context = {
        "entry": entry,
        "changes": named(entry, request.user),
        "state": look_at(entry),
        "object_url": object_url(entry.content_type, entry.object_id),
        "operation_url": operation_url(entry.operation_id),
        "same_object": f"{reverse('audit:list')}?model={entry.content_type.app_label}.{entry.content_type.model}"
        f"&object={entry.object_id or ''}",
        "same_request": f"{reverse('audit:list')}?request_id={entry.cid}" if entry.cid else "",
        "trail": [("Audit", reverse("audit:list")), (f"Entry {entry.pk}", "")],
    }
    return render(request, "audit/entry.html", context)


@needs(Permission.SEE_AUDIT)
def seal_list(request: HttpRequest) -> HttpResponse:
    """The chain: each seal, what the last verification said of it, its checkpoint."""
    may_see = scopes_of(request.user, Permission.SEE_AUDIT).everything
    return render_list(
        request,
        page="audit:seals",
        title="Seals",
        queryset=seals(request.user).enriched_by(with_seal_states),
        table_class=SealTable,
        filter_class=SealFilter,
        context={
            "empty": NO_SEAL,
            "noun": "seal",
            "check": last_check() if may_see else None,
            "waiting": waiting() if may_see else 0,
            "retired": last_retirement() if may_see else None,
            "keys": public_keys(),
            "trail": [("Audit", reverse("audit:list")), ("Seals", "")],
        },
        template="audit/seals.html",
    )


@needs(Permission.SEE_AUDIT)
def stream_list(request: HttpRequest) -> HttpResponse:
    """Where the trail is sent, how far each stream got, what stands in its way."""
    rows = streams(request.user)
    return render_list(
        request,
        page="audit:streams",
        title="Streams",
        queryset=rows,
        table_class=StreamTable,
        filter_class=StreamFilter,
        context={
            "empty": NO_STREAM,
            "noun": "stream",
            "live": 5,
            "trail": [("Audit", reverse("audit:list")), ("Streams", "")],
            "has_failing": rows.filter(FAILING).exists(),
        },
        template="audit/streams.html",
    )


@needs(Permission.SEE_AUDIT, methods=("POST",))
def retry_streams(request: HttpRequest) -> HttpResponse:
    """Try the failing streams now, rather than when their pause is over."""
    count = retry_now(streams(request.user).values_list("pk", flat=True), actor=request.user)
    if count:
        messages.success(request, f"Tried again within a few seconds: {count}.")
    else:
        messages.info(request, "None is failing.")
    return redirect("audit:streams")


@needs(Permission.SEE_AUDIT)
def checkpoint(request: HttpRequest, number: int) -> HttpResponse:
    """A seal without its digests, to be kept where the portal cannot change it."""
    seal = get_object_or_404(seals(request.user), number=number)
    return JsonResponse(
        checkpoint_of(seal.link()),
        headers={"Content-Disposition": f'attachment; filename="checkpoint-{number}.json"'},
    )
