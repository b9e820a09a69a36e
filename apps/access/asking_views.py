"""Access for a while: what I have, what is asked for, and deciding on it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone

from apps.core.answers import answer

from . import asking
from .asking_tables import RequestFilter, RequestTable, state_tag
from .choices import RequestState
from .forms import AskForm, ExtendForm
from .granting import NotGiven
from .listing import render_list
from .models import AccessRequest, Grant
from .reauth import proved_again
from .tabs import tabs
from .telling import span
from .views_base import needs, signed_in

EMPTY = {
    "title": "Nothing was asked for",
    "text": "Who needs more than they hold, for a while, asks for it here; somebody else decides.",
}


@signed_in("one's own access")
def mine(request: HttpRequest) -> HttpResponse:
    """What the reader holds, by which grant, and what they asked for."""
    user: Any = request.user
    columns = ("role", "scope", "given_by", "group")
    rows = Grant.objects.filter(user=user) | Grant.objects.filter(group__user=user)
    asked = AccessRequest.objects.filter(person=user).select_related(*asking.ROWS)
    context = {
        "grants": rows.select_related(*columns).distinct().order_by("until", "-id"),
        "asked": [(one, state_tag(one), span(one.minutes)) for one in asked[:20]],
        "tabs": tabs(request, "mine"),
        "now": timezone.now(),
    }
    return render(request, "access/mine.html", context)


@needs("view")
def requests(request: HttpRequest) -> HttpResponse:
    """One's own requests, and those on what one manages the access of."""
    return render_list(
        request,
        page="access:requests",
        title="Access requests",
        queryset=asking.seen_by(request.user).order_by("-id"),
        table_class=RequestTable,
        filter_class=RequestFilter,
        context={"noun": "request", "empty": EMPTY, "live": 5, "tabs": tabs(request, "requests")},
        template="access/requests.html",
    )


@needs("view", methods=("GET", "HEAD", "POST"))
def ask(request: HttpRequest) -> HttpResponse:
    """Ask for a role on a scope, for a while."""
    initial = {name: request.GET[name] for name in ("kind", "name", "role", "minutes") if name in request.GET}
    form = AskForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_bound and form.is_valid():
        try:
            made = asking.ask(person=request.user, **form.cleaned_data)
        except NotGiven as error:
            form.add_error(None, str(error))
        else:
            return redirect("access:request", made.pk)
    context = {"form": form, "trail": _trail("Ask")}
    return render(request, "access/ask.html", context, status=422 if form.is_bound else 200)


def _trail(last: str) -> list[tuple[str, str]]:
    return [("Access requests", reverse("access:requests")), (last, "")]


@needs("view")
def request(request: HttpRequest, pk: int) -> HttpResponse:
    """One request, live while it waits or stands."""
    return _page(request, pk)


@needs("view", methods=("POST",))
@proved_again
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Say yes or no."""
    found = get_object_or_404(asking.seen_by(request.user), pk=pk)
    yes = request.POST.get("answer") == "yes"
    if request.POST.get("answer") not in ("yes", "no"):
        return _page(request, pk, error="Say yes or no.", status=422)
    try:
        asking.decide(found, actor=request.user, yes=yes, words=request.POST.get("words", ""))
    except NotGiven as error:
        return _page(request, pk, error=str(error), status=422)
    messages.success(request, "Granted from now on." if yes else "Refused.")
    return redirect("access:request", pk)


@needs("view", methods=("POST",))
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one's own request back."""
    found = get_object_or_404(asking.seen_by(request.user), pk=pk)
    try:
        asking.withdraw(found, person=request.user)
    except NotGiven as error:
        return _page(request, pk, error=str(error), status=422)
    return redirect("access:request", pk)


@needs("view", methods=("POST",))
def give_back(request: HttpRequest, pk: int) -> HttpResponse:
    """End one's own access early."""
    found = get_object_or_404(asking.seen_by(request.user), pk=pk)
    try:
        asking.give_back(found, person=request.user)
    except NotGiven as error:
        return _page(request, pk, error=str(error), status=422)
    messages.success(request, "It has ended.")
    return redirect("access:request", pk)


@needs("view", methods=("POST",))
def extend(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for longer."""
    found = get_object_or_404(asking.seen_by(request.user), pk=pk)
    form = ExtendForm(request.POST)
    if found.person_id != request.user.pk:
        raise PermissionDenied(f"It is {found.person}'s; only they can do this.")
    if not form.is_valid():
        return _page(request, pk, extend_form=form, status=422)
    try:
        more = asking.extend(found, person=request.user, **form.cleaned_data)
    except NotGiven as error:
        return _page(request, pk, error=str(error), status=422)
    return redirect("access:request", more.pk)


def _page(
    request: HttpRequest,
    pk: int,
    *,
    error: str = "",
    extend_form: ExtendForm | None = None,
    status: int = 200,
) -> HttpResponse:
    found = get_object_or_404(asking.seen_by(request.user), pk=pk)
    is_own = found.person_id == request.user.pk
    stands = found.state == RequestState.GRANTED and bool(found.until and found.until > timezone.now())
    context = {
        "asked": found,
        "state": state_tag(found),
        "span": span(found.minutes),
        "error": error,
        "is_own": is_own,
        "is_waiting": found.state == RequestState.WAITING,
        "stands": stands,
        "may_decide": not is_own and asking.may_decide(request.user, found),
        "why_not": "" if is_own else asking.why_not_decide(request.user, found),
        "extend_form": extend_form or ExtendForm(initial={"minutes": 60}),
        "trail": _trail(str(found)),
    }
    return answer(request, "access/request.html", "live", context, status=status)
