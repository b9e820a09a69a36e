"""Breaking glass, and answering for it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone

from . import breaking
from .choices import Permission
from .forms import BreakGlassForm, ReviewForm
from .granting import NotGiven
from .models import BreakGlass
from .reauth import second_factor_again
from .scoping import holds
from .tabs import tabs
from .views_base import needs


@needs("view")
def broken(request: HttpRequest) -> HttpResponse:
    """One's own, and those on what one manages the access of; what waits first."""
    rows = breaking.seen_by(request.user)
    if request.GET.get("mine"):
        rows = rows.filter(person_id=request.user.pk)
    waiting = rows.filter(reviewed_at__isnull=True)[:200]
    context = {
        "rows": [*waiting, *rows.filter(reviewed_at__isnull=False)[:100]],
        "may_break": holds(request.user, Permission.BREAK_GLASS),
        "tabs": tabs(request, "broken"),
    }
    return render(request, "access/broken.html", context)


@needs(Permission.BREAK_GLASS, methods=("GET", "HEAD", "POST"))
@second_factor_again
def break_glass(request: HttpRequest) -> HttpResponse:
    """Take access now."""
    initial = {name: request.GET[name] for name in ("kind", "name", "role") if name in request.GET}
    form = BreakGlassForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_bound and form.is_valid():
        try:
            made = breaking.break_glass(person=request.user, **form.cleaned_data)
        except (NotGiven, PermissionDenied) as error:
            form.add_error(None, str(error))
        else:
            messages.warning(request, "You are in. Everything you do is marked; explain it afterwards.")
            return redirect("access:glass", made.pk)
    context = {"form": form, "trail": [("Broken glass", reverse("access:broken")), ("Break", "")]}
    return render(request, "access/break_glass.html", context, status=422 if form.is_bound else 200)


@needs("view")
def glass(request: HttpRequest, pk: int) -> HttpResponse:
    """One emergency."""
    return _page(request, _find(request, pk))


@needs("view", methods=("POST",))
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """End it early."""
    found = _find(request, pk)
    try:
        breaking.end(found, person=request.user)
    except NotGiven as error:
        return _page(request, found, error=str(error), status=422)
    return redirect("access:glass", pk)


@needs("view", methods=("POST",))
def explain(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what was done, and why it could not wait."""
    found = _find(request, pk)
    try:
        breaking.explain(found, person=request.user, text=request.POST.get("explanation", ""))
    except NotGiven as error:
        return _page(request, found, error=str(error), status=422)
    return redirect("access:glass", pk)


@needs("view", methods=("POST",))
def review(request: HttpRequest, pk: int) -> HttpResponse:
    """Say of another's whether it was right."""
    found, form = _find(request, pk), ReviewForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form=form, status=422)
    try:
        breaking.review(found, actor=request.user, **form.cleaned_data)
    except NotGiven as error:
        return _page(request, found, form=form, error=str(error), status=422)
    return redirect("access:glass", pk)


def _find(request: HttpRequest, pk: int) -> BreakGlass:
    return get_object_or_404(breaking.seen_by(request.user), pk=pk)


def _page(
    request: HttpRequest,
    found: BreakGlass,
    *,
    form: ReviewForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "glass": found,
        "error": error,
        "is_own": found.person_id == request.user.pk,
        "stands": found.ended_at is None and found.until > timezone.now(),
        "why_not_review": breaking.why_not_review(found, request.user),
        "form": form or ReviewForm(),
        "trail": [("Broken glass", reverse("access:broken")), (str(found), "")],
    }
    return render(request, "access/glass.html", context, status=status)
