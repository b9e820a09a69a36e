"""Which components an advisory speaks of. Versions are compared here, once; pages join rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection

from .models import Advisory, AdvisoryMatch, Component
from .osv import fixed_in, is_affected

Row = tuple[int, str, str]
#: Number of the lock under which advisories meet components, and exposure is looked at: this app's own.
LOCK = 7_320_011


def lock_matches() -> None:
    """Wait until no other advisory or SBOM is taken in, until the end of the caller's transaction.

    Two that came at once would not see each other, and nobody would ever be told that they match.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def match_advisory(advisory: Advisory) -> int:
    """Compute an advisory's matches anew; gives how many."""
    return match_advisories([advisory])


def match_advisories(advisories: Sequence[Advisory]) -> int:
    """Compute the matches of advisories anew; gives how many. Three statements, however many."""
    packages = {entry["package"] for advisory in advisories for entry in advisory.affected}
    rows: dict[str, list[Row]] = {}
    for row in (
        Component.objects.filter(package__in=packages).order_by().values_list("pk", "package", "version")
    ):
        rows.setdefault(row[1], []).append(row)
    found: list[AdvisoryMatch] = []
    for advisory in advisories:
        named = {} if advisory.withdrawn else {entry["package"]: None for entry in advisory.affected}
        mine = [row for package in named for row in rows.get(package, ())]
        found += matches_of(advisory.pk, advisory.affected, mine)
    AdvisoryMatch.objects.filter(advisory__in=[advisory.pk for advisory in advisories]).delete()
    AdvisoryMatch.objects.bulk_create(found, batch_size=5_000)
    return len(found)


def match_components(component_ids: Sequence[int]) -> int:
    """Match components with every advisory that names their package; what was matched before stays."""
    rows = list(
        Component.objects.filter(pk__in=component_ids).order_by().values_list("pk", "package", "version")
    )
    packages = {package for _, package, _ in rows}
    found: list[AdvisoryMatch] = []
    for pk, affected in Advisory.objects.filter(withdrawn=False).order_by().values_list("pk", "affected"):
        if any(entry["package"] in packages for entry in affected):
            found += matches_of(pk, affected, rows)
    AdvisoryMatch.objects.bulk_create(found, ignore_conflicts=True, batch_size=5_000)
    return len(found)


def matches_of(
    advisory_id: int, affected: Iterable[Mapping[str, Any]], rows: Iterable[Row]
) -> list[AdvisoryMatch]:
    """Match rows, not yet written, of one advisory with components given as (id, package, version)."""
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for entry in affected:
        entries.setdefault(entry["package"], []).append(entry)
    found = []
    for pk, package, version in rows:
        hit = next((entry for entry in entries.get(package, ()) if is_affected(entry, version)), None)
        if hit is not None:
            found.append(
                AdvisoryMatch(advisory_id=advisory_id, component_id=pk, fixed_in=_fixed(hit, version))
            )
    return found


def _fixed(entry: Mapping[str, Any], version: str) -> str:
    try:
        return fixed_in(entry, version)[:120]
    except ValueError:
        return ""
