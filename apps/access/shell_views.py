"""What belongs to the shell around every page: bar, palette, saved views, health, errors."""

import sys
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template import loader
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core import navigation, palette
from apps.core.context import acting
from apps.core.middleware import database_away
from apps.core.models import SavedView

from .views_base import needs, public, signed_in


@public("load balancers and `make up` ask whether the portal answers")
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers and its database does; 503 otherwise."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return database_away(error)
    return JsonResponse({"status": "ok"})


@signed_in("part of the shell; each part of it asks for itself what the reader may see")
def bar(request: HttpRequest) -> HttpResponse:
    """The top bar's live part."""
    return render(request, "components/bar.html", {"parts": navigation.bar(request.user)})


@needs("view")
def search(request: HttpRequest) -> HttpResponse:
    """⌘K: hits for `q`, as a page of its own or as the palette's list."""
    text = request.GET.get("q", "")
    hits = palette.search(request.user, text)
    template = "palette.html#hits" if request.headers.get("HX-Request") else "palette.html"
    return render(request, template, {"hits": hits, "q": text})


def _list_url(page: str) -> str:
    """The address of a list by its URL name; 404 for a name that is no list."""
    try:
        return reverse(page)
    except NoReverseMatch as error:
        raise Http404("There is no such list.") from error


@needs("view", methods=("POST",))
def save_view(request: HttpRequest) -> HttpResponse:
    """Keep a list's filters under a name; the same name again replaces them."""
    page, name = request.POST.get("page", ""), " ".join(request.POST.get("name", "").split())[:80]
    query = request.POST.get("query", "").lstrip("?")[:2_000]
    url = _list_url(page)
    if not name:
        messages.error(request, "Give the view a name.")
        return redirect(f"{url}?{query}")
    with transaction.atomic(durable=True), acting(request.user, reason=f"saves the view {name}"):
        SavedView.objects.update_or_create(
            owner_id=request.user.pk,
            page=page,
            name=name,
            defaults={"query": query, "is_shared": request.POST.get("is_shared") == "1"},
        )
    messages.success(request, f"Saved as “{name}”.")
    return redirect(f"{url}?{query}")


@needs("view", methods=("POST",))
def delete_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a view of one's own."""
    view = get_object_or_404(SavedView, pk=pk, owner_id=request.user.pk)
    with transaction.atomic(durable=True), acting(request.user, reason=f"deletes the view {view.name}"):
        view.delete()
    messages.success(request, f"“{view.name}” is gone.")
    back = request.POST.get("next", "")
    # An address, never the name of a route: `redirect` would look one up, and fail where there is none.
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(back if safe else _list_url(view.page))


def server_error(request: HttpRequest) -> HttpResponse:
    """The 500 page; a lost database has its own answer, 503, whichever layer lost it."""
    error: Any = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return database_away(error)
    return HttpResponse(loader.get_template("500.html").render({}), status=500)


def permission_denied(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    """The 403 page, with what to do about it."""
    return HttpResponse(
        loader.get_template("403.html").render({"message": str(exception)}, request), status=403
    )
