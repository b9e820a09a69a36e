"""The way in: an API token that may provision, on everything. A session is not asked, and no cookie is read."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from .. import limits, tokens
from ..choices import Permission
from ..scoping import scopes_of
from .clients import Client
from .errors import ScimError, beyond, taken

View = Callable[..., HttpResponse]


def scim(*methods: str) -> Callable[[View], View]:
    """Only with `Authorization: Bearer <token>` whose owner and which itself may provision on everything.

    The view is called with the `Client`; what it raises is answered as RFC 7644 says.
    """

    def declare(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                refused = ScimError(405, f"Use {' or '.join(methods)}.")
                return refused.answer({"Allow": ", ".join(methods)})
            scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
            token = tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
            if token is None:
                refused = ScimError(401, "Send a valid API token: Authorization: Bearer dt_…")
                return refused.answer({"WWW-Authenticate": "Bearer"})
            request.user = token.owner
            if seconds := limits.wait(token.pk):
                return ScimError(429, f"Come again in {seconds} s.").answer({"Retry-After": str(seconds)})
            return _answer(view, request, Client(token), *args, **kwargs)

        guarded.declared_permission = str(Permission.PROVISION)  # type: ignore[attr-defined]
        guarded.declared_methods = methods  # type: ignore[attr-defined]
        return guarded

    return declare


def _answer(view: View, request: HttpRequest, client: Client, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        if not scopes_of(request.user, Permission.PROVISION).everything:
            raise beyond(f"The token or its owner lacks “{Permission.PROVISION.label}” on everything.")
        return view(request, client, *args, **kwargs)
    except ScimError as error:
        return error.answer()
    except IntegrityError:
        return taken("Another request made the same at the same moment; look again.").answer()
