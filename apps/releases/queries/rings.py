"""The rings' page; the ring of a tenant on its own page; what a rollout leaves alone."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.tenants import panels

from ..models import Exclusion, Ring, RingMember, Rollout
from ..rings import seats_in_words

#: Members of a ring that the page names; past that, how many more.
NAMED = 30


@dataclass(frozen=True, slots=True)
class RingRow:
    """A ring with the plans and the tenants that are named in it, of those the reader sees."""

    ring: Ring
    members: list[RingMember]
    more: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class RingsPage:
    """All that the page shows."""

    rings: list[RingRow]
    may_manage: bool


def rings_page(user: Any) -> RingsPage:
    """The rings in their order. Three queries, whatever their number."""
    counted = visible(user, RingMember).order_by().values_list("ring_id").annotate(number=Count("pk"))
    counts = dict(counted)
    shown: dict[int, list[RingMember]] = {}
    rows = visible(user, RingMember.objects.select_related("tenant", "plan"))
    for member in rows.order_by("ring__position", "plan__rank", "tenant__name")[: NAMED * 20]:
        shown.setdefault(member.ring_id, []).append(member)
    rings = list(visible(user, Ring))
    return RingsPage(
        rings=[
            RingRow(
                ring,
                shown.get(ring.pk, [])[:NAMED],
                max(0, counts.get(ring.pk, 0) - len(shown.get(ring.pk, [])[:NAMED])),
                ring is rings[-1],
            )
            for ring in rings
        ],
        may_manage=scopes_of(user, Permission.MANAGE_RELEASES).everything,
    )


def facts(user: Any, tenant_ids: Collection[int]) -> dict[int, list[panels.Fact]]:
    """The ring of each tenant, for its page; nothing while there are no rings. One query."""
    url = reverse("releases:rings")
    return {
        pk: [panels.Fact(f"ring {ring}", url, why)] for pk, (ring, why) in seats_in_words(tenant_ids).items()
    }


def exclusions_seen(user: Any, rollout: Rollout) -> list[Exclusion]:
    """What a rollout leaves alone, of that which the reader sees."""
    return list(visible(user, Exclusion).filter(Q(rollout=rollout)))
