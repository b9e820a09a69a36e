"""What a rollout is told to leave alone: tenants, cells, instances, by name, each with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from apps.access.scoping import visible
from apps.fleet.models import Cell, Instance, Placement
from apps.operations.services import MIN_REASON, Refused
from apps.tenants.models import Tenant

from .choices import Excludable
from .models import Exclusion, Rollout

#: What can be named, in which model and by which column.
NAMED: dict[Excludable, tuple[Any, str]] = {
    Excludable.TENANT: (Tenant, "key"),
    Excludable.CELL: (Cell, "name"),
    Excludable.INSTANCE: (Instance, "name"),
}
MOST = 100


@dataclass(frozen=True, slots=True)
class Excluded:
    """One thing to leave alone."""

    what: Excludable
    object_id: int
    label: str
    reason: str

    @property
    def why(self) -> str:
        return f"excluded ({self.what.label.lower()} {self.label}): {self.reason}"


def read_exclusions(text: str, *, actor: Any) -> list[Excluded]:
    """What a person wrote, a line each: `name: why`, or `tenant name: why` where the name alone is not plain.

    Raises Refused for a line that names nothing that `actor` sees, several things, or no reason.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST:
        raise Refused(f"{len(lines):,} lines are more than the {MOST} of one rollout; narrow the filter.")
    found: dict[tuple[str, int], Excluded] = {}
    for line in lines:
        one = _read(line, actor)
        found.setdefault((one.what, one.object_id), one)
    return list(found.values())


def _read(line: str, actor: Any) -> Excluded:
    named, _, reason = (part.strip() for part in line.partition(":"))
    if len(reason) < MIN_REASON:
        raise Refused(f"“{line[:80]}”: write what is left alone, a colon, and why.")
    word, _, rest = named.partition(" ")
    kinds = [Excludable(word.lower())] if rest and word.lower() in Excludable.values else list(NAMED)
    name = rest.strip() if len(kinds) == 1 else named
    hits = [(kind, pk) for kind in kinds if (pk := _find(kind, name, actor))]
    if not hits:
        raise Refused(f"There is no tenant, cell or instance “{name[:80]}” that you can see.")
    if len(hits) > 1:
        words = " and ".join(f"a {kind.label.lower()}" for kind, _ in hits)
        raise Refused(f"“{name}” is {words}; write which: “{hits[0][0]} {name}: why”.")
    return Excluded(hits[0][0], hits[0][1], name, reason[:200])


def _find(kind: Excludable, name: str, actor: Any) -> int | None:
    model, column = NAMED[kind]
    pk: int | None = visible(actor, model).filter(**{column: name}).values_list("pk", flat=True).first()
    return pk


def why_excluded(
    exclusions: Sequence[Excluded], tenants: Mapping[int, Sequence[int]], cells: Mapping[int, int]
) -> dict[int, str]:
    """Why each of these instances (the keys of `cells`) is left alone, for those that are. Pure."""
    by_object = {(one.what, one.object_id): one.why for one in exclusions}
    found: dict[int, str] = {}
    for pk, cell in cells.items():
        own = [(Excludable.INSTANCE, pk), (Excludable.CELL, cell)]
        keys = own + [(Excludable.TENANT, tenant) for tenant in tenants.get(pk, ())]
        if why := next((by_object[key] for key in keys if key in by_object), ""):
            found[pk] = why
    return found


def excluded_instances(rollout: Rollout) -> Q:
    """Of instances, those that a prepared rollout was told to leave alone."""
    named = {
        what: rollout.exclusions.filter(what=what).order_by().values("object_id")
        for what in Excludable.values
    }
    placed = Placement.objects.filter(tenant_id__in=named[Excludable.TENANT]).order_by()
    own = Q(pk__in=named[Excludable.INSTANCE]) | Q(cell_id__in=named[Excludable.CELL])
    return own | Q(pk__in=placed.values("instance_id"))


def write_exclusions(rollout: Rollout, exclusions: Sequence[Excluded], whys: Mapping[int, str]) -> None:
    """Keep them with the rollout; the caller holds a transaction and acts."""
    Exclusion.objects.bulk_create(
        [
            Exclusion(
                rollout=rollout, what=one.what, object_id=one.object_id, label=one.label, reason=one.reason,
                instances=sum(why == one.why for why in whys.values()),
            )
            for one in exclusions
        ]
    )  # fmt: skip
