"""What the charts of an instance and of a tenant show: its figures, what they are compared with, what happened meanwhile."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from apps.access.scoping import visible
from apps.operations import kinds
from apps.operations.models import Operation

from .. import charting, notices
from ..charting import CHARTS, WEEK, Figures, Point, Span, Spread
from ..models import Instance, Placement
from ..query_api import Unanswered
from .metrics import MAX_POINTS, RANGES, Kept

#: What a chart can be compared with.
CELL, LAST_WEEK = "cell", "week"
COMPARED = {CELL: "the others in its cell", LAST_WEEK: "last week"}
#: Others of the cell that are looked at, and a tenant's instances that are drawn.
OTHERS, DRAWN = 30, 5
MARKS = 30
KEPT = Kept()
T = TypeVar("T")


@dataclass(slots=True)
class Asked:
    """One chart's figures, from where they are kept; from the coarse history when that is away, which `note` tells."""

    source: Figures | None
    note: str = ""
    words: str = field(init=False)

    def __post_init__(self) -> None:
        self.words = (self.source or KEPT).words

    def get(self, ask: Callable[[Figures], T]) -> T:
        """What `ask` finds."""
        if self.source is not None:
            try:
                return ask(self.source)
            except Unanswered as why:
                self.note = f"{why} The portal's own coarse history stands in."
                self.source = None
        return ask(KEPT)


def span_of(name: str) -> Span:
    """A range by its name, ending now."""
    until, minutes = timezone.now(), RANGES[name]
    length = timedelta(minutes=minutes)
    return Span(until - length, until, length / MAX_POINTS)


def chart_data(
    user: Any, instance: Instance, span: str, only: str = "", compared: Collection[str] = ()
) -> dict[str, Any]:
    """One chart of a range (or all) as the page's script takes it; times are UNIX seconds."""
    range_ = span_of(span)
    asked = Asked(charting.elsewhere(instance))
    others = others_in_cell(user, instance) if CELL in compared else []
    drawn: list[dict[str, Any]] = []
    for name, label, unit in CHARTS:
        if only in ("", name):
            drawn += _compared(asked, instance, others, name, label, unit, range_, LAST_WEEK in compared)
    return {
        "series": drawn,
        "marks": marks(user, [instance.pk], range_.since),
        "note": asked.note,
        "from": asked.words,
    }


def _compared(
    asked: Asked, instance: Instance, others: Sequence[Instance], name: str, label: str, unit: str, span: Span, week: bool
) -> list[dict[str, Any]]:  # fmt: skip
    own = _line(asked, instance, name, span)
    drawn = [{"label": label, "unit": unit, "points": [_point(*p) for p in own]}]
    if others:
        spread = asked.get(lambda source: source.spread(others, name, span))
        drawn += _band(spread, unit, len(others))
    if week:
        past = _line(asked, instance, name, span.before(WEEK))
        points = [_point(at + WEEK, value) for at, value in past]
        drawn.append({"label": "last week", "unit": unit, "kind": "past", "points": points})
    return drawn


def _band(spread: Sequence[Spread], unit: str, count: int) -> list[dict[str, Any]]:
    """Half of the others lie between low and high."""
    low = [_point(at, value) for at, value, _, _ in spread]
    middle = [_point(at, value) for at, _, value, _ in spread]
    high = [_point(at, value) for at, _, _, value in spread]
    return [
        {"label": f"a quarter of {count} others below", "unit": unit, "kind": "low", "points": low},
        {"label": "median of the others", "unit": unit, "kind": "median", "points": middle},
        {"label": "a quarter above", "unit": unit, "kind": "high", "points": high},
    ]


def others_in_cell(user: Any, instance: Instance) -> list[Instance]:
    """Other instances of its cell that `user` sees and that are to run, those nearest by number first. One query."""
    rows = visible(user, Instance.objects.filter(cell_id=instance.cell_id, wanted="running")).order_by()
    near = rows.exclude(pk=instance.pk).select_related("cell__region")
    after = near.filter(pk__gt=instance.pk).order_by("pk")[:OTHERS]
    found = list(after)
    if len(found) < OTHERS:
        found += near.filter(pk__lt=instance.pk).order_by("-pk")[: OTHERS - len(found)]
    return found


def tenants_instances(user: Any, tenant_id: int) -> list[Instance]:
    """The instances of a tenant that `user` sees, the longest placed first. One query."""
    rows = (
        visible(user, Placement)
        .filter(tenant_id=tenant_id)
        .select_related("instance__cell__region", "tenant")
    )
    return [placement.instance for placement in rows.order_by("since", "pk")[:DRAWN]]


def tenant_data(
    user: Any, instances: Sequence[Instance], key: str, span: str, only: str = "", compared: Collection[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """A tenant's charts: a line for each instance that serves it, its own requests alone where they can be told apart."""
    range_ = span_of(span)
    drawn: list[dict[str, Any]] = []
    asked = {one.pk: Asked(charting.elsewhere(one)) for one in instances}
    for name, label, unit in CHARTS:
        if only not in ("", name):
            continue
        for one in instances:
            said = one.name if len(instances) > 1 else label
            points = _line(asked[one.pk], one, name, range_, key)
            drawn.append({"label": said, "unit": unit, "points": [_point(*p) for p in points]})
            if LAST_WEEK in compared:
                past = _line(asked[one.pk], one, name, range_.before(WEEK), key)
                shifted = [_point(at + WEEK, value) for at, value in past]
                drawn.append({"label": f"{said}, last week", "unit": unit, "kind": "past", "points": shifted})
    return {
        "series": drawn,
        "marks": marks(user, [i.pk for i in instances], range_.since),
        "note": " ".join(dict.fromkeys(a.note for a in asked.values() if a.note)),
    }


def _line(asked: Asked, instance: Instance, figure: str, span: Span, tenant: str = "") -> list[Point]:
    return asked.get(lambda source: source.lines([instance], figure, span, tenant)).get(instance.pk, [])


def marks(user: Any, instance_ids: Sequence[int], since: datetime) -> list[dict[str, Any]]:
    """What is drawn on the charts: operations that began, and what floors above tell (incidents)."""
    found = [
        (at, label, reverse("operations:operation", args=[pk]))
        for at, label, pk in _operations(user, instance_ids, since)
    ]
    for pk in instance_ids:
        found += notices.marks(user, pk, since)
    return [{"t": at.timestamp(), "label": label, "url": url} for at, label, url in found]


def _operations(user: Any, instance_ids: Sequence[int], since: datetime) -> list[tuple[datetime, str, int]]:
    rows = (
        visible(user, Operation)
        .filter(Q(target_type="instance", target_id__in=list(instance_ids), is_changing=True), started_at__gte=since)
        .order_by("-id")
        .values_list("started_at", "kind", "params__version", "pk", "target_label")[:MARKS]
    )  # fmt: skip
    labels = {kind.name: kind.label for kind in kinds.kinds("instance")}
    many = len(instance_ids) > 1
    return [
        (
            at,
            " ".join(filter(None, (labels.get(kind, kind), version or "", f"on {where}" if many else ""))),
            pk,
        )
        for at, kind, version, pk, where in rows
        if at is not None
    ]


def _point(at: datetime, value: float | None) -> list[float | None]:
    return [round(at.timestamp(), 1), None if value is None else round(value, 3)]
