"""What pages nobody: silenced alerts, and alerts that a larger one explains."""

from collections.abc import Iterable, Sequence

from django.db.models import Count, QuerySet
from django.utils import timezone

from apps.fleet.choices import Wanted
from apps.fleet.models import Cell, Instance

from .choices import AlertState, Severity
from .health import NAME, SOURCE
from .intake import fingerprint
from .matching import condition, fits
from .models import Alert, Silence

#: A cell counts as down from this share of its instances on, and from this many.
SHARE, LEAST = 0.5, 4
CELL_DOWN = "CellDown"


def current() -> list[Silence]:
    """Silences that hold now."""
    now = timezone.now()
    return list(Silence.objects.filter(starts_at__lte=now, ends_at__gt=now))


def mute(alerts: Sequence[Alert]) -> None:
    """Mark alerts that just opened and are silenced."""
    silences = current() if alerts else []
    silenced: dict[int, list[int]] = {}
    for alert in alerts:
        found = next((s for s in silences if fits(alert, s, name=s.name, instance_id=s.instance_id)), None)
        alert.silence = found
        if found:
            silenced.setdefault(found.pk, []).append(alert.pk)
    for pk, ids in silenced.items():
        Alert.objects.filter(pk__in=ids).update(silence_id=pk)


def renew() -> set[int]:
    """Let ended silences go and new ones take hold on open alerts; gives the incidents it touched."""
    held = current()
    rows = Alert.objects.filter(state=AlertState.OPEN)
    freed = rows.filter(silence__isnull=False).exclude(silence__in=held)
    touched = set(freed.values_list("incident_id", flat=True))
    freed.update(silence=None)
    for s in held:
        wanted = condition(
            name=s.name,
            labels=s.labels,
            account_id=s.account_id,
            cell_id=s.cell_id,
            instance_id=s.instance_id,
        )
        mine = rows.filter(wanted, silence__isnull=True)
        touched |= set(mine.values_list("incident_id", flat=True))
        mine.update(silence=s)
    return touched - {None}


def inhibit(cell_ids: Iterable[int]) -> set[int]:
    """Open or resolve “cell down” for these cells, and have it explain their instances' alerts.

    The cell's own alert joins the incident of the alerts that it explains. Gives the incidents in which something is to
    be heard again because a cell is no longer down.
    """
    ids = list(cell_ids)
    freed: set[int | None] = set()
    if not ids:
        return set()
    totals = dict(
        Instance.objects.filter(cell_id__in=ids, wanted=Wanted.RUNNING)
        .order_by()
        .values_list("cell_id")
        .annotate(n=Count("pk"))
    )
    own = Alert.objects.filter(
        source_name=SOURCE, name=NAME, state=AlertState.OPEN, severity=Severity.CRITICAL
    )
    down = dict(own.filter(cell_id__in=ids).order_by().values_list("cell_id").annotate(n=Count("pk")))
    known = {
        a.cell_id: a
        for a in Alert.objects.filter(
            source_name=SOURCE, name=CELL_DOWN, state=AlertState.OPEN, cell_id__in=ids
        )
    }
    for cell in Cell.objects.filter(pk__in=ids).select_related("region"):
        n, of = down.get(cell.pk, 0), totals.get(cell.pk, 0)
        if n >= LEAST and n >= SHARE * of:
            _explain(cell, n, of, known.get(cell.pk), own)
        elif (over := known.get(cell.pk)) is not None:
            Alert.objects.filter(pk=over.pk).update(state=AlertState.RESOLVED, resolved_at=timezone.now())
            explained = Alert.objects.filter(inhibited_by=over, state=AlertState.OPEN)
            freed |= {over.incident_id, *explained.values_list("incident_id", flat=True)}
            explained.update(inhibited_by=None)
    return {pk for pk in freed if pk}


def _explain(cell: Cell, n: int, of: int, known: Alert | None, own: QuerySet[Alert]) -> None:
    summary = f"{cell.name} is down: {n} of {of} instances fail"
    now = timezone.now()
    rows = own.filter(cell_id=cell.pk)
    if known is None:
        labels = {"alertname": CELL_DOWN, "daytwo_cell": cell.name}
        known = Alert(
            fingerprint=fingerprint(SOURCE, labels), source_name=SOURCE, name=CELL_DOWN, severity=Severity.CRITICAL,
            summary=summary, labels=labels, cell=cell, account_id=cell.region.account_id, opened_at=now, last_at=now,
            incident_id=rows.filter(incident__isnull=False).order_by("id").values_list("incident_id", flat=True).first(),
        )  # fmt: skip
        known.save()
        mute([known])
    elif known.summary != summary:
        Alert.objects.filter(pk=known.pk).update(summary=summary, last_at=now)
    rows.filter(inhibited_by__isnull=True).exclude(pk=known.pk).update(inhibited_by=known)
