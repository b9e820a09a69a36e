"""“Why can X do Y on Z”, and “who can do Y on Z”."""

from typing import Any

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from . import explaining, scoping
from .choices import Permission, ScopeKind
from .forms import WhyForm
from .tabs import tabs
from .views_base import needs


@needs(Permission.MANAGE_ACCESS)
def why(request: HttpRequest) -> HttpResponse:
    """The chain of grants, for one person or for everybody."""
    form = WhyForm(request.GET if "permission" in request.GET else None)
    context: dict[str, Any] = {"form": form, "tabs": tabs(request, "why")}
    if form.is_bound and form.is_valid():
        data = form.cleaned_data
        is_known, obj = _find(request.user, data["kind"], data["name"].strip())
        if not is_known:
            form.add_error("name", f"There is no {data['kind']} of this name where you manage access.")
        else:
            label = Permission(data["permission"]).label
            context |= {"object": obj or "everything", "permission_label": label, "asked": data["who"]}
            context["answers"] = (
                [explaining.why(data["who"], data["permission"], obj)]
                if data["who"]
                else explaining.who(data["permission"], obj)
            )
    status = 422 if form.is_bound and form.errors else 200
    return render(request, "access/why.html", context, status=status)


def _find(user: Any, kind: str, name: str) -> tuple[bool, models.Model | None]:
    """Whether there is such a thing where `user` manages access, and the thing (None: everything)."""
    if kind == ScopeKind.EVERYTHING:
        return scoping.scopes_of(user, Permission.MANAGE_ACCESS).everything, None
    model = scoping.coverable()[kind]
    columns = {field.name for field in model._meta.concrete_fields}
    wanted = {"key" if "key" in columns else "name": name}
    found = scoping.visible(user, model, Permission.MANAGE_ACCESS).filter(**wanted).first()
    return found is not None, found
