"""Roles: the matrix of what each allows, and the editor."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from . import granting
from . import roles as services
from .choices import CHANGING, SEEDED_ROLES, WHOLE_INSTANCE, Permission
from .forms import RoleForm
from .models import Role
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs

BOTH = ("GET", "HEAD", "POST")


@needs(Permission.MANAGE_ACCESS)
def roles(request: HttpRequest) -> HttpResponse:
    """All roles × all permissions."""
    found = list(services.listed())
    lines = [
        {
            "permission": permission,
            "note": "changes" if permission in CHANGING else "all of an instance" if permission in WHOLE_INSTANCE else "",
            "cells": [(role, permission in role.permissions) for role in found],
        }
        for permission in Permission
    ]  # fmt: skip
    context = {
        "roles": found,
        "lines": lines,
        "may_edit": services.may_edit(request.user),
        "tabs": tabs(request, "roles"),
    }
    return render(request, "access/roles.html", context)


@needs(Permission.MANAGE_ACCESS, methods=BOTH)
@proved_again
def new_role(request: HttpRequest) -> HttpResponse:
    """Make a role."""
    services.require_edit(request.user)
    return _edit(request, Role())


@needs(Permission.MANAGE_ACCESS, methods=BOTH)
@proved_again
def role(request: HttpRequest, pk: int) -> HttpResponse:
    """One role: what it allows, who holds it, and for who may, the editor."""
    return _edit(request, get_object_or_404(Role, pk=pk))


def _edit(request: HttpRequest, role: Role) -> HttpResponse:
    initial = {"name": role.name, "description": role.description, "permissions": role.permissions}
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST":
        services.require_edit(request.user)
        if form.is_valid() and _save(request, role, form):
            messages.success(request, f"The role {role.name} is so from now on, for everybody who holds it.")
            return redirect("access:role", role.pk)
    context = {
        "role": role,
        "title": Role.objects.get(pk=role.pk).name if role.pk else "New role",
        "form": form,
        "grants": granting.manageable(request.user).filter(role=role)[:200] if role.pk else [],
        "may_edit": services.may_edit(request.user),
        "is_seeded": role.name in SEEDED_ROLES,
        "trail": [("Access", reverse("access:people")), ("Roles", reverse("access:roles")), (role.name or "New role", "")],
    }  # fmt: skip
    return render(request, "access/role.html", context, status=422 if request.method == "POST" else 200)


def _save(request: HttpRequest, role: Role, form: RoleForm) -> bool:
    data: dict[str, Any] = form.cleaned_data
    try:
        services.save_role(role, actor=request.user, **data)
    except (granting.NotGiven, PermissionDenied) as error:
        form.add_error(None, str(error))
        return False
    return True


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def delete_role(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a role that nobody holds."""
    role = get_object_or_404(Role, pk=pk)
    try:
        services.delete_role(role, actor=request.user, reason=request.POST.get("reason", ""))
    except granting.NotGiven as error:
        messages.error(request, str(error))
        return redirect("access:role", pk)
    messages.success(request, f"The role {role.name} is gone.")
    return redirect("access:roles")
