"""Guard rails of the engine: a version that may not be deployed, and the blast radius.

The blast radius is set-wise and holds under concurrency by two looks:

1. At the request, under a transaction lock that all requests share: what is open or unhealthy in a scope, and what
   is asked for, together stay within the limit. Two requests at once are told one after the other, so that the
   second sees the first.
2. At the start (`starting`): health may have become worse since, or a limit lower. The engine commits its claims
   before it asks, so of two workers that ask at once at least one sees the other's claims. Each counts itself last:
   both may be refused, never are both let through beyond the limit.

Targets that are changing or unhealthy already do not count anew: to mend something is always within the limit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q

from apps.fleet.choices import WRONG, Wanted
from apps.fleet.models import Instance
from apps.operations.choices import State
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import TargetInfo
from apps.operations.models import Operation

from .choices import UNDEPLOYABLE, PolicyScope
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
    """How a scope stands: at most `limit` of its instances changing or unhealthy at once; `disturbed` are."""

    policy: BlastPolicy
    limit: int
    disturbed: frozenset[int]

    @property
    def left(self) -> int:
        return max(0, self.limit - len(self.disturbed))


def limit_of(policy: BlastPolicy, total: int) -> int:
    """The limit in instances, at least 1: a policy that allows nothing would keep anything from being mended."""
    limits = [] if policy.max_count is None else [policy.max_count]
    if policy.max_percent is not None:
        limits.append(total * policy.max_percent // 100)
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
        inside = [target for target in request.targets if _is_inside(policy, target)]
        if inside:
            room = room_of(
                policy, leave_out=mine if request.starting else frozenset(), started_only=request.starting
            )
            found |= _beyond(room, [target for target in inside if target.id not in found])
    return found


def _is_inside(policy: BlastPolicy, target: TargetInfo) -> bool:
    match policy.scope:
        case PolicyScope.ACCOUNT:
            return target.account_id == policy.object_id
        case PolicyScope.CELL:
            return target.cell_id == policy.object_id
        case _:
            return True


def _beyond(room: Room, targets: Sequence[TargetInfo]) -> dict[int, Objection]:
    new = [target for target in targets if target.id not in room.disturbed]
    why = (
        f"{BLAST}{len(room.disturbed):,} of at most {room.limit:,} instances of {_scope(room.policy)} "
        "are changing or unhealthy already; try again when they are well."
    )
    if room.left and len(new) > room.left:
        why = (
            f"{BLAST}at most {room.limit:,} instances of {_scope(room.policy)} may be changing or unhealthy at once, "
            f"and {room.left:,} more would reach that."
        )
    return {target.id: Objection(why) for target in new[room.left :]}


def _scope(policy: BlastPolicy) -> str:
    return "the fleet" if policy.scope == PolicyScope.FLEET else f"{policy.scope} {policy.label}"


def room_of(
    policy: BlastPolicy, *, leave_out: Iterable[int] = frozenset(), started_only: bool = False
) -> Room:
    """How much room a policy leaves now. `started_only`: what only waits for its turn does not count.

    `leave_out` are the targets of the request itself, which has been claimed already when it starts. Unhealthy ones
    of them still count, as disturbed: they may be mended.
    """
    within: Q = {
        PolicyScope.ACCOUNT: Q(cell__region__account_id=policy.object_id),
        PolicyScope.CELL: Q(cell_id=policy.object_id),
    }.get(PolicyScope(policy.scope), Q())
    instances = Instance.objects.filter(within).order_by()
    unhealthy = instances.filter(wanted=Wanted.RUNNING, health__in=WRONG).values_list("pk", flat=True)
    changing = Operation.objects.filter(target_type="instance", is_changing=True).order_by()
    changing = (
        changing.filter(Q(state=State.RUNNING) | Q(state=State.PENDING, started_at__isnull=False))
        if started_only
        else changing.filter(state__in=[State.PENDING, State.RUNNING])
    )
    changing = {
        PolicyScope.ACCOUNT: changing.filter(account_id=policy.object_id),
        PolicyScope.CELL: changing.filter(cell_id=policy.object_id),
    }.get(PolicyScope(policy.scope), changing)
    busy = set(changing.values_list("target_id", flat=True)) - set(leave_out)
    return Room(policy, limit_of(policy, instances.count()), frozenset(busy | set(unhealthy)))


def rooms() -> Mapping[int, Room]:
    """All policies with the room they leave, by policy id."""
    return {policy.pk: room_of(policy) for policy in BlastPolicy.objects.all()}
