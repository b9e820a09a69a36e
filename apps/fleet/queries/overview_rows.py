"""What the first page reads, each a statement that is compiled once for a set of scopes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import (
    Case,
    Count,
    FilteredRelation,
    FloatField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Extract

from apps.access.scoped import Reader, scoped
from apps.access.scoping import visible
from apps.core.compiled import one_of
from apps.core.models import Event
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.tenants.models import Tenant

from ..choices import WRONG, Health, ProviderName
from ..models import Cell, Instance, Placement

#: Health in which an instance's tenants are not served as they should be.
AFFECTING = (Health.FAILING, Health.DEGRADED)


class CellLine(NamedTuple):
    """What is read of a cell: where it is, whether the reader may open it, when a probe last looked at it."""

    pk: int
    name: str
    provider: str
    locked_reason: str
    region: str
    account_id: int
    account: str
    cloud: str
    is_seen: bool
    looked_at: datetime | None


class Seen(NamedTuple):
    """What is read of an instance on the board: enough to say what is wrong with it, too."""

    pk: int
    name: str
    cell_id: int
    version: str
    health: str
    health_detail: str
    since: float  # seconds of the epoch: hundreds are read, and of a few the moment is shown

    @property
    def health_since(self) -> datetime:
        return datetime.fromtimestamp(self.since, UTC)


@scoped
def counts(reader: Reader) -> QuerySet[Instance, tuple[int, str, str, int]]:
    columns = ("cell_id", "health", "version")
    return visible(reader, Instance).order_by(*columns).values_list(*columns).annotate(number=Count("*"))


@scoped
def cells(reader: Reader, *, held: Any) -> QuerySet[Cell, Any]:
    seen = visible(reader, Cell).order_by()
    some = visible(reader, Instance).filter(cell=OuterRef("pk")).order_by()
    return (
        Cell.objects.filter(Q(pk=one_of(held)) | Q(pk__in=seen.values("pk")))
        .annotate(
            # As a set that is made once, not a look for each cell.
            is_seen=Q(pk__in=seen.values("pk")),
            # Of simulated cells nothing is told by it.
            looked_at=Case(
                When(~Q(provider=ProviderName.SIMULATED), then=Subquery(some.values("observed_at")[:1]))
            ),
        )
        .order_by("name")
        .values_list(
            "pk",
            "name",
            "provider",
            "locked_reason",
            "region__code",
            "region__account_id",
            "region__account__name",
            "region__account__cloud",
            "is_seen",
            "looked_at",
        )
    )


@scoped
def work(reader: Reader, *, since: Any) -> QuerySet[Operation, tuple[int, int, int, list[int] | None]]:
    running = Q(state=State.RUNNING)
    waiting = Q(state__in=(State.PENDING, State.AWAITING_APPROVAL))
    failed = Q(state=State.FAILED, finished_at__gte=since)
    return (
        visible(reader, Operation)
        .filter(running | waiting | failed)
        .order_by()
        .values(all=Value(1))  # one row over all of them
        .annotate(
            running=Count("pk", filter=running),
            waiting=Count("pk", filter=waiting),
            failed=Count("pk", filter=failed),
            changing=ArrayAgg("target_id", filter=running & Q(is_changing=True, target_type="instance")),
        )
        .values_list("running", "waiting", "failed", "changing")
    )


@scoped
def affected(reader: Reader) -> QuerySet[Tenant, tuple[str | None, int, Decimal | None]]:
    hit = visible(reader, Placement).filter(instance__health__in=AFFECTING).order_by().values("tenant_id")
    return (
        Tenant.objects.filter(pk__in=hit)
        .order_by()
        .annotate(bought=FilteredRelation("subscriptions", condition=Q(subscriptions__ends_on__isnull=True)))
        .values_list("bought__currency")
        .annotate(n=Count("pk", distinct=True), money=Sum("bought__monthly_price"))
    )


@scoped
def events(reader: Reader, limit: int, *, since: Any) -> QuerySet[Event]:
    rows = visible(reader, Event).filter(at__gte=since).order_by("-at", "-id")
    return rows.select_related("actor")[:limit]


@scoped
def drawn(reader: Reader, newest_wrong: int | None) -> QuerySet[Instance, Any]:
    since = Cast(Extract("health_since", "epoch"), FloatField())
    rows = visible(reader, Instance).annotate(since=since).values_list(*Seen._fields)
    if newest_wrong is None:
        return rows
    return rows.filter(health__in=WRONG).order_by("-health_since")[:newest_wrong]
