"""Access reviews."""

import csv
import io
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from . import reviewing, roles
from .choices import Permission
from .forms import StartReviewForm
from .granting import NotGiven
from .listing import record_export, safe_cell
from .models import AccessReview, ReviewItem
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs

PER_PAGE = 50


@needs(Permission.MANAGE_ACCESS)
def reviews(request: HttpRequest) -> HttpResponse:
    """All reviews, newest first."""
    return _list(request, StartReviewForm())


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def start_review(request: HttpRequest) -> HttpResponse:
    """Begin one."""
    form = StartReviewForm(request.POST)
    roles.require_edit(request.user)
    if form.is_valid():
        try:
            return redirect("access:review", reviewing.start(actor=request.user, **form.cleaned_data).pk)
        except NotGiven as error:
            form.add_error(None, str(error))
    return _list(request, form, status=422)


@needs(Permission.MANAGE_ACCESS)
def review(request: HttpRequest, pk: int) -> HttpResponse:
    """One, as its reader is the reviewer of it: what they decide on, a page at a time."""
    found = get_object_or_404(AccessReview.objects.select_related("started_by", "closed_by"), pk=pk)
    context = {
        "review": found,
        "page": Paginator(reviewing.items_of(found, request.user), PER_PAGE).get_page(
            request.GET.get("page")
        ),
        "whole": reviewing.whole(found, request.user),
        "may_edit": roles.may_edit(request.user),
        "trail": [
            ("Access", reverse("access:people")),
            ("Reviews", reverse("access:reviews")),
            (found.name, ""),
        ],
    }
    return render(request, "access/review.html", context)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def decide_review(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep or remove one grant."""
    item = get_object_or_404(ReviewItem.objects.select_related("review"), pk=pk)
    if not reviewing.items_of(item.review, request.user).filter(pk=pk).exists():
        return HttpResponse(status=404)
    try:
        reviewing.decide(
            item,
            actor=request.user,
            decision=request.POST.get("decision", ""),
            note=request.POST.get("note", ""),
        )
    except (NotGiven, PermissionDenied) as error:
        messages.error(request, str(error))
    page = request.POST.get("page", "")
    return redirect(
        f"{reverse('access:review', args=[item.review_id])}?page={page if page.isdecimal() else 1}"
    )


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def close_review(request: HttpRequest, pk: int) -> HttpResponse:
    """Carry the decisions out."""
    found = get_object_or_404(AccessReview, pk=pk)
    roles.require_edit(request.user)
    try:
        reviewing.close(found, actor=request.user, reason=request.POST.get("reason", ""))
    except NotGiven as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Closed; what was to be removed is taken.")
    return redirect("access:review", pk)


@needs(Permission.MANAGE_ACCESS)
def review_evidence(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole review as a file, JSON or with `?as=csv` CSV; for who manages access on everything."""
    found = get_object_or_404(AccessReview.objects.select_related("started_by"), pk=pk)
    roles.require_edit(request.user)
    form = "CSV" if request.GET.get("as") == "csv" else "JSON"
    rows = list(reviewing.evidence(found))
    record_export(request, "access:review", ReviewItem, form)
    headers = {"Content-Disposition": f'attachment; filename="access-review-{pk}.{form.lower()}"'}
    if form == "JSON":
        return JsonResponse({"review": found.name, "grants": rows}, headers=headers)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows[0])
    writer.writerows([safe_cell(value) for value in row.values()] for row in rows)
    return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _list(request: HttpRequest, form: StartReviewForm, *, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "reviews": AccessReview.objects.select_related("started_by").order_by("-pk")[:200],
        "form": form,
        "may_edit": roles.may_edit(request.user),
        "tabs": tabs(request, "reviews"),
    }
    return render(request, "access/reviews.html", context, status=status)
