"""The tab that the fleet adds to a tenant's pages: its figures."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from apps.access.scoping import visible
from apps.access.views_base import needs
from apps.tenants.models import Tenant
from apps.tenants.tabs import tabs_of

from .. import charting
from ..forms import RangeForm
from ..panels import charts_of, compare_links, range_links
from ..queries import charts, metrics


@needs("view")
def tenant_charts(request: HttpRequest, pk: int) -> HttpResponse:
    """The figures of what serves a tenant, with what happened there."""
    tenant = get_object_or_404(visible(request.user, Tenant), pk=pk)
    form = RangeForm(request.GET)
    span, compared = form.span(), [n for n in form.compared() if n == charts.LAST_WEEK]
    instances = charts.tenants_instances(request.user, pk)
    sources = [found for one in instances if (found := charting.elsewhere(one)) is not None]
    context = {
        "tenant": tenant,
        "tabs": tabs_of(request.user, tenant, "metrics"),
        "instances": instances,
        "source": sources[0] if sources else None,
        "ranges": range_links(span, compared),
        "compares": compare_links(span, compared, [charts.LAST_WEEK]),
        "charts": charts_of(reverse("fleet:tenant_metrics", args=[pk]), span, compared),
        "every": 15 if metrics.RANGES[span] <= 60 else 60,
        "has_metrics": bool(sources) or metrics.has_any(request.user, instances),
    }
    return render(request, "fleet/tenant_metrics.html", context)


@needs("view")
def tenant_metrics(request: HttpRequest, pk: int) -> HttpResponse:
    """The series behind them, as JSON."""
    tenant = get_object_or_404(visible(request.user, Tenant), pk=pk)
    form = RangeForm(request.GET)
    instances = charts.tenants_instances(request.user, pk)
    only = request.GET.get("only", "")
    found = charts.tenant_data(request.user, instances, tenant.key, form.span(), only, form.compared())
    return JsonResponse(found)
