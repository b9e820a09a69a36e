"""Open incidents, told on the pages of what they are about: the fleet's and the tenants' slots."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db.models import Case, IntegerField, QuerySet, When
from django.urls import reverse

from apps.access.scoped import Reader, scoped
from apps.access.scoping import visible
from apps.core.choices import Tone
from apps.core.compiled import compiled, one_of
from apps.core.slots import Notice
from apps.fleet import notices as of_fleet
from apps.fleet.models import Placement
from apps.tenants import panels

from .choices import OPEN_INCIDENT, RANK, AlertState, EscalationState, Severity
from .models import Alert, Incident

#: Lines on one page; the list of incidents has all.
SHOWN = 4
TONES = {Severity.CRITICAL: Tone.BAD, Severity.WARNING: Tone.WARN, Severity.INFO: Tone.BUSY}
COLUMNS = ("pk", "title", "severity", "acknowledged_by__username", "opened_at", "escalation__state")


def register() -> None:
    """Fill the slots; called from registers.py."""
    of_fleet.of_instances.register(on_instances)
    of_fleet.register_now(going_on)
    of_fleet.register_marks(marks)
    panels.notices.register(on_tenants)


def notice(
    pk: int, title: str, severity: str, by: str | None, since: datetime, telling: str | None = None
) -> Notice:
    """An open incident in one line."""
    note = f"acknowledged by {by}" if by else "not acknowledged yet"
    if telling == EscalationState.NOBODY:
        note = "not acknowledged yet, and nobody is told: no escalation policy fits it"
    return Notice(title, reverse("alerts:incident", args=[pk]), TONES[Severity(severity)], note, since)


def going_on(user: Any) -> list[Notice]:
    """The worst and newest open incidents that `user` sees. One query."""
    return [notice(*row) for row in _worst(user)]


@scoped
def _worst(reader: Reader) -> QuerySet[Incident, Any]:
    rank = Case(*[When(severity=s, then=n) for s, n in RANK.items()], output_field=IntegerField())
    rows = visible(reader, Incident.objects.filter(state__in=OPEN_INCIDENT)).order_by(rank, "-id")
    return rows.values_list(*COLUMNS)[:SHOWN]


def on_instances(user: Any, ids: Collection[int]) -> dict[int, list[Notice]]:
    """By instance, the open incidents with an open alert on it. Two queries, one while all is well."""
    if not _any_on_instances(ids=list(ids)):
        return {}
    return _by_key(_about_instances(user, ids=list(ids)))


@compiled
def _any_on_instances(*, ids: Any) -> QuerySet[Alert, Any]:
    """Whether there is any such alert, whoever reads: to narrow them costs many times more, and mostly there is none."""
    return _open().filter(instance_id=one_of(ids)).values_list("pk")[:1]


@scoped
def _about_instances(reader: Reader, *, ids: Any) -> QuerySet[Alert, Any]:
    rows = _open_alerts(reader).filter(instance_id=one_of(ids))
    return rows.values_list("instance_id", *(f"incident__{name}" for name in COLUMNS)).distinct()


def marks(user: Any, instance_id: int, since: datetime) -> list[of_fleet.Mark]:
    """When alerts on an instance opened, each with its incident. One query."""
    rows = visible(user, Alert).filter(instance_id=instance_id, opened_at__gte=since, incident__isnull=False)
    found = rows.order_by("-opened_at").values_list("opened_at", "name", "incident_id")[:30]
    return [(at, f"Incident: {name}", reverse("alerts:incident", args=[pk])) for at, name, pk in found]


def on_tenants(user: Any, ids: Collection[int]) -> dict[int, list[Notice]]:
    """By tenant, the open incidents with an open alert about it, or on what serves it and about no other.

    Two queries, one while all is well.
    """
    if not _any_on_tenants(ids=list(ids)):
        return {}
    return _by_key(_about_tenants(user, ids=list(ids)))


@compiled
def _any_on_tenants(*, ids: Any) -> QuerySet[Alert, Any]:
    served = Placement.objects.filter(tenant_id=one_of(ids)).order_by().values("instance_id")
    about_all = _open().filter(tenant__isnull=True, instance_id__in=served).values_list("pk")
    return about_all.union(_open().filter(tenant_id=one_of(ids)).values_list("pk"), all=True)[:1]


@scoped
def _about_tenants(reader: Reader, *, ids: Any) -> QuerySet[Alert, Any]:
    columns = tuple(f"incident__{name}" for name in COLUMNS)
    alerts = _open_alerts(reader)
    served = visible(reader, Placement).filter(tenant_id=one_of(ids)).order_by()
    about_all = alerts.filter(tenant__isnull=True, instance__placements__in=served)
    rows = about_all.values_list("instance__placements__tenant_id", *columns)
    return rows.union(alerts.filter(tenant_id=one_of(ids)).values_list("tenant_id", *columns))


def _open_alerts(reader: Reader) -> QuerySet[Alert]:
    return visible(reader, _open())


def _open() -> QuerySet[Alert]:
    return Alert.objects.filter(state=AlertState.OPEN, incident__state__in=OPEN_INCIDENT).order_by()


def _by_key(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Notice]]:
    found: dict[int, list[Notice]] = defaultdict(list)
    for key, *row in sorted(rows, key=lambda r: (RANK[Severity(r[3])], -r[1])):
        if len(found[key]) < SHOWN:
            found[key].append(notice(*row))
    return dict(found)
