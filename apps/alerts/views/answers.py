"""How alerting's views answer: a page or its live part, and one way for every form."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.core.answers import answer

from ..forms import REFUSALS, refuse


def page(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """The page, or its part `live` to HTMX."""
    return answer(request, f"alerts/{template}.html", "live", context, status=status)


def form_page(
    request: HttpRequest,
    form: Any,
    save: Callable[[], HttpResponse],
    *,
    title: str,
    lead: str,
    back: str,
    submit: str = "Save",
    template: str = "form",
    **more: Any,
) -> HttpResponse:
    """Show a form, or carry out what was sent: `save` answers, or raises what stands against it."""
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                return save()
            except REFUSALS as error:
                refuse(form, error)
    context = {"form": form, "title": title, "lead": lead, "back": reverse(back), "submit": submit, **more}
    return render(request, f"alerts/{template}.html", context, status=status)
