"""Signing in by a link."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from .models import User
from .views_base import public

TOKEN = "sesame"  # noqa: S105 - the name of the parameter


@never_cache
@public("the link itself proves who comes; it works once and for ten minutes", methods=("GET", "POST"))
def signin_link(request: HttpRequest) -> HttpResponse:
    """Sign in with the one-time link that `make up` or `manage.py signin_link` printed.

    Looking at it (a mail program's preview does, a proxy's HEAD) shows a button and uses nothing up; the button's
    POST signs in.
    """
    if not settings.SIGNIN_LINKS:
        raise Http404("Sign-in links are off here.")
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD, POST"})
    token = (request.POST if request.method == "POST" else request.GET).get(TOKEN, "")
    user = (_use if request.method == "POST" else _whose)(request, token)
    if user is None:
        messages.error(
            request, "This link was used before or is too old. Make a new one: manage.py signin_link"
        )
        return redirect("account_login")
    if request.method != "POST":
        return render(request, "access/signin_link.html", {"person": user, "token": token})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("/")


def _whose(request: HttpRequest, token: str) -> Any:
    return authenticate(request, sesame=token, scope="", max_age=None) if 0 < len(token) < 500 else None


def _use(request: HttpRequest, token: str) -> Any:
    """Whose link it is, used up: of two that come with it at once one is too late."""
    with transaction.atomic():
        user = _whose(request, token)
        if user is None:
            return None
        User.objects.select_for_update().get(pk=user.pk)
        user = _whose(request, token)
        if user is not None:
            user.last_login = timezone.now()  # of which the token is made
            user.save(update_fields=["last_login"])
        return user
