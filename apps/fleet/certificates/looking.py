"""The inventory: what each instance really serves, seen by a handshake on a schedule."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.events import record
from apps.core.models import Event
from apps.core.texts import storable

from .. import providers
from ..choices import ProviderName, Wanted
from ..models import AcmeOrder, Certificate, Instance
from ..providers.base import ProviderError, ServedCertificate, Target
from ..targets import provider_targets
from . import issuing, judging

#: One inventory at a time: the lock's number is this app's own.
LOCK = 7_320_002
logger = logging.getLogger(__name__)
#: Handshakes at once, and instances in one go.
AT_ONCE, BATCH = 8, 2_000

Looked = Mapping[int, ServedCertificate | ProviderError]
FIELDS = [
    "subject", "issuer", "names", "not_before", "not_after", "fingerprint", "key", "is_weak", "is_mismatched",
    "is_ours", "issued_by", "error", "looked_at", "served_since",
]  # fmt: skip


def look() -> int:
    """Shake hands with every running instance that was not looked at lately; gives how many. Simulated ones serve nothing."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return 0
        before = timezone.now() - timedelta(seconds=settings.CERTIFICATES_LOOK_SECONDS)
        due = Q(certificate__isnull=True) | Q(certificate__looked_at__lt=before)
        rows = Instance.objects.filter(due, wanted=Wanted.RUNNING).exclude(
            cell__provider=ProviderName.SIMULATED
        )
        ids = list(rows.order_by("certificate__looked_at", "pk").values_list("pk", flat=True)[:BATCH])
        seen: dict[int, ServedCertificate | ProviderError] = {}
        for name, targets in provider_targets(ids).items():
            seen.update(_ask(providers.get(name), list(targets.values())))
        return keep(seen)


def _ask(provider: Any, targets: Sequence[Target]) -> dict[int, ServedCertificate | ProviderError]:
    def one(target: Target) -> ServedCertificate | ProviderError:
        try:
            served: ServedCertificate = provider.served_certificate(target)
        except ProviderError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever an instance sends
            # What an instance sends is its own doing: one that cannot be read must not hide the others.
            logger.warning("the certificate of %s cannot be read: %s", target.name, error)
            return ProviderError(f"what it serves cannot be read as a certificate ({type(error).__name__})")
        return served

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {t.instance_id: found for t, found in zip(targets, pool.map(one, targets), strict=True)}


def keep(seen: Looked) -> int:
    """Keep what handshakes saw, by instance id, and tell which instances serve another certificate than before.

    One that could not be seen keeps what was seen last, and says why. Five statements, however many.
    """
    now = timezone.now()
    endpoints = dict(Instance.objects.filter(pk__in=list(seen)).values_list("pk", "endpoint"))
    known = Certificate.objects.in_bulk(list(endpoints))
    ordered = _ordered(found.fingerprint for found in seen.values() if isinstance(found, ServedCertificate))
    rows, changed = [], []
    for pk, found in seen.items():
        if pk not in endpoints:
            continue
        before = known.get(pk)
        row = before or Certificate(instance_id=pk)
        row.looked_at = now
        if isinstance(found, ProviderError):
            row.error = storable(str(found))[:300]
        else:
            if row.fingerprint != found.fingerprint:
                row.served_since = now
                if before is not None and before.fingerprint:
                    changed.append((pk, found))
            _fill(row, found, endpoints[pk], ordered.get(found.fingerprint))
        rows.append(row)
    Certificate.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["instance"], update_fields=FIELDS, batch_size=1_000
    )
    _tell(changed)
    return len(rows)


def _ordered(fingerprints: Iterable[str]) -> dict[str, int]:
    """By fingerprint, the issuer of those that were ordered here."""
    rows = AcmeOrder.objects.filter(fingerprint__in=list(fingerprints)).exclude(fingerprint="").order_by()
    return dict(rows.values_list("fingerprint", "issuer_id"))


def _fill(row: Certificate, found: ServedCertificate, endpoint: str, issuer: int | None) -> None:
    row.subject, row.issuer = storable(found.subject)[:300], storable(found.issuer)[:300]
    row.names = [storable(name)[:253] for name in found.names[:100]]
    row.not_before, row.not_after = found.not_before, found.not_after
    row.fingerprint, row.key, row.error = found.fingerprint, found.key[:40], ""
    row.is_weak = bool(judging.weakness(found.key))
    host = judging.host_of(endpoint)
    row.is_mismatched = bool(host) and not judging.covers(found.names, host)
    row.issued_by_id = issuer
    row.is_ours = issuer is not None or issuing.is_ours(found.issuer)


def _tell(changed: Sequence[tuple[int, ServedCertificate]]) -> None:
    rows = Instance.objects.filter(pk__in=[pk for pk, _ in changed]).values_list(
        "pk", "name", "cell_id", "cell__region__account_id"
    )
    where = {row[0]: row[1:] for row in rows}
    actor = system_actor("probe").pk
    record(
        [
            Event(
                kind="certificate.changed", title=f"{where[pk][0]} serves another certificate",
                why=f"{found.key}, until {found.not_after:%Y-%m-%d}", actor_id=actor, instance_id=pk,
                cell_id=where[pk][1], account_id=where[pk][2],
            )
            for pk, found in changed
        ]
    )  # fmt: skip
