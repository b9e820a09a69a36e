"""From what a monitor sends to committed signals: checked whole, then written, then answered."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.accounts.models import Account
from apps.core.texts import storable
from apps.fleet.models import Cell, Instance, Placement
from apps.tenants.models import Tenant

from .choices import Severity, SignalState
from .models import Signal, Source

#: Bytes that one request may have, and alerts in it.
MAX_BYTES = 2 * 1024 * 1024
MAX_ALERTS = 2_000
MAX_LABELS = 64
#: Seconds after which a sender shall try again.
RETRY_AFTER = 10
#: What other tools call our severities.
SEVERITIES = {
    "critical": Severity.CRITICAL, "page": Severity.CRITICAL, "error": Severity.CRITICAL, "high": Severity.CRITICAL,
    "warning": Severity.WARNING, "warn": Severity.WARNING, "ticket": Severity.WARNING, "medium": Severity.WARNING,
    "info": Severity.INFO, "none": Severity.INFO, "low": Severity.INFO,
}  # fmt: skip
#: Labels by which things are found, the first that is there.
OF_INSTANCE = ("daytwo_instance", "instance_name", "instance")
OF_CELL = ("daytwo_cell", "cell")
OF_ACCOUNT = ("daytwo_account", "account")
OF_TENANT = ("daytwo_tenant", "tenant")


class Malformed(Exception):
    """What was sent cannot be understood; nothing was kept. The text says what was expected, `word` counts it."""

    def __init__(self, text: str, word: str = "malformed") -> None:
        super().__init__(text)
        self.word = word


class Behind(Exception):
    """More is waiting than should be; the sender shall come again after RETRY_AFTER seconds."""


@dataclass(frozen=True, slots=True)
class Said:
    """One signal as its sender means it, checked. Ids are filled in by `locate`."""

    state: str
    name: str
    severity: str
    summary: str
    labels: dict[str, str]
    url: str = ""
    at: datetime = field(default_factory=timezone.now)
    fingerprint: str = ""
    instance_id: int | None = None
    cell_id: int | None = None
    account_id: int | None = None
    tenant_id: int | None = None


def fingerprint(source: str, labels: Mapping[str, str]) -> str:
    """SHA-256 over the sender and all labels: two signals with the same labels are one alert."""
    return hashlib.sha256(json.dumps([source, sorted(labels.items())]).encode()).hexdigest()


# --- Reading -------------------------------------------------------------------------------------


def read_json(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises Malformed."""
    if len(body) > MAX_BYTES:
        raise Malformed(
            f"The body has {len(body)} bytes; at most {MAX_BYTES} are taken. Send less at once.", "too large"
        )
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The body is no JSON: {str(error)[:100]}.") from error
    if not isinstance(data, dict):
        raise Malformed("The body must be a JSON object.")
    return data


def read_alertmanager(body: bytes) -> list[Said]:
    """The alerts of an Alertmanager webhook, version 4.

    Format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Raises Malformed.
    """
    data = read_json(body)
    if data.get("version") != "4":
        raise Malformed(
            f"“version” is {data.get('version')!r:.40}; the Alertmanager webhook of version “4” is taken.",
            "version",
        )
    return [_read_one(i, alert, "labels.alertname") for i, alert in enumerate(_alerts(data))]


def read_webhook(body: bytes) -> list[Said]:
    """The signals of a generic webhook: `{"signals": [{state, name, severity, summary, labels, url, at}]}`. Raises Malformed."""
    data = read_json(body)
    said = []
    for i, one in enumerate(_alerts(data, "signals")):
        labels = one.get("labels", {})
        flat = {
            "status": one.get("state"),
            "labels": {"alertname": one.get("name"), "severity": one.get("severity", "warning"), **(labels if isinstance(labels, dict) else {})},
            "annotations": {"summary": one.get("summary", "")},
            "startsAt": one.get("at"),
            "generatorURL": one.get("url", ""),
        }  # fmt: skip
        said.append(_read_one(i, flat, "name"))
    return said


def _alerts(data: Mapping[str, Any], key: str = "alerts") -> list[dict[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Malformed(f"“{key}” must be a list of objects.")
    if len(found) > MAX_ALERTS:
        raise Malformed(
            f"“{key}” has {len(found)} entries; at most {MAX_ALERTS} are taken. Set max_alerts.", "too many"
        )
    return found


def _read_one(place: int, alert: Mapping[str, Any], name_is: str) -> Said:
    where = f"Entry {place}"
    state = alert.get("status")
    if state not in SignalState.values:
        raise Malformed(f"{where}: the state is {state!r:.40}; “firing” or “resolved” is expected.")
    labels = _texts(alert.get("labels"), f"{where}: labels", 500)
    notes = _texts(alert.get("annotations") or {}, f"{where}: annotations", 4_000)
    name = labels.get("alertname", "").strip()
    if not name or name == "None":
        raise Malformed(f"{where}: “{name_is}” is missing.")
    ended = state == SignalState.RESOLVED
    at = _time(alert.get("endsAt" if ended and alert.get("endsAt") else "startsAt"), where)
    return Said(
        state=state,
        name=name[:120],
        severity=SEVERITIES.get(labels.get("severity", "").lower(), Severity.WARNING),
        summary=(notes.get("summary") or notes.get("description") or name).strip()[:300],
        labels=labels,
        url=_web(alert.get("generatorURL")),
        at=min(at, timezone.now()),
    )


def _texts(found: Any, where: str, longest: int) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > MAX_LABELS:
        raise Malformed(f"{where} must be an object of at most {MAX_LABELS} texts.")
    texts = {str(key)[:200]: str(value) for key, value in found.items()}
    if any(len(value) > longest or storable(key + value) != key + value for key, value in texts.items()):
        raise Malformed(f"{where}: a value is longer than {longest} characters, or not text.")
    return texts


def _time(text: Any, where: str) -> datetime:
    if text in (None, ""):
        return timezone.now()
    try:
        at = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    if at is None:
        raise Malformed(f"{where}: {text!r:.40} is no RFC 3339 time.")
    try:
        at = (at if at.tzinfo else timezone.make_aware(at)).astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise Malformed(f"{where}: {text!r:.40} is a time outside the calendar.") from error
    # Go's zero time stands for none.
    return at if at.year >= 1970 else timezone.now()


def _web(url: Any) -> str:
    """An http(s) address, or "": nothing else is ever made a link."""
    text = url if isinstance(url, str) else ""
    return text[:500] if text.startswith(("http://", "https://")) else ""


# --- Placing, writing ------------------------------------------------------------------------------


def locate(said: Sequence[Said], source_name: str) -> list[Said]:
    """Give each its fingerprint and what of ours its labels name; four queries, however many."""

    def named(keys: Iterable[str]) -> list[str]:
        return [next((s.labels[k] for k in keys if s.labels.get(k)), "") for s in said]

    instances, cells, accounts, tenants = map(named, (OF_INSTANCE, OF_CELL, OF_ACCOUNT, OF_TENANT))
    by_instance = {
        row[0]: row[1:]
        for row in Instance.objects.filter(name__in={n for n in instances if n}).values_list(
            "name", "pk", "cell_id", "cell__region__account_id"
        )
    }
    by_cell = {
        row[0]: row[1:]
        for row in Cell.objects.filter(name__in={n for n in cells if n}).values_list(
            "name", "pk", "region__account_id"
        )
    }
    by_account = dict(Account.objects.filter(name__in={n for n in accounts if n}).values_list("name", "pk"))
    by_tenant = dict(Tenant.objects.filter(key__in={n for n in tenants if n}).values_list("key", "pk"))
    placed = []
    for one, instance, cell, account, tenant in zip(said, instances, cells, accounts, tenants, strict=True):
        pk, cell_id, account_id = by_instance.get(instance) or (
            None,
            *(by_cell.get(cell) or (None, by_account.get(account))),
        )
        placed.append(
            replace(
                one,
                fingerprint=one.fingerprint or fingerprint(source_name, one.labels),
                instance_id=pk,
                cell_id=cell_id,
                account_id=account_id,
                tenant_id=by_tenant.get(tenant),
            )
        )
    return placed


def accept(source: Source, said: Sequence[Said], *, signature: str = "") -> int:
    """Keep what a source said, committed when this returns; gives how many. The same signature is taken once.

    Raises Behind when too much waits, Malformed when the source may not speak about one of them, or said it before;
    then nothing was kept.
    """
    if backlog() >= settings.ALERTS_BACKLOG:
        raise Behind(f"More than {settings.ALERTS_BACKLOG} signals wait; come again in {RETRY_AFTER} s.")
    placed = locate(said, source.name)
    if source.account_id is not None:
        tenants = set(
            Placement.objects.filter(
                tenant_id__in={s.tenant_id for s in placed if s.tenant_id},
                instance__cell__region__account_id=source.account_id,
            ).values_list("tenant_id", flat=True)
        )
        for i, one in enumerate(placed):
            if one.account_id != source.account_id or (one.tenant_id and one.tenant_id not in tenants):
                raise Malformed(
                    f"Entry {i}: this source may speak about its own account, and tenants served there, only.",
                    "out of scope",
                )
    with transaction.atomic(durable=True):
        if signature and not _first_time(source, signature):
            raise Malformed("This very request was taken before; sign a new one.", "replayed")
        write(source.name, placed)
        Source.objects.filter(pk=source.pk).unrecorded_update(last_at=timezone.now())
    return len(placed)


def _first_time(source: Source, signature: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts_seensignature (source_id, signature, at) VALUES (%s, %s, now()) ON CONFLICT DO NOTHING",
            [source.pk, signature[:64]],
        )
        return bool(cursor.rowcount == 1)


def write(source_name: str, placed: Sequence[Said]) -> None:
    """Insert signals in the caller's transaction; workers hear of them once it is committed."""
    now = timezone.now()
    Signal.objects.bulk_create(
        [
            Signal(
                source_name=source_name, fingerprint=s.fingerprint, state=s.state, name=s.name, severity=s.severity,
                summary=s.summary, labels=s.labels, url=s.url, instance_id=s.instance_id, cell_id=s.cell_id,
                account_id=s.account_id, tenant_id=s.tenant_id, at=s.at, received_at=now,
            )
            for s in placed
        ],
        batch_size=2_000,
    )  # fmt: skip
    if placed:
        from .nudging import nudge

        transaction.on_commit(lambda: nudge("process_signals"))


def backlog() -> int:
    """How many signals wait, counted no further than the limit."""
    limit = settings.ALERTS_BACKLOG + 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM alerts_signal WHERE processed_at IS NULL LIMIT %s) waiting",
            [limit],
        )
        return int(cursor.fetchone()[0])


COUNT = """
INSERT INTO alerts_signalcount AS c (day, source_name, outcome, requests, signals) VALUES (%s, %s, %s, 1, %s)
ON CONFLICT (day, source_name, outcome) DO UPDATE SET requests = c.requests + 1, signals = c.signals + excluded.signals
"""


def count(source_name: str, outcome: str, signals: int = 0) -> None:
    """Count a request by what came of it; callers pass words of their own, never what was sent."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [timezone.now().date(), source_name[:60], outcome[:40], signals])
