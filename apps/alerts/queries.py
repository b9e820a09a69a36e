"""What alerting's pages read. What is shown of an incident is what the reader sees of its parts."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import allowed, visible
from apps.core.enriching import EnrichedQuerySet
from apps.core.models import Event
from apps.fleet.models import Instance, Placement
from apps.fleet.queries import changes
from apps.operations.models import Operation
from apps.tenants.money import money

from .choices import OPEN_INCIDENT, AlertState, DecisionState
from .mending import mends
from .models import (
    Alert,
    AlertRule,
    CustomerNotice,
    Incident,
    IncidentNote,
    Page,
    RecoveryDecision,
    RecoveryPolicy,
    Runbook,
    RunbookRun,
    RunbookSchedule,
    Silence,
)
from .runbooks.reading import Malformed
from .runbooks.running import definition_of
from .suspects import Suspect, suspects

SHOWN_ALERTS = 50
SHOWN_TENANTS = 12
SHOWN_EVENTS = 100
SHOWN_CHANGES = 20


def listed_incidents(user: Any) -> QuerySet[Incident]:
    """The incidents `user` sees; how many alerts and tenants, for the rows of the page alone."""
    rows: EnrichedQuerySet[Incident] = EnrichedQuerySet(model=Incident).select_related("commander")
    return visible(user, rows.enriched_by(lambda found: _count(user, found)))


def _count(user: Any, rows: Sequence[Any]) -> None:
    """Set `alert_count`, `open_count`, `tenant_count` on incidents: of what `user` sees. Two queries."""
    ids = [row.pk for row in rows]
    alerts = visible(user, Alert).filter(incident_id__in=ids).order_by()
    counts = {
        pk: (n, still)
        for pk, n, still in alerts.values_list("incident_id").annotate(
            n=Count("pk"), still=Count("pk", filter=Q(state=AlertState.OPEN))
        )
    }
    placed = visible(user, Placement).filter(instance__alerts__in=alerts).order_by()
    tenants = dict(
        placed.values_list("instance__alerts__incident_id").annotate(n=Count("tenant_id", distinct=True))
    )
    for row in rows:
        row.alert_count, row.open_count = counts.get(row.pk, (0, 0))
        row.tenant_count = tenants.get(row.pk, 0)


def listed_alerts(user: Any) -> QuerySet[Alert]:
    """The alerts `user` sees, with what they are about."""
    return visible(user, Alert.objects.select_related("instance", "cell", "account", "incident", "silence"))


def silences(user: Any) -> list[Silence]:
    """The silences `user` sees, those that hold first; the last hundred."""
    rows = Silence.objects.select_related("instance", "cell", "account", "author").annotate(
        muted=Count("alerts", filter=Q(alerts__state=AlertState.OPEN))
    )
    return list(visible(user, rows).order_by("-ends_at")[:100])


# --- One incident --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AffectedTenant:
    """A tenant on an instance that has an alert in this incident, and what it pays a month."""

    pk: int
    name: str
    price: Decimal
    currency: str

    @property
    def revenue(self) -> str:
        """Its price in words, "" when it pays nothing."""
        return money(self.price, self.currency) if self.price else ""


@dataclass(slots=True)
class IncidentPage:
    """Everything on an incident's page."""

    incident: Incident
    may_act: bool
    alerts: list[Alert]
    alert_count: int
    open_count: int
    tenants: list[AffectedTenant]
    suspects: list[Suspect]
    decisions: list[RecoveryDecision]
    pages: list[Page]
    notes: list[IncidentNote]
    customer_notices: list[CustomerNotice]
    events: list[Event] = field(default_factory=list)

    @property
    def instances(self) -> list[Instance]:
        """Those that have the alerts shown, each once."""
        return list({a.instance_id: a.instance for a in self.alerts if a.instance is not None}.values())

    @property
    def shown_tenants(self) -> list[AffectedTenant]:
        """The ones that pay most."""
        return self.tenants[:SHOWN_TENANTS]

    @property
    def more_tenants(self) -> int:
        return max(0, len(self.tenants) - SHOWN_TENANTS)

    @property
    def more_alerts(self) -> int:
        return max(0, self.alert_count - len(self.alerts))

    @property
    def revenue(self) -> str:
        """What all of them pay a month, by currency."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for tenant in self.tenants:
            sums[tenant.currency] += tenant.price
        return " + ".join(money(amount, currency) for currency, amount in sorted(sums.items()) if amount)

    @property
    def duration(self) -> timedelta:
        """From its beginning to its end, or until now."""
        return (self.incident.resolved_at or timezone.now()) - self.incident.opened_at

    @property
    def token(self) -> str:
        """Differs whenever the live part would."""
        i = self.incident
        parts: list[Any] = [
            i.state,
            i.title,
            i.severity,
            i.commander_id,
            self.open_count,
            self.alert_count,
            self.may_act,
        ]
        parts += [(a.pk, a.state, a.summary, a.silence_id, a.inhibited_by_id) for a in self.alerts]
        parts += [(d.pk, d.state, d.operation_id) for d in self.decisions]
        parts += [(p.pk, p.state, p.tries, p.place) for p in self.pages]
        parts += [len(self.notes), len(self.customer_notices), len(self.tenants), [e.pk for e in self.events]]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def incident_page(user: Any, pk: int) -> IncidentPage:
    """An incident as `user` sees it; a dozen queries, whatever its size. Http404 for one out of scope."""
    found = visible(
        user, Incident.objects.select_related("commander", "acknowledged_by", "resolved_by", "escalation")
    )
    incident = get_object_or_404(found, pk=pk)
    mine = visible(user, Alert).filter(incident=incident)
    everything = list(mine.only("instance_id", "opened_at", "state").order_by("id")[:5_000])
    alerts = list(
        mine.select_related("instance__cell__region", "cell", "silence", "inhibited_by").order_by(
            "-state", "id"
        )[:SHOWN_ALERTS]
    )
    # Open ones first: “resolved” sorts after “open”.
    alerts.sort(key=lambda a: (a.state != AlertState.OPEN, a.is_muted, a.pk))
    decisions = list(
        visible(user, RecoveryDecision)
        .filter(incident=incident)
        .select_related("policy", "alert", "instance")
        .order_by("-id")[:SHOWN_ALERTS]
    )
    _attach(user, decisions)
    return IncidentPage(
        incident=incident,
        may_act=allowed(user, Permission.ACKNOWLEDGE, incident),
        alerts=alerts,
        alert_count=mine.count() if len(everything) == 5_000 else len(everything),
        open_count=sum(1 for a in everything if a.state == AlertState.OPEN),
        tenants=affected(user, {a.instance_id for a in everything if a.instance_id}),
        suspects=suspects(user, incident, everything),
        decisions=decisions,
        pages=list(
            Page.objects.filter(incident=incident)
            .select_related("recipient")
            .prefetch_related("deliveries__channel")
            .order_by("-id")[:20]
        ),
        notes=list(incident.notes.select_related("author")),
        customer_notices=list(incident.customer_notices.select_related("author")[:10]),
        events=timeline(user, incident, everything),
    )


def look_closer(user: Any, page: IncidentPage) -> dict[str, Any]:
    """What is only read when the page is drawn anew: what was changed in the hour before, and what mends each alert."""
    found = mends(user, page.alerts, page.suspects)
    for alert in page.alerts:
        alert.mends = found.get(alert.pk, [])  # type: ignore[attr-defined]
    around = changes.around(page.instances)
    return {"changes": changes.before(user, around, page.incident.opened_at)[:SHOWN_CHANGES]}


def affected(user: Any, instance_ids: set[int]) -> list[AffectedTenant]:
    """The tenants on these instances that `user` sees, with what they pay a month, those that pay most first; one query."""
    rows = (
        visible(user, Placement)
        .filter(instance_id__in=instance_ids)
        .order_by()
        .filter(Q(tenant__subscriptions__isnull=True) | Q(tenant__subscriptions__ends_on__isnull=True))
        .values_list(
            "tenant_id",
            "tenant__name",
            "tenant__subscriptions__monthly_price",
            "tenant__subscriptions__currency",
        )
        .distinct()
    )
    found = {
        pk: AffectedTenant(pk, name, price or Decimal(0), currency or "EUR")
        for pk, name, price, currency in rows
    }
    return sorted(found.values(), key=lambda t: (-t.price, t.name))


#: An incident's timeline tells what happened to its instances from so long before it on.
BEFORE = timedelta(minutes=15)


def oldest_open_since() -> datetime | None:
    """From when on the timelines of the incidents that go on tell; None where none does."""
    since = Incident.objects.filter(state__in=OPEN_INCIDENT).aggregate(since=Min("opened_at"))["since"]
    return since - BEFORE if since else None


def timeline(
    user: Any, incident: Incident, alerts: Sequence[Alert], limit: int = SHOWN_EVENTS
) -> list[Event]:
    """The incident's own events, and what happened to its instances around it, of what `user` sees; newest first."""
    until = (incident.resolved_at or timezone.now()) + timedelta(minutes=5)
    since = incident.opened_at - BEFORE
    own = incident.own_events.values("event_id")
    nowhere = Q(instance_id=None, cell_id=None, account_id=None, tenant_id=None)
    seen = visible(user, Event.objects.order_by())
    ids = list({a.instance_id for a in alerts if a.instance_id})[:500]
    told = Event.objects.filter(nowhere, pk__in=own, at__range=(since, until)).order_by()
    mine = seen.filter(pk__in=own, at__range=(since, until))
    around = seen.filter(instance_id__in=ids, at__range=(since, until)).exclude(kind__startswith="incident.")
    found: dict[int, Event] = {}
    for rows in (told, mine, around):
        found |= {e.pk: e for e in rows.order_by("-at", "-id").select_related("actor")[:limit]}
    return sorted(found.values(), key=lambda e: (e.at, e.pk), reverse=True)[:limit]


# --- Recovery ------------------------------------------------------------------------------------


def policies(user: Any) -> list[RecoveryPolicy]:
    """The recovery policies `user` sees, with how their answers of the last 30 days came out."""
    since = timezone.now() - timedelta(days=30)
    lately = Q(decisions__at__gte=since)
    rows = RecoveryPolicy.objects.select_related("account", "cell").annotate(
        acted=Count("decisions", filter=lately & Q(decisions__verdict="act")),
        helped=Count("decisions", filter=lately & Q(decisions__state="helped")),
        held=Count("decisions", filter=lately & Q(decisions__verdict="held")),
    )
    return list(visible(user, rows).order_by("rank", "name"))


def decisions(user: Any, policy: RecoveryPolicy | None = None, limit: int = 50) -> list[RecoveryDecision]:
    """The latest decisions that `user` sees, of one policy or of all."""
    rows = visible(user, RecoveryDecision).select_related("policy", "alert", "instance", "incident")
    if policy is not None:
        rows = rows.filter(policy=policy)
    found = list(rows.order_by("-id")[:limit])
    _attach(user, found)
    return found


def _attach(user: Any, decisions: Sequence[Any]) -> None:
    """Set `operation` and `run` on decisions, where `user` sees them, and whether they may approve; three queries at most."""
    operations = visible(user, Operation).in_bulk([d.operation_id for d in decisions if d.operation_id])
    ran = [d.run_id for d in decisions if d.run_id]
    runs = visible(user, RunbookRun).in_bulk(ran) if ran else {}
    waiting = [d.instance_id for d in decisions if d.state == DecisionState.WAITING]
    may: set[int] = set()
    if waiting:
        rows = visible(user, Instance.objects.filter(pk__in=waiting), Permission.APPROVE)
        may = set(rows.order_by().values_list("pk", flat=True))
    for decision in decisions:
        decision.operation = operations.get(decision.operation_id or 0)
        decision.run = runs.get(decision.run_id or 0)
        decision.may_approve = decision.instance_id in may and decision.state == DecisionState.WAITING


def listed_rules(user: Any) -> QuerySet[AlertRule]:
    """The rules `user` sees; how many alerts of each are open that they see, for the rows of the page alone."""
    rows: EnrichedQuerySet[AlertRule] = EnrichedQuerySet(model=AlertRule).select_related("account", "cell")

    def add(found: Sequence[Any]) -> None:
        mine = visible(user, Alert).filter(
            source_name="rules", state=AlertState.OPEN, labels__rule__in=[str(r.pk) for r in found]
        )
        counts = dict(mine.order_by().values_list("labels__rule").annotate(n=Count("pk")))
        for row in found:
            row.open_count = counts.get(str(row.pk), 0)

    return visible(user, rows.enriched_by(add))


# --- Runbooks ------------------------------------------------------------------------------------


def listed_runbooks(user: Any) -> QuerySet[Runbook]:
    """The catalogue is the same for everybody; of the runs, the last that `user` sees, for the rows of the page alone."""
    rows: EnrichedQuerySet[Runbook] = EnrichedQuerySet(model=Runbook)

    def add(found: Sequence[Any]) -> None:
        mine = visible(user, RunbookRun).filter(version__runbook__in=[r.pk for r in found])
        last = dict(mine.order_by().values_list("version__runbook").annotate(at=Max("started_at")))
        for row in found:
            row.last_run = last.get(row.pk)

    return rows.enriched_by(add)


def runs(user: Any, runbook: Runbook, limit: int = 30) -> list[RunbookRun]:
    """The latest runs of a runbook that `user` sees."""
    rows = RunbookRun.objects.filter(version__runbook=runbook).select_related("instance", "actor", "version")
    return list(visible(user, rows).order_by("-id")[:limit])


def runbook_schedules(user: Any, limit: int = 200) -> list[RunbookSchedule]:
    """The schedules of runbooks on instances that `user` sees, by name. One query."""
    rows = RunbookSchedule.objects.select_related("runbook", "instance", "owner")
    return list(visible(user, rows).order_by("name")[:limit])


def run_page(user: Any, run: RunbookRun) -> dict[str, Any]:
    """Everything on a run's page."""
    steps: list[Any] = list(run.steps.order_by("number"))
    operations = visible(user, Operation).in_bulk([s.operation_id for s in steps if s.operation_id])
    try:
        words = [s.said_with(run.inputs) for s in definition_of(run.version).steps]
    except Malformed:
        words = []
    for step in steps:
        step.operation = operations.get(step.operation_id or 0)
        step.words = words[step.number - 1] if step.number <= len(words) else ""
    runbook = run.version.runbook
    trail = [
        ("Runbooks", reverse("alerts:runbooks")),
        (str(runbook), reverse("alerts:runbook", args=[runbook.pk])),
        (f"Run {run.pk}", ""),
    ]
    may = allowed(user, Permission.RESTART, run.instance)
    return {
        "run": run,
        "runbook": runbook,
        "steps": steps,
        "trail": trail,
        "may_cancel": may and run.finished_at is None,
    }
