"""A certificate's end, told 30, 7 and 1 days before: to be seen, to be mended, to be mended now."""

from datetime import datetime, timedelta

from django.utils import timezone

from apps.fleet.certificates.judging import STAGES, stage
from apps.fleet.choices import Wanted
from apps.fleet.models import Certificate

from .choices import AlertState, Severity, SignalState
from .intake import Said, fingerprint, write
from .models import Alert, Signal

SOURCE = "certificates"
NAME = "CertificateEnds"
#: Days left, and how bad that is; renewal by itself comes at thirty of ninety, so that this wakes nobody yet.
SEVERITY = {30: Severity.INFO, 7: Severity.WARNING, 1: Severity.CRITICAL, 0: Severity.CRITICAL}
AT_ONCE = 5_000


def look(now: datetime | None = None) -> int:
    """Say what the rows say and no alert does, and the other way round; gives how many signals it wrote. Four queries."""
    now = now or timezone.now()
    soon = Certificate.objects.filter(
        not_after__lte=now + timedelta(days=max(STAGES)), instance__wanted=Wanted.RUNNING
    )
    columns = (
        "instance_id",
        "not_before",
        "not_after",
        "instance__name",
        "instance__cell_id",
        "instance__cell__region__account_id",
    )
    rows = list(soon.order_by("not_after").values_list(*columns)[:AT_ONCE])
    stages = {pk: stage(not_after, now, not_before) for pk, not_before, not_after, *_ in rows}
    ending = {row[0]: row for row in rows if stages[row[0]] is not None}
    told = {
        a.instance_id: a
        for a in Alert.objects.filter(
            source_name=SOURCE, name=NAME, state=AlertState.OPEN, instance__isnull=False
        )
    }
    waiting = set(
        Signal.objects.filter(source_name=SOURCE, processed_at__isnull=True).values_list(
            "instance_id", flat=True
        )
    )
    said = []
    for pk, _, not_after, name, cell, account in ending.values():
        reached = stages[pk]
        if reached is None or pk in waiting:
            continue
        summary = f"The certificate of {name} {_words(reached)}: {not_after:%Y-%m-%d %H:%M} UTC"
        before = told.get(pk)
        if before is None or before.summary != summary:
            said.append(_said(pk, name, cell, account, SignalState.FIRING, SEVERITY[reached], summary, now))
    for pk, alert in told.items():
        if pk not in ending and pk not in waiting and len(rows) < AT_ONCE:
            name = alert.labels.get("daytwo_instance", "")
            summary = f"The certificate of {name} no longer ends soon"
            where = (alert.cell_id, alert.account_id)
            said.append(_said(pk, name, *where, SignalState.RESOLVED, Severity.INFO, summary, now))
    write(SOURCE, said)
    return len(said)


def _words(reached: int) -> str:
    if reached == 0:
        return "has ended"
    return f"ends within {reached} day{'s' if reached > 1 else ''}"


def _said(
    pk: int | None,
    name: str,
    cell: int | None,
    account: int | None,
    state: str,
    severity: str,
    summary: str,
    at: datetime,
) -> Said:
    return Said(
        state=state, name=NAME, severity=severity, summary=summary[:300],
        labels={"alertname": NAME, "daytwo_instance": name}, at=at,
        fingerprint=fingerprint(SOURCE, {"alertname": NAME, "instance_id": str(pk)}),
        instance_id=pk, cell_id=cell, account_id=account,
    )  # fmt: skip
