"""What changes exposure: advisories that come in, statements that somebody is not affected, and the watch over who is."""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.services import Refused

from .choices import VexWhy
from .csaf import read_advice
from .escalating import hours_of
from .matching import LOCK, lock_matches, match_advisory
from .models import Advisory, Release, VexStatement
from .osv import Advice, time_of
from .sbom import BadDocument
from .services import given_reason, require_everywhere

#: Which versions that run are bad, by advisory: from the few releases that run to their components to what matches
#: them, unless a statement says that a release is not affected. Instances come last, by their version.
BAD = """
WITH running AS MATERIALIZED (
    SELECT r.id, r.version FROM releases_release r
     WHERE EXISTS (SELECT 1 FROM fleet_instance i WHERE i.version = r.version)
), bad AS MATERIALIZED (
    SELECT DISTINCT m.advisory_id, r.version
      FROM running r
      JOIN releases_releasecomponent rc ON rc.release_id = r.id
      JOIN releases_advisorymatch m ON m.component_id = rc.component_id
      JOIN releases_advisory a ON a.id = m.advisory_id AND NOT a.withdrawn
     WHERE NOT EXISTS (SELECT 1 FROM releases_vexstatement v
                        WHERE v.advisory_id = m.advisory_id AND (v.release_id IS NULL OR v.release_id = r.id))
)
"""
OPEN = f"""{BAD}
INSERT INTO releases_exposure (advisory_id, instance_id, version, since)
SELECT b.advisory_id, i.id, b.version, now() FROM bad b JOIN fleet_instance i ON i.version = b.version
 WHERE NOT EXISTS (SELECT 1 FROM releases_exposure e
                    WHERE e.advisory_id = b.advisory_id AND e.instance_id = i.id AND e.until IS NULL)
ON CONFLICT DO NOTHING RETURNING advisory_id, instance_id
"""  # noqa: S608 - constants of this module
CLOSE = f"""{BAD}
UPDATE releases_exposure e SET until = now()
  FROM fleet_instance i
 WHERE e.until IS NULL AND i.id = e.instance_id
   AND NOT EXISTS (SELECT 1 FROM bad b WHERE b.advisory_id = e.advisory_id AND b.version = i.version)
RETURNING e.advisory_id, e.instance_id
"""  # noqa: S608 - constants of this module


def import_advisory(raw: bytes, *, actor: Any) -> Advisory:
    """Take in an OSV or CSAF document, or a newer state of one that is known; matches and exposure follow at once.

    The clock runs from when it came in first. Raises BadDocument, Refused; then nothing was changed.
    """
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    advice = read_advice(raw)
    with transaction.atomic(durable=True), acting(actor, reason=f"imports {advice.osv_id}"):
        lock_matches()
        advisory = store_advice(advice)
        match_advisory(advisory)
        opened = _watch()
        mine = sum(advisory_id == advisory.pk for advisory_id, _ in opened)
        tone = Tone.BAD if mine else Tone.PLAIN
        record(
            [
                event(
                    "advisory.known",
                    f"{advisory} is known: {mine:,} instances exposed",
                    why=advisory.summary,
                    tone=tone,
                )
            ]
        )
    return advisory


def store_advice(advice: Advice) -> Advisory:
    """Write an advisory, or its newer state, without matching it yet; the caller holds a transaction.

    A clock that runs keeps its deadline, unless it is now known to be of another severity. Raises BadDocument,
    and Refused for an older state than the one that is known.
    """
    known = Advisory.objects.select_for_update().filter(osv_id=advice.osv_id).first()
    advisory = known or Advisory(osv_id=advice.osv_id, known_at=timezone.now())
    severity_before = advisory.severity
    before, now = time_of(advisory.modified), time_of(advice.modified)
    if before and now and now < before:
        raise Refused(
            f"{advisory} is known in a newer state, modified {advisory.modified}; this one is of {advice.modified}."
        )
    for name in ("summary", "details", "severity", "score", "published_at", "modified", "affected"):
        setattr(advisory, name, getattr(advice, name))
    advisory.aliases, advisory.withdrawn = list(advice.aliases), advice.is_withdrawn
    if known is None or severity_before != advice.severity:
        advisory.deadline = deadline_of(advisory.known_at, advice.severity)
    try:
        advisory.full_clean()
    except ValidationError as wrong:
        said = (f"{name}: {' '.join(words)}" for name, words in wrong.message_dict.items())
        raise BadDocument(f"{advice.osv_id} cannot be kept: {' '.join(said)}") from wrong
    advisory.save()
    return advisory


def deadline_of(known_at: datetime, severity: str) -> datetime:
    """When nobody may be exposed any more."""
    return known_at + timedelta(hours=hours_of(severity))


def state_not_affected(
    advisory: Advisory, *, release: Release | None, justification: str, reason: str, actor: Any
) -> VexStatement:
    """Say that a release (or every one) is not affected, and why; its instances are no longer counted as exposed."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    if justification not in VexWhy.values:
        raise Refused(f"There is no justification “{justification}”.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        lock_matches()
        if VexStatement.objects.filter(advisory=advisory, release=release).exists():
            raise Refused("There is a statement on that already.")
        made = VexStatement.objects.create(
            advisory=advisory, release=release, justification=justification, reason=reason, stated_by=actor
        )
        words = f"{advisory} does not affect {release or 'any release'}"
        record(
            [
                event(
                    "advisory.not_affected",
                    words,
                    why=f"{VexWhy(justification).label}: {reason}",
                    tone=Tone.OK,
                )
            ]
        )
        _watch()
    return made


def watch_exposure() -> tuple[int, int]:
    """Open and close exposures as instances change what they run; gives how many of each.

    A second watch while one runs does nothing. Two statements, however large the fleet.
    """
    with transaction.atomic(), acting(system_actor("exposure"), reason="looks at what runs"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return 0, 0
        closed = _close(tell=True)
        return len(_open()), closed


def _watch() -> list[tuple[int, int]]:
    """Look at once; the caller holds the lock."""
    _close(tell=False)
    return _open()


def _open() -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(OPEN)
        return list(cursor.fetchall())


def _close(*, tell: bool) -> int:
    with connection.cursor() as cursor:
        cursor.execute(CLOSE)
        closed = cursor.fetchall()
    advisories = {advisory_id for advisory_id, _ in closed}
    if tell and advisories:
        over = Advisory.objects.filter(pk__in=advisories).exclude(exposures__until__isnull=True)
        record(
            [
                event("advisory.over", f"Nobody is exposed to {advisory} any more", tone=Tone.OK)
                for advisory in over
            ]
        )
    return len(closed)
