"""How alerting's views answer: a page or its live part, and one way for every form."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from apps.core.answers import is_part

from ..forms import REFUSALS, refuse


def page(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """The page, or its part `live` to HTMX."""
    part = "#live" if is_part(request) else ""
    return render(request, f"alerts/{template}.html{part}", context, status=status)


def go(request: HttpRequest, name: str, *args: Any) -> HttpResponse:
    """On to another page, for a browser with or without script."""
    url = reverse(name, args=args)
    if is_part(request):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def form_page(
    request: HttpRequest,
    form: Any,
    save: Callable[[], HttpResponse],
    *,
    title: str,
    lead: str,
    back: str,
    submit: str = "Save",
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
    context = {"form": form, "title": title, "lead": lead, "back": reverse(back), "submit": submit}
    return render(request, "alerts/form.html", context, status=status)
