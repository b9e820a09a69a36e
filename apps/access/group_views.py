"""Groups: who is in them, and what they hold."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from . import granting, roles
from .choices import Permission
from .forms import GiveForm, GroupForm, MemberForm
from .models import User
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs


@needs(Permission.MANAGE_ACCESS)
def groups(request: HttpRequest) -> HttpResponse:
    """All groups, with what they hold where the reader manages access."""
    rows = Group.objects.annotate(people=Count("user")).order_by("name")
    found = rows.prefetch_related(Prefetch("grants", granting.manageable(request.user), to_attr="shown"))
    context = {
        "groups": found[:500],
        "form": GroupForm(),
        "may_edit": roles.may_edit(request.user),
        "tabs": tabs(request, "groups"),
    }
    return render(request, "access/groups.html", context)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def new_group(request: HttpRequest) -> HttpResponse:
    """Make a group."""
    form = GroupForm(request.POST)
    roles.require_edit(request.user)
    if form.is_valid():
        try:
            return redirect("access:group", roles.make_group(actor=request.user, **form.cleaned_data).pk)
        except granting.NotGiven as error:
            form.add_error(None, str(error))
    context = {"form": form, "may_edit": True, "groups": [], "tabs": tabs(request, "groups")}
    return render(request, "access/groups.html", context, status=422)


@needs(Permission.MANAGE_ACCESS)
def group(request: HttpRequest, pk: int) -> HttpResponse:
    """One group."""
    return _page(request, get_object_or_404(Group, pk=pk))


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def give(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a role on a scope to everybody in the group, now and later."""
    found, form = get_object_or_404(Group, pk=pk), GiveForm(request.POST)
    if not form.is_valid():
        return _page(request, found, give=form, status=422)
    try:
        given = granting.give(actor=request.user, person=found, **form.cleaned_data)
    except (granting.NotGiven, PermissionDenied) as error:
        form.add_error(None, str(error))
        status = 403 if isinstance(error, PermissionDenied) else 422
        return _page(request, found, give=form, status=status)
    messages.success(request, f"{found} is {given.role} on {given.scope} from now on.")
    return redirect("access:group", pk)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def put_in(request: HttpRequest, pk: int) -> HttpResponse:
    """Put somebody into the group."""
    found, form = get_object_or_404(Group, pk=pk), MemberForm(request.POST)
    roles.require_edit(request.user)
    if not form.is_valid():
        return _page(request, found, member=form, status=422)
    person, reason = form.cleaned_data["who"], form.cleaned_data["reason"]
    try:
        roles.put_in_group(found, person, actor=request.user, reason=reason)
    except (granting.NotGiven, PermissionDenied) as error:
        form.add_error(None, str(error))
        return _page(request, found, member=form, status=422)
    messages.success(request, f"{person} is in {found} from now on.")
    return redirect("access:group", pk)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def take_out(request: HttpRequest, pk: int) -> HttpResponse:
    """Take somebody out of the group."""
    found = get_object_or_404(Group, pk=pk)
    roles.require_edit(request.user)
    person = found.user_set.filter(username=request.POST.get("who", "")).first()
    if person is None:
        messages.error(request, "They are not in this group.")
        return redirect("access:group", pk)
    try:
        roles.take_out_of_group(found, person, actor=request.user, reason=request.POST.get("reason", ""))
    except granting.NotGiven as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{person} is no longer in {found}.")
    return redirect("access:group", pk)


def _page(
    request: HttpRequest,
    group: Group,
    *,
    give: GiveForm | None = None,
    member: MemberForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "group": group,
        "members": User.objects.filter(groups=group).order_by("username")[:500],
        "grants": granting.manageable(request.user).filter(group=group),
        "form": give or GiveForm(),
        "member_form": member or MemberForm(auto_id="member_%s"),
        "may_edit": roles.may_edit(request.user),
        "trail": [
            ("Access", reverse("access:people")),
            ("Groups", reverse("access:groups")),
            (group.name, ""),
        ],
    }
    return render(request, "access/group.html", context, status=status)
