"""Signals become alerts, alerts join incidents: in batches, in order, each batch one transaction.

One processor at a time (an advisory lock), so that two workers never open the same thing twice. A worker that
dies undoes its batch whole, and the next one finds the signals as they were.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import F, Min, Q
from django.db.models.functions import Least
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.context import acting
from apps.core.models import Event
from apps.fleet.models import Instance

from . import grouping, muting
from .choices import JUMP, AlertState, SignalState
from .models import Alert, IncidentEvent, SeenSignature, Signal
from .nudging import nudge

#: The advisory lock's number is this app's own.
LOCK = 7_320_010
BATCH = 2_000
#: An alert that comes back within FLAP_WITHIN goes on; after FLAP_COUNT times it is resolved only once it was quiet for FLAP_HOLD.
FLAP_WITHIN = timedelta(minutes=5)
FLAP_COUNT = 3
FLAP_HOLD = timedelta(minutes=5)
KEEP = timedelta(days=14)


def process_signals() -> int:
    """Work through all that waits; gives how many signals. A second call while one runs leaves it to the first."""
    done = 0
    while count := _batch():
        done += count
    if done:
        for actor in ("decide_recoveries", "escalate"):
            nudge(actor)
    return done


def _batch() -> int:
    """One batch; 0 when nothing waits or somebody else is at it."""
    with acting(system_actor("alerts"), reason="", via="system"), transaction.atomic(durable=True):
        if not alone():
            return 0
        signals = list(Signal.objects.filter(processed_at__isnull=True).order_by("id")[:BATCH])
        if not signals:
            return 0
        opened, ended, turned = apply(signals)
        Signal.objects.filter(pk__in=[s.pk for s in signals]).update(processed_at=timezone.now())
        muting.mute(opened)
        grouping.join(opened)
        touched = (*opened, *ended, *turned)
        freed = muting.inhibit({a.cell_id for a in touched if a.cell_id})
        grouping.refresh({a.incident_id for a in touched if a.incident_id} | freed)
    return len(signals)


def alone() -> bool:
    """Whether this transaction is the one that may change alerts and incidents now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def wait_alone() -> None:
    """As `alone`, for a person's act, which waits its turn."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def apply(signals: Sequence[Signal]) -> tuple[list[Alert], list[Alert], list[Alert]]:
    """Carry signals into alerts: (those that opened or came back, those that were resolved, those that are worse or
    less bad than they were). Set-wise.
    """
    by_print: dict[str, list[Signal]] = {}
    for signal in signals:
        by_print.setdefault(signal.fingerprint, []).append(signal)
    known, flapped = _known(list(by_print))
    versions = _versions(signals)
    new: list[Alert] = []
    changed: dict[int, Alert] = {}
    opened, ended, turned = [], [], []
    for key, said in by_print.items():
        before = known.get(key)
        was_open = before is not None and before.is_open
        severity = before.severity if before is not None else ""
        alert = _apply_all(before, said, versions)
        if alert is None:
            continue  # resolved before anybody heard of it
        if alert._state.adding:
            alert.flaps += flapped.get(key, 0)
            new.append(alert)
        else:
            changed[alert.pk] = alert
        if alert.is_open and not was_open:
            opened.append(alert)
        elif was_open and not alert.is_open:
            ended.append(alert)
        elif was_open and alert.severity != severity:
            turned.append(alert)
    Alert.objects.bulk_create(new, batch_size=2_000)
    Alert.objects.bulk_update(changed.values(), FIELDS, batch_size=500)
    return opened, ended, turned


def _known(prints: Sequence[str]) -> tuple[dict[str, Alert], dict[str, int]]:
    """By fingerprint: the alert to go on with, open or resolved lately; how often one has flapped that is gone on with by
    another, because what was told of in an incident that is over stays there. Two queries.
    """
    known = {a.fingerprint: a for a in Alert.objects.filter(fingerprint__in=prints, state=AlertState.OPEN)}
    since = timezone.now() - FLAP_WITHIN
    rest = [p for p in prints if p not in known]
    rows = Alert.objects.filter(fingerprint__in=rest, resolved_at__gte=since).select_related("incident")
    flapped: dict[str, int] = {}
    for alert in rows.order_by("id"):
        if alert.incident is not None and not alert.incident.is_open:
            flapped[alert.fingerprint] = alert.flaps + 1
            known.pop(alert.fingerprint, None)
        else:
            flapped.pop(alert.fingerprint, None)
            known[alert.fingerprint] = alert
    return known, flapped


FIELDS = [
    "severity",
    "state",
    "summary",
    "labels",
    "url",
    "last_at",
    "resolved_at",
    "signals",
    "flaps",
    "resolve_after",
]


def _versions(signals: Sequence[Signal]) -> dict[int, str]:
    ids = {s.instance_id for s in signals if s.instance_id}
    rows = Instance.objects.filter(pk__in=ids).values_list("pk", "version", "wanted_version")
    return {pk: version or wanted for pk, version, wanted in rows}


def _apply_all(alert: Alert | None, said: Sequence[Signal], versions: dict[int, str]) -> Alert | None:
    """All signals of one fingerprint, in order; None when it was over before anybody heard of it."""
    for signal in said:
        alert = _apply_one(alert, signal, versions)
    return alert


def _apply_one(alert: Alert | None, signal: Signal, versions: dict[int, str]) -> Alert | None:
    """One signal on one alert, in memory."""
    if signal.state == SignalState.RESOLVED:
        return _resolve(alert, signal)
    if alert is None:
        return _new(signal, versions)
    if not alert.is_open:
        alert.state, alert.resolved_at = AlertState.OPEN, None
        alert.flaps += 1
    alert.resolve_after = None
    alert.severity, alert.summary, alert.labels, alert.url = (
        signal.severity,
        signal.summary,
        signal.labels,
        signal.url,
    )
    alert.last_at = max(alert.last_at, signal.at)
    alert.signals += 1
    return alert


def _new(signal: Signal, versions: dict[int, str]) -> Alert:
    return Alert(
        fingerprint=signal.fingerprint, source_name=signal.source_name, name=signal.name, severity=signal.severity,
        summary=signal.summary, labels=signal.labels, url=signal.url, version=versions.get(signal.instance_id or 0, ""),
        instance_id=signal.instance_id, cell_id=signal.cell_id, account_id=signal.account_id,
        tenant_id=signal.tenant_id, opened_at=signal.at, last_at=signal.at,
    )  # fmt: skip


def _resolve(alert: Alert | None, signal: Signal) -> Alert | None:
    if alert is None or not alert.is_open:
        return alert
    alert.signals += 1
    alert.last_at = max(alert.last_at, signal.at)
    if alert.flaps >= FLAP_COUNT:
        alert.resolve_after = timezone.now() + FLAP_HOLD
    else:
        alert.state, alert.resolved_at = AlertState.RESOLVED, timezone.now()
    return alert


def settle() -> int:
    """What time alone brings: flapping alerts that kept quiet, silences that ended, incidents that are over."""
    now = timezone.now()
    with acting(system_actor("alerts"), reason="", via="system"), transaction.atomic(durable=True):
        if not alone():
            return 0
        over = Q(resolve_after__lte=now) | Q(resolve_after__gt=now + JUMP + FLAP_HOLD)
        quiet = Alert.objects.filter(over, state=AlertState.OPEN)
        touched = set(quiet.values_list("incident_id", flat=True)) - {None}
        cells = set(quiet.values_list("cell_id", flat=True)) - {None}
        quiet.update(
            state=AlertState.RESOLVED, resolved_at=Least(F("resolve_after"), now), resolve_after=None
        )
        touched |= muting.renew()
        touched |= muting.inhibit(cells)
        grouping.refresh(touched)
        return grouping.close_quiet()


def forget() -> int:
    """Delete signals that were processed more than KEEP ago; gives how many. The alerts stay.

    Links of incidents to events that are no longer kept go too.
    """
    oldest = Event.objects.aggregate(pk=Min("pk"))["pk"]
    if oldest is not None:
        IncidentEvent.objects.filter(event_id__lt=oldest).delete()
    SeenSignature.objects.filter(at__lt=timezone.now() - timedelta(days=1)).delete()
    return Signal.objects.filter(processed_at__lt=timezone.now() - KEEP).delete()[0]
