"""Releases: the list, one of them, two side by side, and who runs what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import Count, QuerySet
from django.shortcuts import get_object_or_404

from apps.access.choices import Permission
from apps.access.scoping import allowed, visible
from apps.core.enriching import EnrichedQuerySet
from apps.fleet.models import Instance

from ..choices import LIFE_TRANSITIONS, SEVERITY_RANK, Life
from ..models import (
    Advisory,
    AdvisoryMatch,
    Artifact,
    Component,
    Release,
    ReleaseComponent,
    Rollout,
    VexStatement,
)
from ..osv import parse_version
from ..signing import has_keys, is_signed

#: Versions that the picture of who runs what shows; the rest is summed up.
SKEW_ROWS = 12
COMPONENTS = 200


def running(user: Any, versions: Sequence[str] | None = None) -> dict[str, int]:
    """How many visible instances run each version."""
    rows = visible(user, Instance).order_by()
    if versions is not None:
        rows = rows.filter(version__in=versions)
    return dict(rows.values_list("version").annotate(number=Count("pk")))


def listed_releases(user: Any) -> QuerySet[Release]:
    """The releases, each fetched row with `running`: how many visible instances run it."""
    rows: EnrichedQuerySet[Release] = EnrichedQuerySet(Release)

    def enrich(user: Any, found: Sequence[Any]) -> None:
        counts = running(user, [release.version for release in found])
        for release in found:
            release.running = counts.get(release.version, 0)

    return visible(user, rows.defer("notes").enriched_by(partial(enrich, user)))


@dataclass(frozen=True, slots=True)
class SkewRow:
    """A version, how many run it, and since when something newer is out."""

    version: str
    number: int
    release: Release | None
    behind_since: datetime | None

    @property
    def tone(self) -> str:
        if self.release is None:
            return "idle"
        return {Life.PREFERRED: "ok", Life.RELEASED: "ok", Life.CANDIDATE: "busy", Life.WITHDRAWN: "bad"}.get(
            Life(self.release.life), "warn"
        )


@dataclass(frozen=True, slots=True)
class Skew:
    """Who runs what, most first."""

    rows: list[SkewRow]
    total: int
    more: int


def skew(user: Any) -> Skew:
    """Who runs what, for how long something newer has been out: two queries."""
    counts = running(user)
    releases = {release.version: release for release in visible(user, Release).defer("notes")}
    out = sorted(
        (r.released_at, r.version)
        for r in releases.values()
        if r.released_at and r.life in (Life.RELEASED, Life.PREFERRED)
    )
    rows = []
    for version, number in sorted(counts.items(), key=lambda pair: -pair[1]):
        mine = releases.get(version)
        own = mine.released_at if mine else None
        behind = next((at for at, name in out if name != version and own is not None and at > own), None)
        rows.append(SkewRow(version or "none", number, mine, behind))
    return Skew(rows[:SKEW_ROWS], sum(counts.values()), max(0, len(rows) - SKEW_ROWS))


@dataclass(frozen=True, slots=True)
class Found:
    """An advisory that matches a component of a release; `statement`: why it does not count."""

    advisory: Advisory
    component: Component
    fixed_in: str
    statement: VexStatement | None


def advisories_of(release: Release) -> list[Found]:
    """What is known against a release, worst first: two queries."""
    matches = AdvisoryMatch.objects.filter(
        component__uses__release=release, advisory__withdrawn=False
    ).select_related("advisory", "component")
    statements = VexStatement.objects.filter(advisory__in=[m.advisory_id for m in matches]).filter(
        release__in=[release.pk]
    ) | VexStatement.objects.filter(advisory__in=[m.advisory_id for m in matches], release__isnull=True)
    by_advisory = {statement.advisory_id: statement for statement in statements}
    found = [Found(m.advisory, m.component, m.fixed_in, by_advisory.get(m.advisory_id)) for m in matches]
    return sorted(
        found, key=lambda f: (f.statement is not None, SEVERITY_RANK[f.advisory.severity], f.advisory.osv_id)
    )


@dataclass(frozen=True, slots=True)
class SignedArtifact:
    """An artifact and whether its signature is good; None: nobody asks."""

    artifact: Artifact
    is_good: bool | None


@dataclass(frozen=True, slots=True)
class ReleasePage:
    """All that the page of one release shows."""

    release: Release
    running: int
    artifacts: list[SignedArtifact]
    advisories: list[Found]
    component_count: int
    components: list[Component]
    rollouts: list[Rollout]
    others: list[Release]
    moves: list[tuple[str, str]]
    may_manage: bool
    asks_for_signatures: bool


def release_page(user: Any, pk: int) -> ReleasePage:
    """One release; 404 where the reader does not see it."""
    release = get_object_or_404(visible(user, Release), pk=pk)
    may = allowed(user, Permission.MANAGE_RELEASES, release)
    keys = has_keys()
    contents = Component.objects.filter(uses__release=release)
    moves = sorted(LIFE_TRANSITIONS[release.life], key=Life.values.index) if may else []
    return ReleasePage(
        release=release,
        running=running(user, [release.version]).get(release.version, 0),
        artifacts=[SignedArtifact(a, is_signed(a) if keys else None) for a in release.artifacts.all()],
        advisories=advisories_of(release),
        component_count=contents.count(),
        components=list(contents.order_by("package", "version")[:COMPONENTS]),
        rollouts=list(visible(user, Rollout).filter(release=release).select_related("release")[:10]),
        others=list(visible(user, Release).exclude(pk=pk).exclude(sbom_at__isnull=True).defer("notes")[:30]),
        moves=[(life, Life(life).label) for life in moves],
        may_manage=may,
        asks_for_signatures=keys,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """What the second release has that the first has not, and the other way round."""

    added: list[tuple[str, str]]
    removed: list[tuple[str, str]]
    changed: list[tuple[str, str, str, str]]
    fixed: list[Advisory]
    brought: list[Advisory]
    same: int


def compare(first: Release, second: Release) -> Difference:
    """Packages added, removed, changed; advisories mended and brought in. Four queries."""
    old, new = _packages(first), _packages(second)
    changed = [
        (p, ", ".join(old[p]), ", ".join(new[p]), direction(p, old[p], new[p]))
        for p in sorted(old.keys() & new.keys())
        if old[p] != new[p]
    ]
    before = {f.advisory.pk: f.advisory for f in advisories_of(first) if f.statement is None}
    after = {f.advisory.pk: f.advisory for f in advisories_of(second) if f.statement is None}
    return Difference(
        added=[(p, ", ".join(new[p])) for p in sorted(new.keys() - old.keys())],
        removed=[(p, ", ".join(old[p])) for p in sorted(old.keys() - new.keys())],
        changed=changed,
        fixed=[a for pk, a in before.items() if pk not in after],
        brought=[a for pk, a in after.items() if pk not in before],
        same=len(old.keys() & new.keys()) - len(changed),
    )


def direction(package: str, before: Sequence[str], after: Sequence[str]) -> str:
    """“upgraded” or “downgraded” as the package's ecosystem orders versions, by its newest; “changed” if nobody can tell."""
    kind = package.partition(":")[2].partition("/")[0]
    try:
        old, new = (max(parse_version(kind, text) for text in texts) for texts in (before, after))
        return "changed" if old == new else "upgraded" if new > old else "downgraded"
    except (ValueError, TypeError):
        return "changed"


def _packages(release: Release) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    rows = ReleaseComponent.objects.filter(release=release).order_by(
        "component__package", "component__version"
    )
    for package, version in rows.values_list("component__package", "component__version"):
        found.setdefault(package, []).append(version)
    return found
