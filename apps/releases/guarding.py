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

from collections.abc import Collection, Mapping, Sequence

from django.db import connection

from apps.core.arrays import among
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import TargetInfo

from .choices import UNDEPLOYABLE, TargetState
from .measures import Served, figure, scope_words, served_by, serves, targets_within, weigh
from .models import BlastPolicy, Release, RolloutTarget
from .rooms import Room, rooms_of
from .signing import complaint, why_unknown

#: What an objection of the blast radius begins with: such a refusal passes by itself, so a rollout asks again.
BLAST = "Blast radius: "
#: Number of the lock that requests share: this app's own.
LOCK = 7_320_010


def deployable_versions(request: Request) -> dict[int, Objection]:
    """A version known as a release that is a draft, was withdrawn or lacks a good signature is not deployed.

    Nor, where signatures are asked for, is one that nobody has made known: but for what goes back to what ran before.
    """
    if request.kind.name != "deploy" or not request.targets:
        return {}
    version = request.params.get("version", "")
    ids = {target.id for target in request.targets}
    if release := Release.objects.filter(version=version).first():
        why = why_not_deployable(release)
    else:
        why = why_unknown(version)
        ids -= _going_back(ids, version) if why else set()
    return {pk: Objection(why) for pk in ids} if why else {}


def _going_back(ids: Collection[int], version: str) -> set[int]:
    """Those that a rollout brings back to this version, which ran on them before."""
    rows = RolloutTarget.objects.filter(
        instance_id__in=among(ids), state=TargetState.RETURNING, from_version=version
    )
    return set(rows.order_by().values_list("instance_id", flat=True))


def why_not_deployable(release: Release) -> str:
    """Why a release may not be deployed now; empty when it may."""
    if release.life in UNDEPLOYABLE:
        return f"Version {release.version} is {release.get_life_display().lower()} and cannot be deployed."
    return complaint(release.version, release.artifacts.all())


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
    inside = {policy: targets_within(policy, request.targets) for policy in BlastPolicy.objects.all()}
    touched = [policy for policy, targets in inside.items() if targets]
    served = served_by(mine) if any(map(serves, touched)) else {}
    leave_out = mine if request.starting else frozenset[int]()
    for room in rooms_of(touched, leave_out=leave_out, started_only=request.starting):
        left = [target for target in inside[room.policy] if target.id not in found]
        found |= _beyond(room, left, served)
    return found


def _beyond(
    room: Room, targets: Sequence[TargetInfo], served: Mapping[int, Mapping[int, Served]]
) -> dict[int, Objection]:
    """Objections to those that find no room, in their order.

    Where nothing is disturbed one always goes, by itself, though it weigh more than the limit (a shared instance with
    more tenants than that, a customer who pays more): it could never be mended otherwise.
    """
    cells = {target.id: target.cell_id for target in targets if target.cell_id is not None}
    taken, used = set(room.taken), room.used
    found: dict[int, Objection] = {}
    for target in targets:
        if target.id in room.disturbed:
            continue
        units = weigh(room.policy, [target.id], cells=cells, served=served)
        more = {unit: weight for unit, weight in units.items() if unit not in taken}
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
