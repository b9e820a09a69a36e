"""Rollouts: the list, one of them live, its report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.shortcuts import get_object_or_404
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import allowed, scopes_of, visible
from apps.core.enriching import EnrichedQuerySet
from apps.fleet.choices import WRONG
from apps.fleet.models import Placement
from apps.operations.models import Operation

from ..choices import BEHIND, MOVING, TOUCHED, UNENDED, RolloutState, TargetState, WaveState
from ..customers import ANNOUNCED
from ..gates import NAMING
from ..models import CustomerNotice, Exclusion, Freeze, HotPatch, Rollout, RolloutTarget, Wave
from ..planning import Worst, tenants_of, worst_of
from ..prices import revenue_of
from ..returning import CAN_RETARGET, CAN_RETURN, LETS_RETURN
from ..rollouts import LABELS, orders_of
from ..scheduling import TAKES_IN, newcomers, why_no_newcomers
from ..standing import frozen_until, held_instances, holds_kept
from .neighbours import FOR_ANOTHER, shared_with_others
from .rings import exclusions_seen

#: One square for each instance up to so many in sight; past that, bars.
SQUARES = 2_000
#: Instances that are told singly: what failed, what waits for something.
EXCEPTIONS = 50
#: Target state → the state by which pages draw it, in the order of bars.
DRAWN = {
    TargetState.DONE: "done", TargetState.RETURNED: "returned", TargetState.CHANGING: "changing",
    TargetState.RETURNING: "returning", TargetState.FAILED: "failed", TargetState.STAYED: "stayed",
    TargetState.HELD: "held", TargetState.SKIPPED: "skipped", TargetState.EXCLUDED: "excluded", TargetState.WAITING: "waiting",
}  # fmt: skip


def listed_rollouts(user: Any) -> QuerySet[Rollout]:
    """The rollouts a reader sees; each fetched row has `counts`: its visible instances by state."""
    rows: EnrichedQuerySet[Rollout] = EnrichedQuerySet(Rollout)

    def enrich(user: Any, found: Sequence[Any]) -> None:
        counts: dict[int, dict[str, int]] = {}
        targets = visible(user, RolloutTarget).filter(rollout__in=[r.pk for r in found]).order_by()
        for pk, state, number in targets.values_list("rollout_id", "state").annotate(number=Count("pk")):
            counts.setdefault(pk, {})[state] = number
        for rollout in found:
            rollout.counts = counts.get(rollout.pk, {})

    return visible(user, rows.select_related("release", "started_by").enriched_by(partial(enrich, user)))


class Dot(NamedTuple):
    """One instance of a wave."""

    id: int
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class WaveRow:
    """A wave as the page draws it: squares, or a bar of counts; only of what the reader sees."""

    wave: Wave
    dots: Sequence[Dot]
    shares: Sequence[tuple[str, str, int]]
    total: int
    is_current: bool
    can_return: bool

    @property
    def number(self) -> int:
        return self.wave.number

    @property
    def done(self) -> int:
        return sum(number for state, _, number in self.shares if state in ("done", "returned"))


@dataclass(frozen=True, slots=True)
class RolloutPage:
    """All that the live page of a rollout shows."""

    rollout: Rollout
    waves: list[WaveRow]
    counts: Mapping[str, int]
    total: int
    exceptions: list[RolloutTarget]
    orders: list[tuple[str, str]]
    worst: Worst
    squares: bool
    held: list[str]
    frozen: list[str]
    newcomers: int
    no_newcomers: str
    hot_patch: HotPatch | None
    may_steer: bool
    notices: Mapping[str, int]
    exclusions: list[Exclusion]
    sees_all: bool

    @property
    def why(self) -> str:
        """Why it is in this state; it may name any of its instances, so it is for who sees them all."""
        return self.rollout.why if self.sees_all else ""

    @property
    def note(self) -> str:
        """What it waits for, for who sees all of it."""
        return self.rollout.note if self.sees_all else ""

    @property
    def can_send(self) -> bool:
        return self.may_steer and self.rollout.state in ANNOUNCED

    @property
    def is_live(self) -> bool:
        is_moving = any(self.counts.get(state) for state in MOVING)
        return (
            self.rollout.state in UNENDED
            or is_moving
            or any(row.wave.state == WaveState.RETURNING for row in self.waves)
        )

    @property
    def can_retarget(self) -> bool:
        return self.may_steer and self.rollout.state in CAN_RETARGET

    @property
    def done(self) -> int:
        return self.counts.get(TargetState.DONE, 0)

    @property
    def shares(self) -> list[tuple[str, str, int]]:
        return shares_of(self.counts)


def shares_of(counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(drawn state, word, number) of what there is."""
    return [
        (drawn, TargetState(state).label.lower(), counts[state])
        for state, drawn in DRAWN.items()
        if counts.get(state)
    ]


def rollout_page(user: Any, pk: int) -> RolloutPage:
    """One rollout, as much of it as the reader sees; 404 for one they see nothing of."""
    rows = Rollout.objects.select_related(
        "release", "started_by", "advisory", "hot_patch__tenant", "metric_source"
    )
    rollout = get_object_or_404(visible(user, rows), pk=pk)
    targets = visible(user, RolloutTarget).filter(rollout=rollout)
    by_wave: dict[int, Counter[str]] = {}
    for wave, state, number in targets.order_by().values_list("wave", "state").annotate(number=Count("pk")):
        by_wave.setdefault(wave, Counter())[state] = number
    counts: Counter[str] = sum(by_wave.values(), Counter())
    total = counts.total()
    squares = total <= SQUARES
    dots = _dots(targets) if squares else {}
    waves = list(rollout.waves.select_related("passed_by"))
    current = (
        next((w.number for w in waves if w.state not in BEHIND), 0)
        if rollout.state != RolloutState.DRAFT
        else 0
    )
    is_draft = rollout.state == RolloutState.DRAFT
    may_steer = allowed(user, Permission.ROLL_OUT, rollout)
    sees_all = may_steer or sees_all_of(user, rollout)
    for wave_shown in waves:
        wave_shown.reasons = reasons_of(wave_shown, sees_all=sees_all)
    ids = _ids(targets, dots if squares else None) if is_draft else []
    return RolloutPage(
        rollout=rollout,
        waves=[
            WaveRow(
                w,
                dots.get(w.number, ()),
                shares_of(by_wave.get(w.number, {})),
                by_wave.get(w.number, Counter()).total(),
                w.number == current,
                may_steer and rollout.state in LETS_RETURN and w.state in CAN_RETURN,
            )
            for w in waves
        ],
        counts=counts,
        total=total,
        exceptions=_exceptions(user, targets),
        orders=[(name, LABELS[name]) for name in orders_of(rollout, waves)] if may_steer else [],
        worst=_worst(rollout, ids, waves) if is_draft else Worst(),
        squares=squares,
        held=_held(user, rollout, ids) if is_draft else [],
        frozen=_frozen(user, rollout) if rollout.state in UNENDED else [],
        newcomers=newcomers(rollout, user).count() if rollout.state in TAKES_IN else 0,
        no_newcomers=why_no_newcomers(rollout),
        hot_patch=getattr(rollout, "hot_patch", None),
        may_steer=may_steer,
        notices=_notices(user, rollout),
        exclusions=exclusions_seen(user, rollout),
        sees_all=sees_all,
    )


def sees_all_of(user: Any, rollout: Rollout) -> bool:
    """Whether a reader sees each instance of a rollout. At most one query."""
    if scopes_of(user, Permission.VIEW).everything:
        return True
    seen = visible(user, RolloutTarget).filter(rollout=rollout).order_by()
    return not RolloutTarget.objects.filter(rollout=rollout).exclude(pk__in=seen.values("pk")).exists()


def reasons_of(wave: Wave, *, sees_all: bool) -> list[list[str]]:
    """What the gate of a wave looked at; without names for who does not see all of its rollout."""
    if sees_all:
        return list(wave.reasons)
    found = []
    for verdict, text in wave.reasons:
        naming = next((start for start in NAMING if text.startswith(start)), "")
        found.append([verdict, f"{naming}instances, not all of which you see." if naming else text])
    return found


def _frozen(user: Any, rollout: Rollout) -> list[str]:
    """The freezes that concern it, of everywhere and of accounts that the reader sees."""
    seen = visible(user, Freeze).order_by().values("pk")
    rows = Freeze.objects.filter(Q(account__isnull=True) | Q(pk__in=seen))
    return sorted(set(frozen_until(rollout.release, rows).values()))


def _notices(user: Any, rollout: Rollout) -> dict[str, int]:
    """How many customer notices of the tenants that the reader sees are in which state."""
    rows = visible(user, CustomerNotice).filter(rollout=rollout).order_by()
    return dict(rows.values_list("state").annotate(number=Count("pk")))


def _dots(targets: QuerySet[RolloutTarget]) -> dict[int, list[Dot]]:
    found: dict[int, list[Dot]] = {}
    rows = targets.order_by("wave", "position").values_list(
        "wave", "instance_id", "instance__name", "state", "instance__health"
    )
    for wave, pk, name, state, health in rows:
        shown = (
            health
            if state in TOUCHED and state == TargetState.DONE and health in WRONG
            else DRAWN[TargetState(state)]
        )
        found.setdefault(wave, []).append(Dot(pk, name, shown))
    return found


def _exceptions(user: Any, targets: QuerySet[RolloutTarget]) -> list[RolloutTarget]:
    """What a person may have to look at: failed, held, skipped, or refused for a reason.

    Each with `operation_url`: where the operation behind it is, for who sees it.
    """
    odd = [
        TargetState.FAILED,
        TargetState.HELD,
        TargetState.SKIPPED,
        TargetState.STAYED,
        TargetState.EXCLUDED,
    ]
    rows = targets.filter(state__in=odd) | targets.filter(state=TargetState.WAITING).exclude(why="")
    behind = visible(user, Operation).filter(
        pk=Coalesce(OuterRef("undo_operation_id"), OuterRef("operation_id"))
    )
    rows = rows.annotate(seen_operation=Subquery(behind.order_by().values("pk")[:1]))
    found: list[Any] = list(
        rows.select_related("instance", "rollout").order_by("wave", "position")[:EXCEPTIONS]
    )
    others = shared_with_others(user, [target.instance_id for target in found])
    for target in found:
        if target.why and target.instance_id in others:
            target.why = FOR_ANOTHER
        pk = target.seen_operation
        target.operation_url = reverse("operations:operation", args=[pk]) if pk else ""
    return found


def _ids(targets: QuerySet[RolloutTarget], dots: Mapping[int, Sequence[Dot]] | None) -> list[int]:
    """The instances, from what is drawn where each is drawn."""
    if dots is None:
        return list(targets.values_list("instance_id", flat=True))
    return [dot.id for some in dots.values() for dot in some]


def _worst(rollout: Rollout, ids: Sequence[int], waves: Sequence[Wave]) -> Worst:
    tenants = tenants_of(ids)
    largest = max((wave.size for wave in waves), default=0)
    revenue = revenue_of({tenant for served in tenants.values() for tenant in served})
    return worst_of(ids, tenants, revenue, at_once=min(rollout.concurrency, largest))


def _held(user: Any, rollout: Rollout, ids: Sequence[int]) -> list[str]:
    held = held_instances(ids, rollout.release.version, visible(user, holds_kept(rollout.query)))
    return sorted(set(held.values()))[:10]


def _wave_told(wave: Wave, size: int, reasons: list[list[str]]) -> dict[str, Any]:
    return {
        "number": wave.number,
        "ring": wave.ring,
        "size": size,
        "state": wave.state,
        "started_at": wave.started_at,
        "finished_at": wave.finished_at,
        "verdict": wave.verdict,
        "reasons": reasons,
    }


def report(user: Any, pk: int) -> dict[str, Any]:
    """The finished (or running) rollout as evidence: times, per instance and tenants, gates, exceptions."""
    rollout = get_object_or_404(
        visible(user, Rollout.objects.select_related("release", "started_by", "advisory")), pk=pk
    )
    targets = visible(user, RolloutTarget).filter(rollout=rollout).select_related("instance")
    tenants: dict[int, list[str]] = {}
    placed = (
        visible(user, Placement)
        .filter(instance_id__in=targets.order_by().values("instance_id"))
        .order_by("tenant__key")
    )
    for instance_id, key in placed.values_list("instance_id", "tenant__key"):
        tenants.setdefault(instance_id, []).append(key)
    ended = dict(
        visible(user, Operation)
        .filter(pk__in=targets.order_by().values("operation_id"))
        .values_list("pk", "finished_at")
    )
    sees_all = sees_all_of(user, rollout)
    others = shared_with_others(user, [target.instance_id for target in targets])
    sizes = Counter(targets.order_by().values_list("wave", flat=True))
    return {
        "rollout": rollout.pk,
        "release": rollout.release.version,
        "advisory": rollout.advisory.osv_id if rollout.advisory else None,
        "reason": rollout.reason,
        "state": rollout.state,
        "why": rollout.why if sees_all else "",
        "started_by": str(rollout.started_by or ""),
        "started_at": rollout.started_at,
        "finished_at": rollout.finished_at,
        "waves": [
            _wave_told(w, sizes[w.number], reasons_of(w, sees_all=sees_all)) for w in rollout.waves.all()
        ],
        "up_to_ring": rollout.up_to_ring or None,
        "exclusions": [
            {"what": e.what, "name": e.label, "reason": e.reason, "instances": e.instances}
            for e in exclusions_seen(user, rollout)
        ],
        "instances": [
            {
                "instance": t.instance.name,
                "tenants": tenants.get(t.instance_id, []),
                "wave": t.wave,
                "from": t.from_version,
                "state": t.state,
                "why": FOR_ANOTHER if t.why and t.instance_id in others else t.why,
                "operation": t.operation_id,
                "ended_at": ended.get(t.operation_id or 0),
            }
            for t in targets
        ],
    }
