"""Signing in by a link, and one's own account."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from sesame.utils import get_user

from .views_base import public


@public("the link itself proves who comes; it works once and for ten minutes")
def signin_link(request: HttpRequest) -> HttpResponse:
    """Sign in with the one-time link that `make up` or `manage.py signin_link` printed."""
    if not settings.SIGNIN_LINKS:
        raise Http404("Sign-in links are off here.")
    user = get_user(request)
    if user is None:
        messages.error(
            request, "This link was used before or is too old. Make a new one: manage.py signin_link"
        )
        return redirect("account_login")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("/")
