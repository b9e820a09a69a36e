"""Where charts and logs come from beside the portal."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.views_base import needs
from apps.core.answers import go

from ..models import TelemetrySource
from ..services import require_on
from ..telemetry import keeping
from ..telemetry.forms import TelemetryForm
from .answers import form_page

WRITES = ("GET", "HEAD", "POST")


LEAD = "a Prometheus, a Loki, a dashboard; the narrowest that fits an instance is asked"


def _edit(request: HttpRequest, found: TelemetrySource | None) -> HttpResponse:
    require_on(request.user, Permission.MANAGE_ALERTS, None)
    form = TelemetryForm(request.POST or None, instance=found, user=request.user)

    def save() -> HttpResponse:
        given = form.cleaned_data
        tokens = {name: given[name] for name in ("prometheus_token", "loki_token")}
        keeping.save(form.instance, **tokens, actor=request.user)
        return go(request, "alerts:sources")

    return form_page(
        request, form, save, title=found.name if found else "New telemetry source", lead=LEAD, back="alerts:sources",
        template="telemetry", source=found,
    )  # fmt: skip


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def new_telemetry(request: HttpRequest) -> HttpResponse:
    """Say where figures and logs are kept too."""
    return _edit(request, None)


@needs(Permission.MANAGE_ALERTS, methods=WRITES)
def telemetry(request: HttpRequest, pk: int) -> HttpResponse:
    """Change it, or switch it off."""
    rows = TelemetrySource.objects.select_related("account", "cell")
    return _edit(request, get_object_or_404(rows, pk=pk))


@needs(Permission.MANAGE_ALERTS, methods=("POST",))
def try_telemetry(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask it something small, and show what came of it."""
    found = get_object_or_404(TelemetrySource.objects.select_related("account", "cell"), pk=pk)
    tried = keeping.try_out(found, actor=request.user)
    context = {
        "form": TelemetryForm(instance=found, user=request.user), "title": found.name, "lead": LEAD, "submit": "Save",
        "back": reverse("alerts:sources"), "source": found, "tried": tried,
    }  # fmt: skip
    return render(request, "alerts/telemetry.html", context)
