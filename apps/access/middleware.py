"""Every request acts as somebody."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from apps.core.context import Acting, begin, end

from .addresses import client_ip
from .breaking import under
from .services import system_actor


def _way(path: str) -> str:
    return "admin" if path.startswith("/admin/") else "api" if path.startswith("/api/") else "page"


class ActingMiddleware:
    """Carries who acts, from where and by which request, to every audit row and event written below."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex
        act = Acting(
            # Lazy: a page that writes nothing need not know who reads it.
            actor=SimpleLazyObject(
                lambda: request.user if request.user.is_authenticated else system_actor("visitor")
            ),
            via=_way(request.path),
            under=lambda: under(request.user),
            request_id=request_id,
            remote_addr=client_ip(request),
        )
        token = begin(act)
        try:
            response = self.get_response(request)
        finally:
            end(token)
        response.headers["X-Request-ID"] = request_id
        return response
