"""Verification of the trail where it stands, and what was found the last time."""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from .canonical import SELECT, Seal, id_of, line_of
from .models import AuditCheck, AuditRetirement, AuditSeal
from .outside import ENTRIES, merged, read_entries
from .retirements import Retirement
from .signing import trusted_keys
from .verifying import Entry, Verdict, verify

logger = logging.getLogger(__name__)

#: Rows, and seals, fetched at once.
ROWS, SEALS = 5_000, 10

NEXT = f"SELECT {SELECT} FROM audit_auditentry WHERE id > %s ORDER BY id LIMIT {ROWS}"  # noqa: S608 - constants


def stored_entries(after: int = -(2**63)) -> Iterator[Entry]:
    """Every entry with an id above `after`, in order, as its canonical line; memory stays the same however many."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(NEXT, [after])
            rows = cursor.fetchall()
        for row in rows:
            yield id_of(row), line_of(row)
        if len(rows) < ROWS:
            return
        after = id_of(rows[-1])


def stored_seals(after: int = 0) -> Iterator[Seal]:
    """Every seal with a number above `after`, in order."""
    while True:
        found = list(AuditSeal.objects.filter(number__gt=after).order_by("number")[:SEALS])
        for seal in found:
            yield seal.link()
        if len(found) < SEALS:
            return
        after = found[-1].number


def stored_retirements() -> list[Retirement]:
    """What retention let go, in order."""
    return [one.link() for one in AuditRetirement.objects.order_by("number")]


def verify_stored(checkpoints: dict[int, str] | None = None, archives: Sequence[Path] = ()) -> Verdict:
    """Verify the trail in the database, with the keys that the settings trust; with all archives, over them too."""
    parts = [*(read_entries(folder / ENTRIES) for folder in archives), stored_entries()]
    retired = [] if archives else stored_retirements()
    return verify(
        stored_seals(), merged(parts), trusted_keys(), checkpoints=checkpoints, retirements=retired, is_whole=True,
    )  # fmt: skip


def check(
    checkpoints: dict[int, str] | None = None, archives: Sequence[Path] = ()
) -> tuple[Verdict, AuditCheck]:
    """Verify, and keep what was found for the audit page."""
    began = time.monotonic()
    verdict = verify_stored(checkpoints, archives)
    broken = verdict.broken
    with transaction.atomic():
        kept = AuditCheck.objects.create(
            at=timezone.now(),
            seconds=time.monotonic() - began,
            seals_to=verdict.first_seal + verdict.seals - 1,
            entries=verdict.entries,
            broken_seal=broken.seal if broken else None,
            broken_entry=broken.entry if broken else None,
            broken=str(broken or "")[:500],
        )
    return verdict, kept


def check_if_due() -> AuditCheck | None:
    """As `check`, where the last one is older than AUDIT_VERIFY_HOURS; a chain that breaks is told as an error."""
    since = timezone.now() - timedelta(hours=settings.AUDIT_VERIFY_HOURS)
    if AuditCheck.objects.filter(at__gte=since).exists():
        return None
    verdict, kept = check()
    if verdict.broken:
        logger.error("the audit trail is BROKEN at %s", verdict.broken)
    return kept
