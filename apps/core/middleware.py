"""The answer while the database is away; forms that no column could keep."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

logger = logging.getLogger(__name__)

MESSAGE = (
    "Daytwo cannot reach its database. Nothing was changed by this request and nothing is lost; "
    "the page works again by itself when the database is back. "
    "Operators: is PostgreSQL up, and does DATABASE_URL name it?"
)


class DatabaseAwayMiddleware:
    """Turns a lost database into a 503 that says so, and drops dead connections so that the next try is fresh."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        return database_away(exception)


def database_away(exception: Exception) -> HttpResponse:
    """The 503 for a lost database; closes this thread's broken connections."""
    logger.error(
        "database away: %s", str(exception).splitlines()[0] if str(exception) else type(exception).__name__
    )
    for connection in connections.all(initialized_only=True):
        connection.close()
    return HttpResponse(
        MESSAGE, status=503, content_type="text/plain; charset=utf-8", headers={"Retry-After": "5"}
    )


UNREADABLE = (
    "The form holds a NUL character (U+0000), which no text may hold. Nothing was changed; send it without."
)


class ReadableTextMiddleware:
    """Refuses an address, or a form with any field, that holds a NUL, before a view sees it.

    PostgreSQL keeps no such text, and no person types one. What programs send otherwise (to views without CSRF) is
    read by its own door.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\x00" in request.path_info:
            return HttpResponseBadRequest(UNREADABLE, content_type="text/plain; charset=utf-8")
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Behind the CSRF check, which has read the form already."""
        if request.method != "POST" or getattr(view, "csrf_exempt", False):
            return None
        texts = (text for key, values in request.POST.lists() for text in (key, *values))
        if any("\x00" in text for text in texts):
            return HttpResponseBadRequest(UNREADABLE, content_type="text/plain; charset=utf-8")
        return None
