"""Who may do what: people, their grants, giving and taking."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from . import granting, roles
from .choices import Permission, UserKind
from .forms import GiveForm
from .listing import render_list
from .models import User
from .people_tables import PeopleFilter, PeopleTable
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs

EMPTY = {"title": "Nobody yet", "text": "People are added in the admin; what they may do is given here."}


def _people(user: Any) -> QuerySet[User]:
    """All people, for who manages access anywhere: one has to see a colleague to give them something.

    Of their grants only those come along that lie where the reader manages access.
    """
    rows: QuerySet[User] = (
        User.objects.filter(kind=UserKind.PERSON)
        .prefetch_related(Prefetch("grants", granting.manageable(user)))
        .order_by("username")
    )
    return rows


@needs(Permission.MANAGE_ACCESS)
def people(request: HttpRequest) -> HttpResponse:
    """People and their grants."""
    return render_list(
        request,
        page="access:people",
        title="Access",
        queryset=_people(request.user),
        table_class=PeopleTable,
        filter_class=PeopleFilter,
        context={"noun": "person", "nouns": "people", "empty": EMPTY, "tabs": tabs(request, "people")},
        template="access/people.html",
    )


@needs(Permission.MANAGE_ACCESS)
def person(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: what they may do, by which grant, and a form to give more."""
    return _person_page(request, pk, GiveForm())


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def give(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a role on a scope."""
    somebody = get_object_or_404(_people(request.user), pk=pk)
    form = GiveForm(request.POST)
    if not form.is_valid():
        return _person_page(request, pk, form, status=422)
    try:
        given = granting.give(actor=request.user, person=somebody, **form.cleaned_data)
    except (granting.NotGiven, PermissionDenied) as error:
        form.add_error(None, str(error))
        return _person_page(request, pk, form, status=403 if isinstance(error, PermissionDenied) else 422)
    messages.success(request, f"{somebody} is {given.role} on {given.scope} from now on.")
    return redirect("access:person", pk)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def take(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a grant back."""
    grant = get_object_or_404(granting.manageable(request.user), pk=pk)
    try:
        granting.take(actor=request.user, grant=grant, reason=request.POST.get("reason", ""))
    except granting.NotGiven as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Taken: {grant.role} on {grant.scope}.")
    return (
        redirect("access:person", grant.user_id)
        if grant.user_id
        else redirect("access:group", grant.group_id)
    )


def _person_page(request: HttpRequest, pk: int, form: GiveForm, *, status: int = 200) -> HttpResponse:
    somebody = get_object_or_404(_people(request.user), pk=pk)
    groups = somebody.groups.all()
    context = {
        "person": somebody,
        "grants": somebody.grants.all(),
        "through": granting.manageable(request.user).filter(group__in=groups),
        "form": form,
        "may_end_sessions": roles.may_edit(request.user),
        "is_oneself": somebody.pk == request.user.pk,
        "trail": [("Access", reverse("access:people")), (str(somebody), "")],
    }
    return render(request, "access/person.html", context, status=status)
