"""Guard rails of the engine: a version that may not be deployed, and the blast radius.

The blast radius is set-wise and holds under concurrency by two looks:

1. At the request, under a transaction lock that all requests share: what is open or unhealthy in a scope, and what
   is asked for, together stay within the limit, in instances, tenants, revenue or cells (`measures`). Two requests at once are told one after the other, so that the
   second sees the first.
2. At the start (`starting`): health may have become worse since, or a limit lower. The engine commits its claims
   before it asks, so of two workers that ask at once at least one sees the other's claims. Each counts itself last:
   both may be refused, never are both let through beyond the limit.

Targets that are changing or unhealthy already do not count anew: to mend something is always within the limit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import Q

from apps.fleet.choices import WRONG, Wanted
from apps.operations.choices import State
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import TargetInfo
from apps.operations.models import Operation
from apps.tenants.money import money

from .choices import UNDEPLOYABLE, Measure
from .measures import (
    Units,
    Weight,
    figure,
    instances_within,
    operations_within,
    scope_words,
    targets_within,
    total_of,
    units_of,
)
from .models import BlastPolicy, Release
from .signing import complaint

#: What an objection of the blast radius begins with: such a refusal passes by itself, so a rollout asks again.
BLAST = "Blast radius: "
#: Number of the lock that requests share: this app's own.
LOCK = 7_320_010


def deployable_versions(request: Request) -> dict[int, Objection]:
    """A version known as a release that is a draft, was withdrawn or lacks a good signature is not deployed."""
    if request.kind.name != "deploy" or not request.targets:
        return {}
    release = Release.objects.filter(version=request.params.get("version", "")).first()
    why = why_not_deployable(release) if release else ""
    return {target.id: Objection(why) for target in request.targets} if why else {}


def why_not_deployable(release: Release) -> str:
    """Why a release may not be deployed now; empty when it may."""
    if release.life in UNDEPLOYABLE:
        return f"Version {release.version} is {release.get_life_display().lower()} and cannot be deployed."
    return complaint(release.version, release.artifacts.all())


@dataclass(frozen=True, slots=True)
class Room:
    """How a scope stands: what is changing or unhealthy (`disturbed` instances, `taken` units) weighs at most `limit`."""

    policy: BlastPolicy
    limit: Weight
    disturbed: frozenset[int]
    taken: Units

    @property
    def used(self) -> Weight:
        return sum(self.taken.values())

    @property
    def left(self) -> Weight:
        return max(0, self.limit - self.used)

    @property
    def share(self) -> float:
        """How much of the limit is used, from 0 to 1 and beyond."""
        return float(self.used) / float(self.limit)

    @property
    def scope(self) -> str:
        words = scope_words(self.policy)
        return words[0].upper() + words[1:]

    @property
    def words(self) -> str:
        """“3 of 12 instances”."""
        of = figure(self.policy, self.limit)
        if self.policy.measure == Measure.REVENUE:
            return f"{money(Decimal(self.used), self.policy.currency)} of {of}"
        return f"{self.used:,} of {of}"

    @property
    def words_of_count(self) -> str:
        return figure(self.policy, self.policy.max_count or 0)


def limit_of(policy: BlastPolicy, total: Weight) -> Weight:
    """The limit in what the policy counts, at least 1: one that allows nothing would keep anything from being mended."""
    limits: list[Weight] = [] if policy.max_count is None else [policy.max_count]
    if policy.max_percent is not None:
        share = total * policy.max_percent
        limits.append(share / 100 if isinstance(share, Decimal) else share // 100)
    return max(1, min(limits))


def blast_radius(request: Request) -> dict[int, Objection]:
    """Objections to those targets that would bring more of a scope into change or trouble than its policy allows."""
    if not request.kind.is_changing or request.kind.target_type != "instance" or not request.targets:
        return {}
    if not BlastPolicy.objects.exists():
        return {}
    if not request.starting and connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    found: dict[int, Objection] = {}
    mine = {target.id for target in request.targets}
    for policy in BlastPolicy.objects.all():
        inside = targets_within(policy, request.targets)
        if inside:
            room = room_of(
                policy, leave_out=mine if request.starting else frozenset(), started_only=request.starting
            )
            found |= _beyond(room, [target for target in inside if target.id not in found])
    return found


def _beyond(room: Room, targets: Sequence[TargetInfo]) -> dict[int, Objection]:
    """Objections to those that find no room, in their order.

    Where nothing is disturbed one always goes, by itself, though it weigh more than the limit (a shared instance with
    more tenants than that, a customer who pays more): it could never be mended otherwise.
    """
    new = [target for target in targets if target.id not in room.disturbed]
    units = units_of(room.policy, [target.id for target in new])
    taken, used = set(room.taken), room.used
    found: dict[int, Objection] = {}
    for target in new:
        more = {unit: weight for unit, weight in units.get(target.id, {}).items() if unit not in taken}
        weight = sum(more.values())
        if weight and used and used + weight > room.limit:
            found[target.id] = Objection(_why_not(room))
        else:
            taken |= set(more)
            used += weight
    return found


def _why_not(room: Room) -> str:
    policy = room.policy
    if not room.left:
        return (
            f"{BLAST}{figure(policy, room.used)} of at most {figure(policy, room.limit)} of {scope_words(policy)} "
            "are changing or unhealthy already; try again when they are well."
        )
    return (
        f"{BLAST}at most {figure(policy, room.limit)} of {scope_words(policy)} may be changing or unhealthy at once, "
        f"and {figure(policy, room.left)} more would reach that."
    )


def room_of(
    policy: BlastPolicy, *, leave_out: Iterable[int] = frozenset(), started_only: bool = False
) -> Room:
    """How much room a policy leaves now. `started_only`: what only waits for its turn does not count.

    `leave_out` are the targets of the request itself, which has been claimed already when it starts. Unhealthy ones
    of them still count, as disturbed: they may be mended.
    """
    unhealthy = instances_within(policy).filter(wanted=Wanted.RUNNING, health__in=WRONG)
    changing = Operation.objects.filter(target_type="instance", is_changing=True).order_by()
    changing = (
        changing.filter(Q(state=State.RUNNING) | Q(state=State.PENDING, started_at__isnull=False))
        if started_only
        else changing.filter(state__in=[State.PENDING, State.RUNNING])
    )
    busy = set(operations_within(policy, changing).values_list("target_id", flat=True)) - set(leave_out)
    disturbed = frozenset(busy | set(unhealthy.values_list("pk", flat=True)))
    taken = {unit: weight for units in units_of(policy, disturbed).values() for unit, weight in units.items()}
    return Room(policy, limit_of(policy, total_of(policy)), disturbed, taken)


def rooms() -> Mapping[int, Room]:
    """All policies with the room they leave, by policy id."""
    return {policy.pk: room_of(policy) for policy in BlastPolicy.objects.all()}
