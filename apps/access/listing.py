"""A list is always the same list: search, filters in the URL, order, pages, saved views, CSV."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django_filters import FilterSet
from django_tables2 import Table

from apps.core.answers import answer
from apps.core.context import acting, marks
from apps.core.models import SavedView
from apps.core.paging import EstimatingPaginator

from .choices import Permission
from .scoping import holds, visible

PER_PAGE = (25, 50, 100, 200)
#: A number below 0, a share: not a formula, though it begins as one.
FIGURE = re.compile(r"[-+]?\d[\d.,]{0,40} ?%?")
#: Query keys that are not filters.
OWN_KEYS = ("page", "per_page", "sort", "_export")


def render_list(
    request: HttpRequest,
    *,
    page: str,
    title: str,
    queryset: QuerySet[Any],
    table_class: type[Table],
    filter_class: type[FilterSet],
    context: dict[str, Any] | None = None,
    template: str = "list.html",
) -> HttpResponse:
    """Render the list named `page` (its URL name) over `queryset`, which must come from `visible`.

    Answers the whole page, its part `#results` to an HTMX request, or the CSV for `?_export=csv`.
    A bad filter value shows its error beside the field, and no rows.
    """
    filterset = filter_class(request.GET, queryset=queryset, request=request)
    rows = filterset.qs if filterset.is_valid() else queryset.none()
    if request.GET.get("_export") == "csv":
        # Django types the streamed response beside HttpResponse; a view may return either.
        return cast(HttpResponse, _export(request, page, rows, table_class))
    # The request comes after: given at once, django-tables2 would page by itself, which counts every row.
    table = table_class(rows, order_by=request.GET.getlist("sort") or None)
    table.request = request
    table.paginator = EstimatingPaginator(table.rows, _per_page(request))
    table.page = table.paginator.get_page(_whole(request.GET.get("page"), 1))
    full = {
        "page_name": page,
        "title": title,
        "table": table,
        "filter": filterset,
        "chips": _chips(filterset),
        "saved_views": SavedView.objects.filter(Q(owner_id=request.user.pk) | Q(is_shared=True), page=page),
        "query": request.GET.urlencode(),
        "total": table.paginator.count,
        "may_export": holds(request.user, Permission.EXPORT),
        **(context or {}),
    }
    return answer(request, template, "results", full)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 8 else default


def _per_page(request: HttpRequest) -> int:
    wanted = _whole(request.GET.get("per_page"), 50)
    return wanted if wanted in PER_PAGE else 50


def _chips(filterset: FilterSet) -> list[dict[str, str]]:
    """The active filters in words: name, label, value."""
    chips = []
    for name, field in filterset.form.fields.items():
        values = [value for value in filterset.form.data.getlist(name) if value]
        if values:
            choices = getattr(field, "choices", None)
            words = {} if choices is None else dict(choices)
            shown = ", ".join(str(words.get(value, value)) for value in values)
            chips.append({"name": name, "label": str(field.label or name), "value": shown})
    return chips


class _Echo:
    """A file that gives back what is written to it, for csv.writer to stream through."""

    def write(self, value: str) -> str:
        return value


def safe_cell(value: Any) -> str:
    """A value that no spreadsheet takes for a formula (a tenant's name may begin with `=`); a figure stays a figure."""
    text = "" if value is None else str(value)
    is_risky = text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not FIGURE.fullmatch(text)
    return f"'{text}" if is_risky else text


def _export(
    request: HttpRequest, page: str, rows: QuerySet[Any], table_class: type[Table]
) -> StreamingHttpResponse:
    """All rows of the list as CSV, streamed; only those on which the reader holds Export. The export is audited."""
    if not holds(request.user, Permission.EXPORT):
        raise PermissionDenied("You need the permission “Export lists”; ask whoever manages access.")
    table = table_class(
        visible(request.user, rows, Permission.EXPORT), order_by=request.GET.getlist("sort") or None
    )
    record_export(request, page, rows.model)
    name = f"{page.replace(':', '-')}-{timezone.now():%Y%m%d-%H%M}.csv"
    writer = csv.writer(_Echo())
    values: Iterable[list[Any]] = table.as_values(exclude_columns=("select", "actions"))
    lines: Iterator[str] = (writer.writerow([safe_cell(cell) for cell in row]) for row in values)
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def record_export(request: HttpRequest, page: str, model: type[Model], form: str = "CSV") -> None:
    """Have the trail say who took which rows of `model` out of the portal."""
    from auditlog import get_logentry_model

    entry = get_logentry_model()
    query = request.GET.urlencode()
    with transaction.atomic(durable=True), acting(request.user, reason=f"exports {page} as {form}"):
        entry(
            content_type=ContentType.objects.get_for_model(model),
            object_pk="",
            object_repr=f"export of {page}?{query}"[:500],
            action=entry.Action.ACCESS,
            event="export",
            changes={},
            additional_data=marks(),
        ).save()
