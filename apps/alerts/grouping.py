"""Which alerts have one cause, and how an incident moves with its alerts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.releases.models import Rollout, RolloutTarget

from . import escalation
from .choices import JUMP, OPEN_INCIDENT, RANK, AlertState, IncidentState, Severity, worst
from .models import Alert, Incident
from .telling import of_incident, tell

#: From so many cells of an account on, the account is the cause rather than each cell.
CELLS_OF_AN_ACCOUNT = 3
#: A version counts as a cause when it was deployed within this time.
DEPLOYED_WITHIN = timedelta(hours=1)
#: Labels that name what an alert's cause is, the first that is there.
DEPENDENCY = ("daytwo_dependency", "dependency")
#: What began long before it was heard of is told on the timeline so long before its incident, and no earlier.
EARLIEST = timedelta(minutes=10)
#: Alerts that an incident's timeline names one by one at a time; more are told as a number.
NAMED = 5


def join(alerts: Sequence[Alert]) -> None:
    """Put alerts that just opened into incidents: one that is open and has the same cause lately, or a new one."""
    going_on = set(
        Incident.objects.filter(
            pk__in={a.incident_id for a in alerts if a.incident_id}, state__in=OPEN_INCIDENT
        ).values_list("pk", flat=True)
    )
    alerts = [a for a in alerts if a.incident_id not in going_on]
    if not alerts:
        return
    since = timezone.now() - timedelta(seconds=settings.ALERTS_GROUP_SECONDS)
    deployed, wide = _deployed(alerts), _wide_accounts(alerts, since)
    open_rows = list(Incident.objects.filter(state__in=OPEN_INCIDENT).order_by("id"))
    recent = {i.cause_key: i for i in open_rows if i.last_joined_at >= since}
    by_instance = dict(
        Alert.objects.filter(
            instance_id__in={a.instance_id for a in alerts if a.instance_id},
            incident__state__in=OPEN_INCIDENT,
        )
        .order_by("id")
        .values_list("instance_id", "incident_id")
    )
    known = {i.pk: i for i in open_rows}
    joined: dict[int, list[Alert]] = {}
    for alert in alerts:
        key = cause_of(alert, deployed, wide)
        incident = known.get(by_instance.get(alert.instance_id or 0, 0)) or recent.get(key)
        if incident is None:
            incident = recent[key] = _open(alert, key)
            known[incident.pk] = incident
        joined.setdefault(incident.pk, []).append(alert)
        alert.incident = incident
    for pk, mine in joined.items():
        Alert.objects.filter(pk__in=[a.pk for a in mine]).update(incident_id=pk)
        _tell_joined(known[pk], mine)
    Incident.objects.filter(pk__in=list(joined)).unrecorded_update(
        last_joined_at=timezone.now(), quiet_since=None
    )


def cause_of(alert: Alert, deployed: dict[int, str], wide: set[int]) -> str:
    """The cause to group by: a dependency that the alert names, the rollout or version just deployed, an account of
    which several cells have alerts, the cell, the name.
    """
    if dependency := next((alert.labels[name] for name in DEPENDENCY if alert.labels.get(name)), ""):
        return f"dependency:{dependency}"[:120]
    if alert.instance_id and (cause := deployed.get(alert.instance_id)):
        return cause
    if alert.account_id in wide:
        return f"account:{alert.account_id}"
    if alert.cell_id:
        return f"cell:{alert.cell_id}"
    if alert.account_id:
        return f"account:{alert.account_id}"
    return f"name:{alert.source_name}:{alert.name}"[:120]


def _deployed(alerts: Sequence[Alert]) -> dict[int, str]:
    """By instance, what a deploy within the last hour belonged to: `rollout:<id>`, or `version:<it>` for one by hand."""
    rows = Operation.objects.filter(
        target_type="instance", target_id__in={a.instance_id for a in alerts if a.instance_id}, kind="deploy",
        created_at__gte=timezone.now() - DEPLOYED_WITHIN, started_at__isnull=False,
    ).exclude(state=State.CANCELLED)  # fmt: skip
    found = list(rows.order_by("id").values_list("pk", "target_id", "params__version"))
    moved = RolloutTarget.objects.filter(operation_id__in=[pk for pk, _, _ in found])
    rollouts = dict(moved.values_list("operation_id", "rollout_id")) if found else {}
    return {
        target: f"rollout:{rollouts[pk]}" if pk in rollouts else f"version:{version or ''}"
        for pk, target, version in found
    }


def _wide_accounts(alerts: Sequence[Alert], since: Any) -> set[int]:
    """Accounts of which several cells have alerts that opened lately."""
    ids = {a.account_id for a in alerts if a.account_id}
    rows = Alert.objects.filter(
        account_id__in=ids, state=AlertState.OPEN, opened_at__gte=since, cell__isnull=False
    )
    counts = rows.order_by().values_list("account_id").annotate(n=Count("cell_id", distinct=True))
    return {account for account, n in counts if n >= CELLS_OF_AN_ACCOUNT}


def _open(alert: Alert, key: str) -> Incident:
    now = timezone.now()
    with acting(system_actor("alerts"), reason=alert.summary[:500]):
        return Incident.objects.create(
            title=alert.summary or alert.name,
            cause_key=key,
            severity=alert.severity,
            opened_at=now,
            last_joined_at=now,
        )


def _tell_joined(incident: Incident, alerts: Sequence[Alert]) -> None:
    tone = {Severity.CRITICAL: Tone.BAD, Severity.WARNING: Tone.WARN}
    rows = [
        of_incident(
            incident, "alert", f"Alert: {a}", why=f"{a.name} from {a.source_name}",
            tone=tone.get(Severity(a.severity), Tone.PLAIN), at=max(a.opened_at, incident.opened_at - EARLIEST),
            **{key: value for key, value in a.event_context().items() if value is not None},
        )
        for a in alerts[:NAMED]
    ]  # fmt: skip
    if len(alerts) > NAMED:
        more = len(alerts) - NAMED
        rows.append(
            of_incident(
                incident, "alerts", f"{more:,} more alerts joined", why="the same cause", tone=Tone.BAD
            )
        )
    tell(rows)


def refresh(incident_ids: Iterable[int]) -> None:
    """Make incidents say what their alerts say: severity, title, whether quiet; and page where somebody has to be told."""
    ids = [pk for pk in incident_ids if pk]
    rows = Alert.objects.filter(incident_id__in=ids, state=AlertState.OPEN)
    counts: dict[int, Counter[str]] = {}
    loud: dict[int, str] = {}
    for pk, severity, silence, inhibitor, n in (
        rows.order_by()
        .values_list("incident_id", "severity", "silence_id", "inhibited_by_id")
        .annotate(n=Count("pk"))
    ):
        counts.setdefault(pk, Counter())[severity] += n
        if silence is None and inhibitor is None:
            loud[pk] = worst([severity, loud.get(pk, Severity.INFO)])
    totals = _totals(ids)
    for incident in Incident.objects.filter(pk__in=ids, state__in=OPEN_INCIDENT):
        open_count = counts.get(incident.pk, Counter())
        severity = worst([*open_count, incident.severity])
        quiet = None if open_count else (incident.quiet_since or timezone.now())
        title = _title(incident, totals.get(incident.pk, (0, 0))[0])
        Incident.objects.filter(pk=incident.pk).unrecorded_update(
            severity=severity, quiet_since=quiet, title=title
        )
        if incident.pk in loud and RANK[Severity(loud[incident.pk])] <= RANK[Severity.WARNING]:
            is_worse = RANK[Severity(severity)] < RANK[Severity(incident.severity)]
            incident.severity, incident.title = severity, title
            escalation.begin(incident, is_worse=is_worse)


def _totals(ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """By incident: (instances, alerts) it ever had."""
    rows = Alert.objects.filter(incident_id__in=ids).order_by().values_list("incident_id")
    return {pk: (n, of) for pk, n, of in rows.annotate(n=Count("instance_id", distinct=True), of=Count("pk"))}


def _title(incident: Incident, instances: int) -> str:
    """What is wrong in one line. More than one instance: the cause is named, not the instance."""
    if instances <= 1:
        return incident.title
    kind, _, key = incident.cause_key.partition(":")
    name = key
    if kind in ("cell", "account"):
        from apps.accounts.models import Account
        from apps.fleet.models import Cell

        model: Any = Cell if kind == "cell" else Account
        name = model.objects.filter(pk=int(key)).values_list("name", flat=True).first() or incident.cause_key
    if kind == "rollout":
        rows = Rollout.objects.filter(pk=int(key)).values_list("release__version", flat=True)
        name = rows.first() or ""
    words = {
        "version": f"{instances:,} instances fail on version {name}",
        "rollout": f"{instances:,} instances fail in the rollout of {name}",
        "instance": incident.title,
    }
    return words.get(kind, f"{name}: {instances:,} instances have alerts")


def close_quiet() -> int:
    """Resolve incidents all of whose alerts have been resolved for a while; gives how many."""
    before = timezone.now() - timedelta(seconds=settings.ALERTS_QUIET_SECONDS)
    closed = 0
    quiet = Q(quiet_since__lte=before) | Q(quiet_since__gt=timezone.now() + JUMP)
    rows = Incident.objects.filter(quiet, state__in=OPEN_INCIDENT)
    for incident in rows.annotate(last=Max("alerts__resolved_at")):
        now = timezone.now()
        closed += Incident.objects.filter(pk=incident.pk, state__in=OPEN_INCIDENT).update(
            state=IncidentState.RESOLVED, resolved_at=now
        )
        tell(
            [
                of_incident(
                    incident,
                    "resolved",
                    f"Resolved: {incident}",
                    why="all its alerts are resolved",
                    tone=Tone.OK,
                )
            ]
        )
        escalation.end(incident)
    return closed
