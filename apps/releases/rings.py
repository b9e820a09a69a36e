"""Which ring a tenant and an instance are in, and what changes rings.

A tenant's own entry wins over its plan's; who has neither is in the last ring. A shared instance is in the latest
ring of its tenants: nobody on it gets anything before their turn.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.utils import timezone

from apps.access.choices import Permission
from apps.core.arrays import among
from apps.core.choices import Tone
from apps.core.compiled import compiled
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet.models import Placement
from apps.operations.services import Refused
from apps.tenants.models import Plan, Tenant

from .choices import ReleaseKind
from .models import Release, Ring, RingMember
from .prices import open_subscriptions
from .services import given_reason, require_everywhere

#: More would leave each too few of the waves that a rollout has.
MOST_RINGS = 12
#: By what a tenant is in its ring.
OWN, BY_PLAN, IN_NONE = "by its own entry", "by its plan, {}", "named in none: the last"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a wave keeps of its ring: its name, and how long it rests before the next ring begins."""

    ring: str = ""
    rest_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Seat:
    """The ring of a tenant, and by what."""

    ring: Ring
    why: str


def seats_of(tenant_ids: Collection[int]) -> dict[int, Seat]:
    """The ring of each tenant; empty while there are no rings. Three queries at most."""
    rings = list(Ring.objects.all())
    if not rings or not tenant_ids:
        return {}
    by_id = {ring.pk: ring for ring in rings}
    ids = among(tenant_ids)
    members = RingMember.objects.filter(tenant_id__in=ids) | RingMember.objects.filter(plan__isnull=False)
    own: dict[int, Ring] = {}
    by_plan: dict[int, Ring] = {}
    for member in members.order_by():
        if member.tenant_id is None:
            by_plan[member.plan_id or 0] = by_id[member.ring_id]
        else:
            own[member.tenant_id] = by_id[member.ring_id]
    found = {pk: Seat(own[pk], OWN) if pk in own else Seat(rings[-1], IN_NONE) for pk in tenant_ids}  # fmt: skip
    if by_plan:
        bought = open_subscriptions().filter(tenant_id__in=ids, plan_id__in=list(by_plan))
        for tenant_id, plan_id, name in bought.values_list("tenant_id", "plan_id", "plan__name"):
            if tenant_id not in own:
                found[tenant_id] = Seat(by_plan[plan_id], BY_PLAN.format(name))
    return found


def seats_in_words(tenant_ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """The name of each tenant's ring and by what it is in it, as `seats_of` finds them; empty without rings. One query."""
    found: dict[int, tuple[str, str]] = {}
    for pk, own, by_plan, last in _seated(ids=list(tenant_ids), today=timezone.localdate()):
        if own:
            found[pk] = (own, OWN)
        elif by_plan:
            found[pk] = (by_plan["ring"], BY_PLAN.format(by_plan["plan"]))
        elif last:
            found[pk] = (last, IN_NONE)
    return found


@compiled
def _seated(*, ids: Any, today: Any) -> QuerySet[Tenant, Any]:
    bought = open_subscriptions(today).filter(tenant_id=OuterRef("pk"), plan__ring_entry__isnull=False)
    told = JSONObject(ring="plan__ring_entry__ring__name", plan="plan__name")
    return (
        Tenant.objects.filter(pk__in=among(ids))
        .order_by()
        .annotate(
            by_plan=Subquery(bought.values(told=told)[:1]),
            last_ring=Subquery(Ring.objects.order_by("-position").values("name")[:1]),
        )
        .values_list("pk", "ring_entry__ring__name", "by_plan", "last_ring")
    )


def rings_of(tenants: Mapping[int, Collection[int]], instance_ids: Collection[int]) -> dict[int, Ring]:
    """The ring of each instance, by the `tenants` it serves: their latest; of one that serves nobody: the last."""
    rings = list(Ring.objects.all())
    if not rings:
        return {}
    seats = seats_of({pk for served in tenants.values() for pk in served})
    return {
        pk: max((seats[t].ring for t in tenants.get(pk, ())), key=_position, default=rings[-1])
        for pk in instance_ids
    }


def _position(ring: Ring) -> int:
    return ring.position


def marks_of(waves: Collection[Collection[int]], rings: Mapping[int, Ring], release: Release) -> list[Mark]:
    """What each wave keeps of its ring; the last wave of a ring rests, where another ring follows."""
    if not rings:
        return [Mark() for _ in waves]
    in_turn = [rings[next(iter(wave))] for wave in waves]
    is_security = release.kind == ReleaseKind.SECURITY
    marks = []
    for ring, following in zip(in_turn, [*in_turn[1:], None], strict=True):
        rests = following not in (None, ring) and not (is_security and ring.lets_security_through)
        marks.append(Mark(ring.name, ring.rest_seconds if rests else 0))
    return marks


def up_to(name: str) -> Ring | None:
    """The last ring that a rollout goes to; None for all. Raises Refused where there is no such ring (any more)."""
    if not name:
        return None
    ring = Ring.objects.filter(name=name).first()
    if ring is None:
        raise Refused(f"There is no ring “{name}” (any more); choose another, or none for all.")
    return ring


def in_later_rings(last: Ring) -> Q:
    """Of instances, those in a ring after `last`, as `rings_of` finds them."""
    after = Exists(Ring.objects.filter(position__gt=last.position))
    bought = open_subscriptions().filter(tenant_id=OuterRef("pk"), plan__ring_entry__isnull=False)
    position = Coalesce(
        "ring_entry__ring__position", Subquery(bought.values("plan__ring_entry__ring__position")[:1])
    )
    seated = Tenant.objects.order_by().annotate(seat=position)
    # Who is named in none is in the last ring, and so is an instance that serves nobody.
    later = seated.filter(Q(seat__gt=last.position) | Q(after, seat__isnull=True))
    placed = Placement.objects.order_by()
    is_late = Exists(placed.filter(instance_id=OuterRef("pk"), tenant__in=later.values("pk")))
    return Q(is_late) | (Q(after) & ~Q(Exists(placed.filter(instance_id=OuterRef("pk")))))


# --- Changing them -------------------------------------------------------------------------------


def save_ring(ring: Ring, *, actor: Any, reason: str) -> Ring:
    """Add or change a ring; those from its position on move behind it. Prepared rollouts stay as they were planned."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    ring.full_clean(exclude=["position"])
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        others = list(Ring.objects.select_for_update().exclude(pk=ring.pk))
        if len(others) >= MOST_RINGS:
            raise Refused(f"There are {MOST_RINGS} rings already; that many are the most.")
        at = min(max(1, ring.position or len(others) + 1), len(others) + 1)
        is_new = ring.pk is None
        _renumber([*others[: at - 1], ring, *others[at - 1 :]], changed=ring)
        record([event("ring.saved", f"Ring {ring} was {'added' if is_new else 'changed'}", tone=Tone.WARN)])
    return ring


def _renumber(rings: list[Ring], changed: Ring | None = None) -> None:
    """Write the order; rows that stand where they stood are left alone, but for the one that was `changed`."""
    for position, ring in enumerate(rings, 1):
        if ring is changed or ring.position != position:
            ring.position = position
            ring.save()


def remove_ring(ring: Ring, *, actor: Any, reason: str) -> None:
    """Take a ring away. Raises Refused while anybody is named in it: they would get new things at another time, unseen."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        all_rings = list(Ring.objects.select_for_update())
        if members := RingMember.objects.filter(ring=ring).count():
            raise Refused(f"{members:,} tenants or plans are in ring {ring}; put them in another first.")
        title = f"Ring {ring} was taken away"
        Ring.objects.filter(pk=ring.pk).delete()
        _renumber([one for one in all_rings if one.pk != ring.pk])
        record([event("ring.removed", title, tone=Tone.WARN)])


def put_in_ring(
    ring: Ring | None, *, actor: Any, reason: str, tenant: Tenant | None = None, plan: Plan | None = None
) -> None:
    """Put a tenant, or all tenants of a plan, in a ring, whichever it was in; None: in none of its own any more."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    who = tenant or plan
    if (tenant is None) == (plan is None):
        raise Refused("Name a tenant or a plan, one of them.")
    key = {"tenant": tenant} if tenant else {"plan": plan}
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        # One at a time: two at once for one tenant would both find none.
        list(Ring.objects.select_for_update())
        member = RingMember.objects.filter(**key).first()
        if ring is None:
            if member is None:
                raise Refused(f"{who} is in no ring of its own.")
            member.delete()
        else:
            member = member or RingMember(**key)
            member.ring = ring
            member.full_clean()
            member.save()
        what = f"is in ring {ring}" if ring else "is in no ring of its own any more"
        title = f"{'' if tenant else 'Plan '}{who} {what}"
        record([event("ring.member", title, tone=Tone.WARN, tenant_id=tenant.pk if tenant else None)])
