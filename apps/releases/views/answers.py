"""How these pages answer: whole, or the part that HTMX asked for."""

from typing import Any

from django.core.exceptions import ValidationError
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


def first_error(form: Any) -> str:
    """The first thing that is wrong with a form, with the name of its field."""
    name, errors = next(iter(form.errors.items()))
    label = form.fields[name].label or name.replace("_", " ").capitalize() if name in form.fields else ""
    return f"{label}: {errors[0]}" if label else str(errors[0])


def words_of(error: Exception) -> str:
    """An error as a page says it."""
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
