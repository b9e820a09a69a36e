"""Groups of the identity provider, and what they mean here."""

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from . import roles, sso
from .choices import Permission
from .forms import SsoGroupForm
from .granting import NotGiven
from .models import SsoGroup
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs


@needs(Permission.MANAGE_ACCESS)
def sso_groups(request: HttpRequest) -> HttpResponse:
    """All of them."""
    return _page(request, SsoGroupForm())


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
@proved_again
def map_group(request: HttpRequest) -> HttpResponse:
    """Let a group there mean one here."""
    form = SsoGroupForm(request.POST)
    roles.require_edit(request.user)
    if form.is_valid():
        try:
            made = sso.map_group(actor=request.user, **form.cleaned_data)
        except (NotGiven, PermissionDenied) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{made}, from each person's next sign-in on.")
            return redirect("access:sso_groups")
    return _page(request, form, status=422)


@needs(Permission.MANAGE_ACCESS, methods=("POST",))
def unmap_group(request: HttpRequest, pk: int) -> HttpResponse:
    """No longer."""
    row = get_object_or_404(SsoGroup.objects.select_related("group"), pk=pk)
    try:
        sso.unmap_group(row, actor=request.user, reason=request.POST.get("reason", ""))
    except NotGiven as error:
        messages.error(request, str(error))
    return redirect("access:sso_groups")


def _page(request: HttpRequest, form: SsoGroupForm, *, status: int = 200) -> HttpResponse:
    context = {
        "rows": SsoGroup.objects.select_related("group").order_by("claim", "pk")[:500],
        "form": form,
        "may_edit": roles.may_edit(request.user),
        "server": settings.OIDC_SERVER_URL,
        "claim": settings.OIDC_GROUPS_CLAIM,
        "tabs": tabs(request, "sso_groups"),
    }
    return render(request, "access/sso_groups.html", context, status=status)
