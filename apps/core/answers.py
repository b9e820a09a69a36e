"""How every page answers: whole, or the part that HTMX asked for."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect


def is_part(request: HttpRequest) -> bool:
    """Whether HTMX asks for a part of a page."""
    return bool(request.headers.get("HX-Request")) and not request.headers.get("HX-Boosted")


def answer(
    request: HttpRequest, template: str, part: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The page, or its named partial to an HTMX request."""
    return render(request, f"{template}#{part}" if is_part(request) else template, context, status=status)


def go(request: HttpRequest, name: str, *args: Any) -> HttpResponse:
    """On to another page, by HTMX or without it."""
    url = reverse(name, args=args)
    return HttpResponseClientRedirect(url) if is_part(request) else redirect(url)
