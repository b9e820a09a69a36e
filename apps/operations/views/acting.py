"""Asking for operations: one, or many at once, each with a preview first."""

import uuid
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.core.answers import answer, go

from .. import batches, previews, queries, services
from ..forms import ReasonForm
from ..kinds import Kind, TargetInfo
from ..models import Batch
from ..params import given
from .answers import safe_next


@needs("view", methods=("GET", "HEAD", "POST"))
def act(request: HttpRequest, kind: str, target_id: int) -> HttpResponse:
    """One action on one target: what will happen, then the reason, then the operation."""
    is_sent = request.method == "POST"
    found, target = previews.find_action(request.user, kind, target_id, permission=not is_sent)
    form = ReasonForm(request.POST if is_sent else None)
    if not is_sent:
        return _act_page(request, found, target, form)
    if not form.is_valid() or not previews.was_previewed(found, request.POST):
        return _act_page(request, found, target, form, status=422)
    try:
        operation = services.submit(
            kind=kind,
            target_id=target_id,
            params=given(kind, request.POST),
            actor=request.user,
            reason=form.cleaned_data["reason"],
            idempotency_key=services.own_key(request.user, request.POST.get("key", "")),
        )
    except (services.Refused, PermissionDenied) as error:
        form.add_error(None, str(error))
        status = 403 if isinstance(error, PermissionDenied) else 422
        return _act_page(request, found, target, form, status=status, new_key=True)
    return go(request, "operations:operation", operation.pk)


def _act_page(
    request: HttpRequest,
    kind: Kind,
    target: TargetInfo,
    form: ReasonForm,
    *,
    status: int = 200,
    new_key: bool = False,
) -> HttpResponse:
    """`new_key`: nothing was accepted under the form's key, which may be another request's."""
    target_url = queries.target_url(kind.target_type, target.id)
    data = request.POST if request.method == "POST" else request.GET
    context = {
        "kind": kind,
        "target": target,
        "target_url": target_url,
        "preview": previews.preview(kind, [target.id], data, request.user),
        "form": form,
        "key": (not new_key and request.POST.get("key")) or uuid.uuid4().hex,
        "next": safe_next(request, target_url or queries.list_url()),
    }
    part = "plan" if request.headers.get("HX-Target") == "action-plan" else "dialog"
    return answer(request, "operations/act.html", part, context, status=status)


@needs("view", methods=("POST",))
def bulk(request: HttpRequest) -> HttpResponse:
    """Many targets: the preview of a selection first, then, confirmed, its batch."""
    data = request.POST
    is_confirmed = data.get("confirmed") == "1"
    form = ReasonForm(data if is_confirmed else None)
    try:
        chosen = previews.read_selection(request.user, data)
    except services.Refused as refusal:
        return _bulk_page(request, {"error": str(refusal)}, status=422)
    context = {"kind": chosen.kind, "selection": chosen, "form": form}
    if not is_confirmed:
        return _bulk_page(request, context)
    if chosen.changed or not form.is_valid() or not previews.was_previewed(chosen.kind, data):
        return _bulk_page(request, context, status=422)
    try:
        done = services.submit_many(
            kind=chosen.kind.name,
            target_ids=chosen.ids,
            params=given(chosen.kind.name, data),
            actor=request.user,
            reason=form.cleaned_data["reason"],
            idempotency_key=services.own_key(request.user, data.get("key", "")),
        )
    except services.Refused as refusal:
        form.add_error(None, str(refusal))
        return _bulk_page(request, {**context, "key": uuid.uuid4().hex}, status=422)
    if done.batch is None:
        form.add_error(None, "None of them can be done; below stands why.")
        return _bulk_page(request, context, status=422)
    return go(request, "operations:batch", done.batch.pk)


def _bulk_page(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    part = "plan" if request.headers.get("HX-Target") == "action-plan" else "dialog"
    key = request.POST.get("key") or uuid.uuid4().hex
    if chosen := context.get("selection"):
        context["preview"] = previews.preview(chosen.kind, chosen.ids, request.POST, request.user)
    full = {"key": key, "next": safe_next(request, queries.list_url()), **context}
    return answer(request, "operations/bulk.html", part, full, status=status)


# --- A batch -------------------------------------------------------------------------------------


@needs("view")
def batch(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Operations that were asked for together, live until all have ended."""
    return _batch_page(request, pk)


@needs("view", methods=("POST",))
def cancel_batch(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Cancel what of a batch has not begun."""
    found = get_object_or_404(visible(request.user, Batch), pk=pk)
    reason = request.POST.get("reason", "")
    try:
        batches.cancel_waiting(found, actor=request.user, reason=reason)
    except services.Refused as refusal:
        return _batch_page(request, pk, status=422, cancel_error=str(refusal), cancel_reason=reason)
    return go(request, "operations:batch", pk)


@needs("view", methods=("POST",))
def approve_batch(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Let go what of a batch waits for a second person."""
    found = get_object_or_404(visible(request.user, Batch), pk=pk)
    try:
        batches.approve_waiting(found, actor=request.user)
    except services.Refused as refusal:
        return _batch_page(request, pk, status=422, approve_error=str(refusal))
    return go(request, "operations:batch", pk)


def _batch_page(request: HttpRequest, pk: uuid.UUID, *, status: int = 200, **said: Any) -> HttpResponse:
    page = queries.batch_page(request.user, pk)
    return answer(
        request, "operations/batch.html", "live", {"page": page, "batch": page.batch, **said}, status=status
    )
