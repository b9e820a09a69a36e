"""Declaring who may reach a view. A route that declares nothing fails a test and a system check."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from .choices import Permission
from .scoping import holds

View = Callable[..., HttpResponse]


def needs(permission: str, *, methods: tuple[str, ...] = ("GET", "HEAD")) -> Callable[[View], View]:
    """Only for who is signed in and holds `permission` somewhere; what they reach is then narrowed by `visible`.

    Other methods than `methods` answer 405. The live parts of a page get 401 rather than a sign-in page.
    """
    Permission(permission)

    def declare(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                return HttpResponse(status=405, headers={"Allow": ", ".join(methods)})
            if not request.user.is_authenticated:
                if request.headers.get("HX-Request"):
                    return HttpResponse(status=401, headers={"HX-Redirect": "/accounts/login/"})
                return redirect_to_login(request.get_full_path())
            if not holds(request.user, permission):
                raise PermissionDenied(
                    f"You need the permission “{Permission(permission).label}”; ask whoever manages access."
                )
            return view(request, *args, **kwargs)

        guarded.declared_permission = str(permission)  # type: ignore[attr-defined]
        guarded.declared_methods = methods  # type: ignore[attr-defined]
        return guarded

    return declare


def public(why: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """For everybody, signed in or not; `why` tells the reader of the route table.

    `methods` only tells the table: a view that takes others than GET refuses those it does not take itself.
    """

    def declare(view: View) -> View:
        view.declared_methods = methods  # type: ignore[attr-defined]
        view.declared_permission = f"public: {why}"  # type: ignore[attr-defined]
        return view

    return declare


def signed_in(why: str) -> Callable[[View], View]:
    """For everybody who is signed in, whatever they hold (their own settings, the shell)."""

    def declare(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                if request.headers.get("HX-Request"):
                    return HttpResponse(status=401, headers={"HX-Redirect": "/accounts/login/"})
                return redirect_to_login(request.get_full_path())
            return view(request, *args, **kwargs)

        guarded.declared_permission = f"signed in: {why}"  # type: ignore[attr-defined]
        return guarded

    return declare
