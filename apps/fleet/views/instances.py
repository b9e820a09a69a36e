"""The list of instances, and one instance: its tabs, its live part, its figures, its logs, its bundles."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.text import get_valid_filename

from apps.access.choices import Permission
from apps.access.listing import render_list
from apps.access.scoping import require, visible
from apps.access.views_base import needs
from apps.core.answers import is_part
from apps.operations.kinds import kinds

from .. import charting
from ..bundles import as_text, as_zip
from ..filters import InstanceFilter
from ..forms import LogForm, MomentForm, RangeForm
from ..models import Diagnostics, Instance
from ..panels import (
    charts_of,
    compare_links,
    instance_panels,
    instance_tabs,
    instance_trail,
    range_links,
)
from ..queries import changes, charts, logs, metrics
from ..queries.instances import (
    InstanceHead,
    bundles,
    instance_head,
    line_of,
    listed,
    operations_on,
    served_by,
    timeline,
)
from ..queries.neighbours import neighbours
from ..services import record_reading
from ..tables import InstanceTable

ALL_OPERATIONS = 100
ALL_EVENTS = 200


@needs("view")
def instance_list(request: HttpRequest) -> HttpResponse:
    """All instances the reader sees."""
    return render_list(
        request,
        page="fleet:instances",
        title="Instances",
        queryset=listed(request.user),
        table_class=InstanceTable,
        filter_class=InstanceFilter,
        context={"noun": "instance", "target_type": "instance", "bulk_kinds": kinds("instance"), "live": 5},
    )


def _page(
    request: HttpRequest, head: InstanceHead, tab: str, *, part: str = "", **context: Any
) -> HttpResponse:
    full = {
        "head": head,
        "instance": head.instance,
        "trail": instance_trail(head),
        "tabs": instance_tabs(head, tab),
        **context,
    }
    return render(request, f"fleet/instance_{tab}.html{part}", full)


@needs("view")
def instance(request: HttpRequest, pk: int) -> HttpResponse:
    """What it is, whom it serves, what happened last; live as a whole (204: as `token` knows it)."""
    head = instance_head(request.user, pk)
    if is_part(request) and request.GET.get("token") == head.token:
        return HttpResponse(status=204)
    return _page(
        request,
        head,
        "overview",
        part="#page" if is_part(request) else "",
        panels=instance_panels(head),
        served=served_by(request.user, head.instance),
        events=timeline(request.user, limit=12, instance_id=pk),
    )


@needs("view")
def instance_live(request: HttpRequest, pk: int) -> HttpResponse:
    """The header's live part; 204 while nothing has changed since the state that `token` names."""
    head = instance_head(request.user, pk)
    if request.GET.get("token") == head.token:
        return HttpResponse(status=204)
    return render(request, "fleet/instance.html#live", {"head": head, "instance": head.instance})


@needs("view")
def instance_charts(request: HttpRequest, pk: int) -> HttpResponse:
    """Its figures as charts."""
    head = instance_head(request.user, pk)
    form = RangeForm(request.GET)
    span, compared = form.span(), form.compared()
    source = charting.elsewhere(head.instance)
    return _page(
        request,
        head,
        "metrics",
        ranges=range_links(span, compared),
        compares=compare_links(span, compared),
        charts=charts_of(reverse("fleet:instance_metrics", args=[pk]), span, compared),
        source=source,
        every=15 if metrics.RANGES[span] <= 60 else 60,
        keeps_metrics=metrics.keeps_metrics(head.instance),
        has_metrics=source is not None or metrics.has_any(request.user, [head.instance]),
        neighbours=neighbours(request.user, head.instance),
    )


@needs("view")
def instance_metrics(request: HttpRequest, pk: int) -> HttpResponse:
    """The series behind the charts, as JSON; `only` names one of them."""
    found = _visible_instance(request, pk)
    form = RangeForm(request.GET)
    only = request.GET.get("only", "")
    return JsonResponse(charts.chart_data(request.user, found, form.span(), only, compared=form.compared()))


@needs("view")
def instance_changes(request: HttpRequest, pk: int) -> HttpResponse:
    """What was changed on it and around it in the hour before a moment, now unless `at` names one."""
    head = instance_head(request.user, pk)
    moment = MomentForm(request.GET).moment()
    found = changes.before(request.user, changes.around([head.instance]), moment)
    return _page(request, head, "changes", moment=moment, is_now="at" not in request.GET, changes=found)


@needs("read_logs")
def instance_log_page(request: HttpRequest, pk: int) -> HttpResponse:
    """The tail of its log; that it was opened is recorded, once."""
    head = instance_head(request.user, pk)
    require(request.user, Permission.READ_LOGS, head.instance)
    record_reading(head.instance, actor=request.user, what=f"reads the logs of {head.instance}")
    form = LogForm(request.GET)
    store = logs.store_of(head.instance)
    query = form.query()
    kept = store is not None and "kept" in query
    return _page(
        request,
        head,
        "logs",
        tail=_tail(head.instance, form),
        log_form=form,
        log_query=urlencode(query),
        is_narrowed=bool(set(query) - {"kept"}),
        store=store,
        kept=kept,
        other_url=f"?{urlencode({k: v for k, v in query.items() if k != 'kept'} | ({} if kept else {'kept': '1'}))}",
        tenants=served_by(request.user, head.instance).placements,
    )


def _tail(found: Instance, form: LogForm, after: str = "") -> logs.Tail:
    """Lines from where the form says."""
    store = logs.store_of(found) if "kept" in form.query() else None
    if store is None:
        return logs.tail(found, after=after, wanted=form.wanted())
    return logs.stored(store, found, after=after, wanted=form.wanted())


@needs("read_logs")
def instance_logs(request: HttpRequest, pk: int) -> HttpResponse:
    """Lines since the cursor `after`, as JSON: the poll of a page that is open."""
    found = _visible_instance(request, pk)
    require(request.user, Permission.READ_LOGS, found)
    return JsonResponse(logs.as_json(_tail(found, LogForm(request.GET), request.GET.get("after", "")[:500])))


@needs("view")
def instance_operations(request: HttpRequest, pk: int) -> HttpResponse:
    """The operations on it, newest first."""
    head = instance_head(request.user, pk)
    rows = operations_on(request.user, head.instance)[:ALL_OPERATIONS]
    return _page(request, head, "operations", operations=[line_of(operation) for operation in rows])


@needs("view")
def instance_timeline(request: HttpRequest, pk: int) -> HttpResponse:
    """What happened to it, newest first."""
    head = instance_head(request.user, pk)
    return _page(request, head, "timeline", events=timeline(request.user, limit=ALL_EVENTS, instance_id=pk))


@needs("diagnose")
def instance_diagnostics(request: HttpRequest, pk: int) -> HttpResponse:
    """The bundles collected from it."""
    head = instance_head(request.user, pk)
    require(request.user, Permission.DIAGNOSE, head.instance)
    return _page(request, head, "diagnostics", bundles=bundles(request.user, head.instance))


@needs("diagnose")
def diagnostics(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """A bundle as .zip or .txt; that it was taken is recorded."""
    bundle = get_object_or_404(visible(request.user, Diagnostics.objects.select_related("instance")), pk=pk)
    require(request.user, Permission.DIAGNOSE, bundle.instance)
    record_reading(bundle, actor=request.user, what=f"downloads {bundle}")
    data, content_type = (
        (as_zip(bundle), "application/zip")
        if kind == "zip"
        else (as_text(bundle), "text/plain; charset=utf-8")
    )
    name = get_valid_filename(f"{bundle.instance.name}-diagnostics-{bundle.operation_id}.{kind}")
    return HttpResponse(
        data, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _visible_instance(request: HttpRequest, pk: int) -> Instance:
    return get_object_or_404(visible(request.user, Instance.objects.select_related("cell__region")), pk=pk)
