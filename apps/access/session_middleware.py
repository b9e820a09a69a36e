"""What a session must satisfy: not too long idle, not too old, and a second factor for who may change something."""

import time
from collections.abc import Callable
from urllib.parse import urlencode

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from . import reauth
from .choices import SECOND_FACTOR
from .scoping import holds

Answer = Callable[[HttpRequest], HttpResponse]
BEGAN, SEEN = "session_began", "session_seen"
#: Seconds between two writes of when a session was last used.
TOUCH = 60
SAFE = ("GET", "HEAD", "OPTIONS")
#: Where one signs in, sets a second factor up, and signs out.
OPEN = ("/accounts/", "/api/", "/static/")


class SessionLimitsMiddleware:
    """Ends a session after SESSION_IDLE_SECONDS without a person, and SESSION_COOKIE_AGE after its beginning.

    A live part's look is no person: a page left open does not keep its session alive.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.session.session_key and request.user.is_authenticated:
            now = time.time()
            began, seen = request.session.get(BEGAN), request.session.get(SEEN)
            if self._is_over(began, seen, now):
                return self._end(request)
            is_person = not request.headers.get("X-Daytwo-Live")
            if began is None or (is_person and now - (seen or 0) > TOUCH):
                request.session[BEGAN] = began or now
                request.session[SEEN] = now
                UserSession.objects.create_from_request(request)
        return self.get_response(request)

    def _is_over(self, began: float | None, seen: float | None, now: float) -> bool:
        too_old = began is not None and now - began > settings.SESSION_COOKIE_AGE
        return too_old or (seen is not None and now - seen > settings.SESSION_IDLE_SECONDS)

    def _end(self, request: HttpRequest) -> HttpResponse:
        UserSession.objects.filter(session_key=request.session.session_key).delete()
        logout(request)
        if request.headers.get("HX-Request"):
            return HttpResponse(status=401, headers={"HX-Redirect": reverse("account_login")})
        messages.info(request, "You were away for long; sign in again.")
        return redirect_to_login(request.get_full_path() if request.method in SAFE else "/")


class SecondFactorMiddleware:
    """Where REQUIRE_MFA is on, nobody who may change something changes anything without a second factor."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (
            settings.REQUIRE_MFA
            and request.method not in SAFE
            and not request.path.startswith(OPEN)
            and request.user.is_authenticated
            and any(holds(request.user, permission) for permission in SECOND_FACTOR)
        ):
            if not reauth.has_second_factor(request.user):
                messages.error(
                    request, "You may change things, so set up a second factor first. Nothing was changed."
                )
                return reauth.go(request, reverse("mfa_index"))
            if not reauth.proved(request, within=settings.SESSION_COOKIE_AGE, second_factor=True):
                messages.error(request, "Give your second factor first. Nothing was changed.")
                back = urlencode({"next": "/"})
                return reauth.go(request, f"{reverse('mfa_reauthenticate')}?{back}")
        return self.get_response(request)
