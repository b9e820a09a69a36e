"""Advisories: the list, one of them with its clock, burn-down, blockers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import holds, scopes_of, visible
from apps.core.enriching import EnrichedQuerySet
from apps.fleet.models import Placement
from apps.tenants.models import Tenant

from ..blockers import blockers_of, latest_moves
from ..choices import UNDEPLOYABLE, Life, ReleaseKind
from ..models import Advisory, ClockAsk, Component, Exposure, Hold, Release, Rollout, VexStatement
from .neighbours import FOR_ANOTHER, shared_with_others

#: Exposed instances that are told singly.
LINES = 100
#: The pace by which the end is projected is that of so much time before now.
PACE = timedelta(hours=1)
#: Which release is offered first as the way out.
FIX_ORDER = (Life.PREFERRED, Life.RELEASED, Life.CANDIDATE, Life.DEPRECATED)


def listed_advisories(user: Any) -> QuerySet[Advisory]:
    """The advisories; each fetched row has `exposed` and `safe`: visible instances that are, and that no longer are."""
    rows: EnrichedQuerySet[Advisory] = EnrichedQuerySet(Advisory)

    def enrich(user: Any, found: Sequence[Any]) -> None:
        seen = visible(user, Exposure).filter(advisory__in=[a.pk for a in found]).order_by()
        count = Count("instance_id", distinct=True)
        exposed = dict(seen.filter(until__isnull=True).values_list("advisory_id").annotate(number=count))
        ever = dict(seen.values_list("advisory_id").annotate(number=count))
        for advisory in found:
            advisory.exposed = exposed.get(advisory.pk, 0)
            advisory.safe = ever.get(advisory.pk, 0) - advisory.exposed

    return visible(user, rows.defer("details", "affected").enriched_by(partial(enrich, user)))


@dataclass(frozen=True, slots=True)
class Line:
    """An instance that is exposed, for whom it works, and what blocks its way to safety."""

    exposure: Exposure
    tenants: Sequence[str]
    more_tenants: int
    blocker: str
    rollout_id: int | None


@dataclass(frozen=True, slots=True)
class Clock:
    """The security clock: how many are exposed, how fast it falls, when it ends at that pace."""

    known_at: datetime
    deadline: datetime
    exposed: int
    safe: int
    ended_at: datetime | None
    projected: datetime | None

    @property
    def total(self) -> int:
        return self.exposed + self.safe

    @property
    def is_missed(self) -> bool:
        return (self.ended_at or timezone.now()) > self.deadline and self.total > 0

    @property
    def is_late(self) -> bool:
        """Whether the projected end lies behind the deadline, or there is none."""
        return self.exposed > 0 and (self.projected is None or self.projected > self.deadline)

    @property
    def left(self) -> timedelta:
        return max(timedelta(0), self.deadline - timezone.now())

    @property
    def tone(self) -> str:
        if not self.exposed:
            return "ok"
        return "bad" if self.is_missed else "warn" if self.is_late else "busy"


@dataclass(frozen=True, slots=True)
class AdvisoryPage:
    """All that the page of one advisory shows."""

    advisory: Advisory
    clock: Clock
    chart_url: str
    lines: list[Line]
    more: int
    tenant_count: int
    components: list[Component]
    affected: Sequence[Release]
    fixes: list[tuple[Release, str]]
    statements: list[VexStatement]
    rollouts: list[Rollout]
    asks: list[ClockAsk]
    may_manage: bool
    sees_everything: bool


def advisory_page(user: Any, pk: int) -> AdvisoryPage:
    """One advisory, with what of the fleet the reader sees; 404 for one that is not there."""
    advisory = get_object_or_404(visible(user, Advisory), pk=pk)
    seen = visible(user, Exposure).filter(advisory=advisory)
    spans = list(seen.order_by("since").values_list("instance_id", "since", "until"))
    now_open = {instance_id for instance_id, _, until in spans if until is None}
    clock = clock_of(advisory, spans)
    placed = visible(user, Placement).filter(instance_id__in=now_open).order_by()
    statements = list(advisory.vex.select_related("release", "stated_by"))
    hit = Release.objects.filter(contents__component__matches__advisory=advisory, pk=OuterRef("pk"))
    releases = list(visible(user, Release).defer("notes").annotate(is_hit=Exists(hit)))
    affected = [release for release in releases if release.is_hit]
    lines = _lines(user, seen)
    return AdvisoryPage(
        advisory=advisory,
        clock=clock,
        chart_url=reverse("releases:burn_down", args=[pk]),
        lines=lines,
        more=max(0, len(now_open) - len(lines)),
        tenant_count=placed.values("tenant_id").distinct().count(),
        components=list(
            Component.objects.filter(matches__advisory=advisory).order_by("package", "version")[:20]
        ),
        affected=affected,
        fixes=_fixes(user, advisory, releases, statements),
        statements=statements,
        rollouts=list(visible(user, Rollout).filter(advisory=advisory).select_related("release")[:10]),
        asks=list(ClockAsk.objects.filter(advisory=advisory)[:20]),
        may_manage=scopes_of(user, Permission.MANAGE_RELEASES).everything,
        sees_everything=scopes_of(user, Permission.VIEW).everything,
    )


Span = tuple[int, datetime, datetime | None]


def clock_of(advisory: Advisory, spans: Sequence[Span]) -> Clock:
    """The clock from the times in which instances were exposed; the projection goes by the pace of the last hour."""
    now = timezone.now()
    exposed = {pk for pk, _, until in spans if until is None}
    safe = {pk for pk, _, _ in spans} - exposed
    ends = [until for _, _, until in spans if until is not None]
    recent = sum(end > now - PACE for end in ends)
    started = max(
        now - PACE, min((end for end in ends if end > now - PACE), default=now) - timedelta(minutes=1)
    )
    pace = recent / max(60.0, (now - started).total_seconds())
    projected = now + timedelta(seconds=len(exposed) / pace) if exposed and pace else None
    return Clock(
        advisory.known_at, advisory.deadline, len(exposed), len(safe),
        max(ends) if ends and not exposed else None, projected,
    )  # fmt: skip


def burn_down_of(user: Any, pk: int) -> dict[str, Any]:
    """The burn-down of what the reader sees; 404 for an advisory that is not there."""
    advisory = get_object_or_404(visible(user, Advisory), pk=pk)
    seen = visible(user, Exposure).filter(advisory=advisory).order_by("since")
    return burn_down(advisory, list(seen.values_list("instance_id", "since", "until")))


def burn_down(advisory: Advisory, spans: Sequence[Span]) -> dict[str, Any]:
    """The number of exposed instances over time, as the chart wants it; a step has two points."""
    steps = sorted(
        [(since, 1) for _, since, _ in spans] + [(until, -1) for _, _, until in spans if until is not None]
    )
    points: list[list[float]] = []
    level = 0
    for at, change in steps:
        second = at.timestamp()
        if points and points[-1][0] == second:
            level += change
            points[-1][1] = level
            continue
        if points:
            points.append([second - 0.001, level])
        level += change
        points.append([second, level])
    if points:
        points.append([max(points[-1][0] + 1, timezone.now().timestamp()), level])
    return {
        "series": [{"label": "Exposed", "unit": "", "points": points}],
        "marks": [{"t": advisory.deadline.timestamp(), "label": "Deadline"}]
        if timezone.now() > advisory.deadline
        else [],
    }


def _lines(user: Any, seen: QuerySet[Exposure]) -> list[Line]:
    rows = list(
        seen.filter(until__isnull=True).select_related("instance").order_by("since", "instance__name")[:LINES]
    )
    ids = [row.instance_id for row in rows]
    names: dict[int, list[str]] = {}
    placed = (
        visible(user, Placement)
        .filter(instance_id__in=ids, tenant__in=visible(user, Tenant))
        .order_by("tenant__name")
    )
    for instance_id, name in placed.values_list("instance_id", "tenant__name"):
        names.setdefault(instance_id, []).append(name)
    moves = latest_moves(ids)  # of instances that the reader sees
    others = shared_with_others(user, ids)
    for move in moves.values():
        move.why = FOR_ANOTHER if move.why and move.instance_id in others else move.why
    blocked = blockers_of(rows, moves, visible(user, Hold))
    return [
        Line(
            row,
            names.get(row.instance_id, [])[:2],
            max(0, len(names.get(row.instance_id, [])) - 2),
            blocked[row.pk],
            moves[row.instance_id].rollout_id if row.instance_id in moves else None,
        )
        for row in rows
    ]


def _fixes(
    user: Any, advisory: Advisory, releases: Sequence[Any], statements: Sequence[VexStatement]
) -> list[tuple[Release, str]]:
    """Releases with an SBOM that the advisory does not match, best first, with where to prepare a rollout to each."""
    if any(statement.release_id is None for statement in statements):
        return []
    not_affected = {statement.release_id for statement in statements}
    found = sorted(
        (
            release
            for release in releases
            if release.sbom_at
            and release.life not in UNDEPLOYABLE
            and (not release.is_hit or release.pk in not_affected)
        ),
        key=lambda r: (FIX_ORDER.index(r.life), r.kind != ReleaseKind.SECURITY, -r.pk),
    )
    may = holds(user, Permission.ROLL_OUT)
    url = reverse("releases:new_rollout")
    return [
        (r, f"{url}?{urlencode({'release': r.pk, 'advisory': advisory.pk})}" if may else "")
        for r in found[:5]
    ]
