"""The answer while the database is away."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse

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
