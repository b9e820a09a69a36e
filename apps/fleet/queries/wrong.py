"""What is wrong now, in few lines: newest first, a cell's many as one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, F, IntegerField, Min, Q, QuerySet, When
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoped import Reader, scoped
from apps.access.scoping import scopes_of, visible
from apps.core.compiled import one_of
from apps.operations.choices import OPEN, State
from apps.operations.models import Operation
from apps.operations.queries import kind_label

from ..choices import WRONG, Health
from ..models import Instance, Placement
from .overview import Overview
from .overview_rows import Seen

#: The newest of what is wrong that are looked at; counts come from the tally and know all.
LOOKED_AT = 200
LINES = 8
#: More than this many in one cell are one line.
SINGLY = 3
SUSPECT_WITHIN = timedelta(hours=1)


@dataclass(slots=True)
class WrongLine:
    """One instance that is wrong, or the many of one cell."""

    instances: list[Seen]
    cell_id: int
    cell: str
    is_group: bool
    counts: Counter[str]
    total: int = 1
    tenants: int = 0
    tenant: str = ""
    suspect: Operation | None = None
    overlap: int = 0
    open_operation: Operation | None = None
    may_restart: bool = False
    ids: set[int] = field(default_factory=set)

    @property
    def first(self) -> Seen:
        return self.instances[0]

    @property
    def health(self) -> str:
        """The worst that is on the line."""
        return next((health for health in WRONG if self.counts[health]), Health.UNKNOWN)

    @property
    def since(self) -> datetime:
        """When the newest of them began."""
        return self.first.health_since

    @property
    def details(self) -> list[str]:
        """What the newest of them say, the most frequent first."""
        if not self.is_group:
            return []
        said = Counter(i.health_detail for i in self.instances if i.health_detail)
        return [detail for detail, _ in said.most_common(2)]

    @property
    def key(self) -> str:
        """Names the line among the others, from one refresh to the next."""
        return f"cell-{self.cell_id}" if self.is_group else str(self.first.pk)

    @property
    def title(self) -> str:
        """What is wrong, in one line."""
        if not self.is_group:
            return f"{self.first.name}: {self.first.health_detail or Health(self.health).label.lower()}"
        parts = [f"{self.counts[h]:,} {Health(h).label.lower()}" for h in WRONG if self.counts[h]]
        return f"{self.cell}: {', '.join(parts)} of {self.total:,}"

    @property
    def url(self) -> str:
        """The instance, or the list of the cell's wrong ones."""
        if not self.is_group:
            return reverse("fleet:instance", args=[self.first.pk])
        query = urlencode({"cell": self.cell, "health": "wrong"})
        return f"{reverse('fleet:instances')}?{query}"

    @property
    def suspect_words(self) -> str:
        """The last operation before it went wrong, and on how many of a cell's it was."""
        if self.suspect is None:
            return ""
        version = self.suspect.params.get("version", "")
        words = f"{kind_label(self.suspect.kind)} {version}".strip() + f" by {self.suspect.actor}"
        return f"{words}, on {self.overlap} of {len(self.instances)}" if self.is_group else words

    @property
    def open_words(self) -> str:
        """What is being done about it, or to it."""
        if self.open_operation is None:
            return ""
        runs = self.open_operation.state == State.RUNNING
        return f"{kind_label(self.open_operation.kind)} {'runs' if runs else 'waits'}"


def wrong_now(user: Any, page: Overview) -> list[WrongLine]:
    """Lines of what is wrong, newest first; at most LINES. Three queries at most, whatever the fleet's size."""
    if not page.wrong:
        return []
    lines = _grouped(page.newest_wrong[:LOOKED_AT], page)[:LINES]
    _add_tenants(user, lines)
    _add_operations(user, lines)
    _add_permission(user, lines)
    return lines


def _grouped(rows: Sequence[Seen], page: Overview) -> list[WrongLine]:
    wrong_in: dict[int, Counter[str]] = {}
    totals: Counter[int] = Counter()
    for tally in page.tallies:
        totals[tally.cell_id] += tally.number
        if tally.health in WRONG:
            wrong_in.setdefault(tally.cell_id, Counter())[tally.health] += tally.number
    lines: dict[tuple[str, int], WrongLine] = {}
    for row in rows:
        counts = wrong_in.get(row.cell_id, Counter())
        many = counts.total() > SINGLY
        key = ("cell", row.cell_id) if many else ("instance", row.pk)
        if key not in lines:
            cell = page.cells.get(row.cell_id)
            shown = counts if many else Counter({row.health: 1})
            lines[key] = WrongLine(
                [], row.cell_id, cell.name if cell else "", many, shown, totals[row.cell_id] if many else 1
            )
        lines[key].instances.append(row)
        lines[key].ids.add(row.pk)
    return list(lines.values())


def _add_tenants(user: Any, lines: Sequence[WrongLine]) -> None:
    """How many tenants each line's instances serve, and the name where it is one. One query."""
    groups = [line.cell_id for line in lines if line.is_group]
    singles = [line.first.pk for line in lines if not line.is_group]
    found = {
        key: (n, name)
        for key, n, name in _tenants(user, bool(groups), bool(singles), groups=groups, singles=singles)
    }
    for line in lines:
        line.tenants, name = found.get(-line.cell_id if line.is_group else line.first.pk, (0, ""))
        line.tenant = name if line.tenants == 1 else ""


@scoped
def _tenants(
    reader: Reader, has_groups: bool, has_singles: bool, *, groups: Any, singles: Any
) -> QuerySet[Placement, tuple[int, int, str]]:
    # Left out where there is none: a plan for both reads what neither needs.
    in_groups = Q(instance__cell_id=one_of(groups)) if has_groups else Q(pk__in=())
    alone = Q(instance_id=one_of(singles)) if has_singles else Q(pk__in=())
    # One key for both: an instance's id, or a cell's id below zero.
    key = Case(
        When(in_groups, then=-F("instance__cell_id")), default=F("instance_id"), output_field=IntegerField()
    )
    return (
        visible(reader, Placement)
        .filter(alone | in_groups & Q(instance__health__in=WRONG))
        .order_by()
        .annotate(key=key)
        .values_list("key")
        .annotate(n=Count("tenant_id", distinct=True), name=Min("tenant__name"))
    )


def _add_operations(user: Any, lines: Sequence[WrongLine]) -> None:
    """The last operation on each within the past hour: what may have done it, and what may be mending it. One query."""
    ids = [pk for line in lines for pk in line.ids]
    rows = _last_on(user, ids=ids, since=timezone.now() - SUSPECT_WITHIN)
    last = {operation.target_id: operation for operation in rows}
    for line in lines:
        found = [last[pk] for pk in line.ids if pk in last]
        line.open_operation = next((operation for operation in found if operation.is_open), None)
        ended = [operation for operation in found if not operation.is_open]
        if ended:
            ended.sort(key=lambda operation: -operation.pk)
            line.suspect = ended[0]
            line.overlap = sum(1 for operation in ended if _same(operation, ended[0]))


@scoped
def _last_on(reader: Reader, *, ids: Any, since: Any) -> QuerySet[Operation]:
    return (
        visible(reader, Operation)
        .filter(target_type="instance", target_id=one_of(ids), is_changing=True)
        .filter(Q(created_at__gte=since) | Q(state__in=OPEN))
        .select_related("actor")
        .order_by("target_id", "-id")
        .distinct("target_id")
    )


def _same(one: Operation, other: Operation) -> bool:
    """Whether two operations did the same, to whatever they did it."""
    return (one.kind, one.params) == (other.kind, other.params)


def _add_permission(user: Any, lines: Sequence[WrongLine]) -> None:
    """Which of the single ones the reader may restart. At most one query."""
    singles = [line.first.pk for line in lines if not line.is_group]
    if scopes_of(user, Permission.RESTART).covers(scopes_of(user, Permission.VIEW)):
        may = set(singles)
    else:
        may = set(_restartable(user, ids=singles)) if singles else set()
    for line in lines:
        line.may_restart = not line.is_group and line.first.pk in may


@scoped
def _restartable(reader: Reader, *, ids: Any) -> QuerySet[Instance, int]:
    rows = visible(reader, Instance.objects.filter(pk=one_of(ids)), Permission.RESTART)
    return rows.order_by().values_list("pk", flat=True)
