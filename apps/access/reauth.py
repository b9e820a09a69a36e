"""Proving again who one is, before what matters."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows, suspend_request
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

View = Callable[..., HttpResponse]
#: Seconds for which a second factor counts as just given, for breaking glass.
FRESH = 300


def has_second_factor(user: Any) -> bool:
    """Whether `user` has set up a device or a passkey."""
    return bool(is_mfa_enabled(user))


def proved(request: HttpRequest, *, within: float, second_factor: bool) -> bool:
    """Whether the session's person has proved who they are in the last `within` seconds, by a second factor or at all."""
    records = get_authentication_records(request, request.user)
    since = time.time() - within
    return any(
        one.get("at", 0) >= since for one in records if not second_factor or one.get("method") == "mfa"
    )


def go(request: HttpRequest, url: str) -> HttpResponse:
    """On to another page, by HTMX or without it."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def second_factor_again(view: View) -> View:
    """Only within FRESH seconds of a second factor, whatever the settings say. Who has none is led to set one up."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not has_second_factor(request.user):
            messages.error(request, "Set up a second factor first: this cannot be done without one.")
            return go(request, reverse("mfa_index"))
        if not proved(request, within=FRESH, second_factor=True):
            back = urlencode({"next": request.get_full_path()})
            return go(request, f"{reverse('mfa_reauthenticate')}?{back}")
        return view(request, *args, **kwargs)

    return guarded


def proved_again(view: View) -> View:
    """POSTs only soon after a proof of who one is (settings.ACCOUNT_REAUTHENTICATION_TIMEOUT); by the second factor where there is one.

    The request waits meanwhile and goes on by itself. Who has neither password nor device came by a link and
    has nothing to prove it with; where REQUIRE_MFA is on they get nowhere anyway.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST" or not get_reauthentication_flows(request.user):
            return view(request, *args, **kwargs)
        needs_device = has_second_factor(request.user)
        if proved(request, within=settings.ACCOUNT_REAUTHENTICATION_TIMEOUT, second_factor=needs_device):
            return view(request, *args, **kwargs)
        url = reverse("mfa_reauthenticate" if needs_device else "account_reauthenticate")
        waiting = suspend_request(request, url)
        return go(request, waiting.url)

    return guarded
