"""What the portal answers to a directory that asks whether a name is ours.

A middleware, and the first one: the directory asks over plain http (RFC 8555, 8.3) and under the name that is to be
proved, which is none of ALLOWED_HOSTS. It shows nothing that is secret, and nothing for a token that it does not know.
"""

import re
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from apps.core.middleware import database_away

PREFIX = "/.well-known/acme-challenge/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,200}")


class ChallengeMiddleware:
    """See the module."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(PREFIX) and request.method in ("GET", "HEAD"):
            return _answer(request.path_info.removeprefix(PREFIX))
        return self.get_response(request)


def _answer(token: str) -> HttpResponse:
    # Late: settings name this module before models can be imported.
    from ...models import AcmeChallenge

    try:
        found = (
            AcmeChallenge.objects.filter(token=token).values_list("answer", flat=True).first()
            if _TOKEN.fullmatch(token)
            else None
        )
    except (OperationalError, InterfaceError) as error:
        return database_away(error)
    plain = {"content_type": "text/plain; charset=utf-8", "headers": {"X-Content-Type-Options": "nosniff"}}
    if found is None:
        return HttpResponse("There is no such challenge.\n", status=404, **plain)
    return HttpResponse(found, **plain)
