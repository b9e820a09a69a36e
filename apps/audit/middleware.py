"""Each request's entries know the grant they were made under, and refusals leave an entry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse

from apps.access.choices import Permission
from apps.access.services import system_actor
from apps.core.context import begin, current

from .choices import EventKind
from .telling import REFUSALS, tell
from .under import carrier

READING = ("GET", "HEAD", "OPTIONS")


class TrailMiddleware:
    """Stands below ActingMiddleware, which puts back what this one adds to the act."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code in (403, 404) and is_denial(request, response.status_code):
            tell_denial(request, response.status_code)
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """The permission that the view declares says which grant carries the request."""
        permission, act = getattr(view, "declared_permission", ""), current()
        if act is not None and permission in Permission.values:
            begin(replace(act, carrier=carrier(request.user, permission)))


def is_denial(request: HttpRequest, status: int) -> bool:
    """Whether a refusal is one: a permission that lacks, or a change of what does not exist for its author.

    A 404 of an address that is nobody's, or of a page that is only read, is a slip.
    """
    if status == 403:
        return True
    return (
        request.method not in READING and request.resolver_match is not None and request.user.is_authenticated
    )


def tell_denial(request: HttpRequest, status: int) -> None:
    """Record it, unless this person (or address) was recorded often enough in the last minute."""
    user: Any = request.user if request.user.is_authenticated else None
    left_out = REFUSALS.take(f"denied {user.pk if user else request.META.get('REMOTE_ADDR', '')}")
    if left_out is None:
        return
    details: dict[str, Any] = {"status": status, "method": request.method}
    if left_out:
        details["left_out_before"] = left_out
    tell(
        EventKind.DENIED,
        f"{request.method} {_address(request)}",
        actor=user or system_actor("visitor"),
        details=details,
    )


def _address(request: HttpRequest) -> str:
    """The path of a page of ours; of others' only its pattern, since a path of theirs may hold a key."""
    match = request.resolver_match
    if match is None:
        return "an address that is none"
    return request.path if hasattr(match.func, "declared_permission") else f"/{match.route}"
