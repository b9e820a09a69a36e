"""One's own API tokens."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from . import tokens as services
from .choices import Permission
from .forms import TokenForm
from .granting import NotGiven
from .models import ApiToken
from .reauth import proved_again
from .tabs import tabs
from .views_base import needs


@needs(Permission.VIEW)
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens, and a form for a new one."""
    return _page(request, TokenForm(user=request.user))


@needs(Permission.VIEW, methods=("POST",))
@proved_again
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """Make a token; the answer is the only page that ever shows it."""
    form = TokenForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, form, status=422)
    try:
        _, secret = services.issue(owner=request.user, **form.cleaned_data)
    except NotGiven as error:
        form.add_error(None, str(error))
        return _page(request, form, status=422)
    return _page(request, TokenForm(user=request.user), secret=secret)


@needs(Permission.VIEW, methods=("POST",))
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own."""
    token = get_object_or_404(ApiToken, pk=pk, owner_id=request.user.pk)
    services.revoke(token, actor=request.user)
    messages.success(request, f"{token.name} works no longer.")
    return redirect("access:tokens")


def _page(request: HttpRequest, form: TokenForm, *, secret: str = "", status: int = 200) -> HttpResponse:
    rows: Any = ApiToken.objects.filter(owner_id=request.user.pk).order_by("-id")[:100]
    context = {
        "rows": rows,
        "form": form,
        "secret": secret,
        "now": timezone.now(),
        "tabs": tabs(request, "tokens"),
    }
    return render(request, "access/tokens.html", context, status=status)
