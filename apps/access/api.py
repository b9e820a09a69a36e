"""What the JSON API stands on: a token instead of a session, the same doors behind it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from apps.core import strict_json

from . import limits, tokens
from .choices import Permission
from .scoping import holds

View = Callable[..., HttpResponse]
MOST = 200


class BadRequest(ValueError):
    """The request makes no sense; its message says what to send."""


def error(status: int, message: str, **headers: str) -> JsonResponse:
    """An answer that says what was wrong and what to do."""
    return JsonResponse({"error": message}, status=status, headers=headers)


def api(permission: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """Only with `Authorization: Bearer <token>` of somebody who holds `permission` somewhere. A session is not asked.

    So nothing that a browser sends by itself reaches these addresses, and no CSRF token is needed.
    """
    Permission(permission)

    def declare(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                return error(405, f"Use {' or '.join(methods)}.", Allow=", ".join(methods))
            scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
            token = tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
            if token is None:
                message = "Send a valid API token: Authorization: Bearer dt_…"
                return error(401, message, **{"WWW-Authenticate": "Bearer"})
            request.user = token.owner
            if seconds := limits.wait(token.pk):
                return error(429, f"Come again in {seconds} s.", **{"Retry-After": str(seconds)})
            if not holds(request.user, permission):
                return error(403, f"The token or its owner lacks “{Permission(permission).label}”.")
            return _answer(view, request, *args, **kwargs)

        guarded.declared_permission = str(permission)  # type: ignore[attr-defined]
        guarded.declared_methods = methods  # type: ignore[attr-defined]
        return guarded

    return declare


def _answer(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        if any("\x00" in text for values in request.GET.lists() for text in values[1]):
            raise BadRequest("The query holds a NUL character (U+0000), which no text may hold.")
        return view(request, *args, **kwargs)
    except BadRequest as wrong:
        return error(400, str(wrong))
    except PermissionDenied as denied:
        return error(403, str(denied))
    except Http404 as nothing:
        return error(404, str(nothing) or "There is no such thing.")


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that was sent. Raises BadRequest."""
    try:
        found = strict_json.loads(request.body or b"null")
    except ValueError as wrong:
        raise BadRequest(f"The body is no JSON that can be kept: {wrong}.") from wrong
    if not isinstance(found, dict):
        raise BadRequest("Send a JSON object.")
    return found


def _whole(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(f"{name} is a whole number.")
    return int(text)


def listed(
    request: HttpRequest, rows: QuerySet[Any], as_dict: Callable[[Any], dict[str, Any]]
) -> JsonResponse:
    """Rows by id from `?after=` on, `?limit=` of them (50, MOST at most); `next_after` leads on, null at the end."""
    limit = min(max(_whole(request, "limit", 50), 1), MOST)
    found = list(rows.filter(pk__gt=_whole(request, "after", 0)).order_by("pk")[: limit + 1])
    more = found[limit - 1].pk if len(found) > limit else None
    return JsonResponse({"results": [as_dict(row) for row in found[:limit]], "next_after": more})
