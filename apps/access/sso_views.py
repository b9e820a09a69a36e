"""Groups of the identity provider, and what they mean here."""

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone

from . import roles, sso
from .choices import Permission
from .forms import SsoGroupForm
from .granting import NotGiven
from .models import ApiToken, ScimGroup, SsoGroup, User
from .reauth import proved_again
from .scoping import holds
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


@needs(Permission.MANAGE_ACCESS)
def scim(request: HttpRequest) -> HttpResponse:
    """The directory that provisions people and groups: with which tokens, when last, what it keeps here and what that means."""
    means: dict[str, list[SsoGroup]] = {}
    for row in SsoGroup.objects.select_related("group").order_by("claim", "group__name"):
        means.setdefault(row.claim, []).append(row)
    groups = ScimGroup.objects.annotate(people=Count("members")).order_by("display_name")
    numbers = Paginator(groups, 50).get_page(request.GET.get("page"))
    from_there = User.objects.filter(~Q(external_id="") | Q(scim_groups__isnull=False)).distinct()
    context = {
        "tokens": ApiToken.objects.filter(permissions__contains=[Permission.PROVISION])
        .select_related("owner")
        .order_by("-last_used_at", "-pk")[:20],
        "groups": [
            (one, means.get(one.display_name, []) + means.get(one.external_id or "\0", [])) for one in numbers
        ],
        "page": numbers,
        "base": f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2/",
        "people": from_there.count(),
        "left": from_there.filter(is_active=False).count(),
        "last": ApiToken.objects.filter(permissions__contains=[Permission.PROVISION]).aggregate(
            at=Max("last_used_at")
        ),
        "trail_url": f"{reverse('audit:list')}?via=scim" if holds(request.user, Permission.SEE_AUDIT) else "",
        "now": timezone.now(),
        "tabs": tabs(request, "sso_groups"),
    }
    return render(request, "access/scim.html", context)


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
