"""What a rollout would touch: its set, its waves, and what could break at worst. Changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.http import QueryDict

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.core.arrays import among
from apps.fleet.models import Instance, Placement
from apps.operations import selections
from apps.operations.services import MAX_TARGETS, Refused

from .crossing import taken
from .excluding import Excluded, why_excluded
from .models import Release, Ring
from .prices import revenue_of
from .rings import Mark, marks_of, rings_of, up_to
from .waves import Candidate, plan_waves


@dataclass(frozen=True, slots=True)
class Worst:
    """What fails at worst when everything that is changed at once breaks. Revenue a month, by currency."""

    instances: int = 0
    tenants: int = 0
    revenue: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """Waves of ids with their rings, the version each instance comes from, who was left out or is excluded, and why."""

    waves: list[list[int]]
    marks: list[Mark]
    from_versions: Mapping[int, str]
    left_out: Mapping[str, int]
    worst: Worst
    exclusions: Sequence[Excluded] = ()
    excluded: Mapping[int, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(map(len, self.waves))


def plan_rollout(
    *,
    release: Release,
    query: str,
    canary: str,
    growth: int,
    concurrency: int,
    actor: Any,
    up_to_ring: str = "",
    exclusions: Sequence[Excluded] = (),
) -> RolloutPlan:
    """The plan for what `query` selects, of those instances that `actor` may roll out to.

    Rings that come after `up_to_ring` are left out; what `exclusions` name is in no wave, and told.

    Raises Refused for a bad filter, for none left, or for too many. Queries do not grow with the instances.
    """
    rows, left_out = _candidates(release, query, actor)
    tenants, cells = tenants_of(rows), cells_of(rows)
    excluded = why_excluded(exclusions, tenants, cells)
    rings = rings_of(tenants, rows)
    last = up_to(up_to_ring)
    later = {pk for pk in rows if last is not None and rings[pk].position > last.position}
    if later:
        left_out["in a later ring"] = len(later)
    chosen = [pk for pk in rows if pk not in excluded and pk not in later]
    _check_size(chosen, left_out, excluded)
    revenue = revenue_of({tenant for served in tenants.values() for tenant in served})
    cheapest = sorted(chosen, key=lambda pk: (_worth(tenants.get(pk, ()), revenue), pk))
    waves = plan_waves(candidates_of(cheapest, tenants, cells, rings), canary=canary, growth=growth)
    at_once = min(concurrency, max(map(len, waves)))
    worst = worst_of(cheapest, tenants, revenue, at_once=at_once)
    marks = marks_of(waves, rings, release)
    return RolloutPlan(waves, marks, rows, left_out, worst, exclusions, excluded)


def _check_size(chosen: Sequence[int], left_out: Mapping[str, int], excluded: Mapping[int, str]) -> None:
    if not chosen:
        all_out = {**left_out, "excluded": len(excluded)} if excluded else left_out
        said = "; ".join(f"{number:,} {why}" for why, number in all_out.items())
        raise Refused(
            "There is no instance to roll out to" + (f": {said}." if said else "; the filter selects none.")
        )
    if len(chosen) > MAX_TARGETS:
        raise Refused(
            f"{len(chosen):,} instances are more than the {MAX_TARGETS:,} of one rollout; narrow the filter."
        )


def candidates_of(
    ids: Sequence[int],
    tenants: Mapping[int, Sequence[int]],
    cells: Mapping[int, int],
    rings: Mapping[int, Ring],
) -> list[Candidate]:
    """What waves are planned from, in the order given."""
    return [
        Candidate(pk, frozenset(tenants.get(pk, ())), cells[pk], rings[pk].position if rings else 0)
        for pk in ids
    ]


def _candidates(release: Release, query: str, actor: Any) -> tuple[dict[int, str], dict[str, int]]:
    """Version by id of those that take part, and how many do not, by reason."""
    try:
        chosen = selections.select("instance", actor, QueryDict(query))
    except ValueError as error:
        raise Refused(str(error)) from error
    seen = dict(
        Instance.objects.filter(pk__in=chosen.order_by().values("pk"))
        .order_by()
        .values_list("pk", "wanted_version")
    )
    may = visible(actor, Instance.objects.filter(pk__in=among(seen)), Permission.ROLL_OUT)
    may = visible(actor, may, Permission.DEPLOY)
    allowed = set(may.values_list("pk", flat=True))
    elsewhere = set(taken().values_list("instance_id", flat=True))
    left_out: dict[str, int] = {}
    rows: dict[int, str] = {}
    for pk, version in seen.items():
        why = (
            "where you may not roll out" if pk not in allowed
            else f"on {release.version} already" if version == release.version
            else "in a rollout that runs" if pk in elsewhere
            else ""
        )  # fmt: skip
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            rows[pk] = version
    return rows, left_out


def tenants_of(instance_ids: Sequence[int] | Mapping[int, Any]) -> dict[int, list[int]]:
    """The tenants on each instance, by instance id."""
    found: dict[int, list[int]] = {}
    rows = Placement.objects.filter(instance_id__in=among(instance_ids)).order_by()
    for instance_id, tenant_id in rows.values_list("instance_id", "tenant_id"):
        found.setdefault(instance_id, []).append(tenant_id)
    return found


def cells_of(instance_ids: Sequence[int] | Mapping[int, Any]) -> dict[int, int]:
    """The cell of each instance, by instance id."""
    rows = Instance.objects.filter(pk__in=among(instance_ids)).order_by()
    return dict(rows.values_list("pk", "cell_id"))


def _worth(tenants: Sequence[int], revenue: Mapping[int, Mapping[str, Decimal]]) -> Decimal:
    """For the order alone: who pays least comes first, currencies taken as equal."""
    return sum((price for tenant in tenants for price in revenue.get(tenant, {}).values()), Decimal(0))


def worst_of(
    ids: Sequence[int],
    tenants: Mapping[int, Sequence[int]],
    revenue: Mapping[int, Mapping[str, Decimal]],
    *,
    at_once: int,
) -> Worst:
    """What breaks when the `at_once` dearest of these instances break together."""
    dearest = sorted(ids, key=lambda pk: _worth(tenants.get(pk, ()), revenue))[-at_once:] if at_once else []
    served = {tenant for pk in dearest for tenant in tenants.get(pk, ())}
    total: dict[str, Decimal] = {}
    for tenant in served:
        for currency, price in revenue.get(tenant, {}).items():
            total[currency] = total.get(currency, Decimal(0)) + price
    return Worst(len(dearest), len(served), total)
