"""Hot patches in force, told on the overview and on the pages of instances and tenants: they run off the main line."""

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from apps.access.scoped import Reader, scoped
from apps.access.scoping import visible
from apps.core.choices import Tone
from apps.core.compiled import compiled, one_of
from apps.core.slots import Notice
from apps.fleet import notices as of_fleet
from apps.fleet.models import Placement
from apps.tenants import panels

from .models import HotPatch

#: Lines on the overview: those that end first.
SHOWN = 3


def register() -> None:
    """Fill the slots; called from registers.py."""
    of_fleet.of_instances.register(on_instances)
    of_fleet.register_now(going_on)
    panels.notices.register(on_tenants)


def in_force(user: Any) -> QuerySet[HotPatch]:
    """The hot patches in force that `user` sees, first to end first."""
    return visible(user, _all_in_force()).select_related("tenant", "rollout__release").order_by("until", "pk")


def _all_in_force() -> QuerySet[HotPatch]:
    return HotPatch.objects.filter(in_force_since__isnull=False, ended_at__isnull=True)


@compiled
def _any_in_force() -> QuerySet[HotPatch, Any]:
    """Whether there is one at all, whoever reads: to narrow them costs many times more, and mostly there is none."""
    return _all_in_force().order_by().values_list("pk")[:1]


@scoped
def _first_to_end(reader: Reader) -> QuerySet[HotPatch]:
    return in_force(reader)[:SHOWN]


@scoped
def _of_tenants(reader: Reader, *, ids: Any) -> QuerySet[HotPatch]:
    return in_force(reader).filter(tenant_id=one_of(ids))


@scoped
def _of_instances(reader: Reader, *, ids: Any) -> QuerySet[HotPatch]:
    there = Placement.objects.filter(instance_id=one_of(ids)).order_by().values("tenant_id")
    return in_force(reader).filter(tenant_id__in=there)


def notice(patch: HotPatch) -> Notice:
    """A hot patch in one line."""
    words = "should be back since" if patch.is_overdue else "until"
    return Notice(
        f"{patch.tenant} runs hot patch {patch.rollout.release.version}, off the main line",
        reverse("releases:rollout", args=[patch.rollout_id]),
        Tone.BAD if patch.is_overdue else Tone.WARN,
        f"{words} {patch.until:%Y-%m-%d %H:%M} UTC",
        patch.in_force_since,
    )


def going_on(user: Any) -> list[Notice]:
    """Those that end first, of those that `user` sees. Two queries, one while there is none."""
    return [notice(patch) for patch in _first_to_end(user)] if _any_in_force() else []


def on_tenants(user: Any, ids: Collection[int]) -> dict[int, list[Notice]]:
    """By tenant; it has at most one. Two queries, one while there is none."""
    if not _any_in_force():
        return {}
    return {patch.tenant_id: [notice(patch)] for patch in _of_tenants(user, ids=list(ids))}


def on_instances(user: Any, ids: Collection[int]) -> dict[int, list[Notice]]:
    """By instance of the tenant that runs the version. At most three queries, one while there is none."""
    if not _any_in_force():
        return {}
    patches = {patch.tenant_id: patch for patch in _of_instances(user, ids=list(ids))}
    if not patches:
        return {}
    found: dict[int, list[Notice]] = {}
    for instance_id, tenant_id, version in _placed(ids, patches):
        if version == patches[tenant_id].rollout.release.version:
            found.setdefault(instance_id, []).append(notice(patches[tenant_id]))
    return found


def _placed(ids: Collection[int], tenants: Collection[int]) -> Iterable[tuple[int, int, str]]:
    rows = Placement.objects.filter(instance_id__in=ids, tenant_id__in=tenants).order_by()
    return rows.values_list("instance_id", "tenant_id", "instance__wanted_version")
