"""What is said of a shared instance may name any tenant on it: who sees one by its tenant alone is not told of the others."""

from collections.abc import Collection
from typing import Any

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.fleet.choices import InstanceKind
from apps.fleet.models import Cell, Instance

#: What stands in place of a reason that another tenant may be named in.
FOR_ANOTHER = "for a reason of another tenant on it, or of its rollout"


def shared_with_others(user: Any, instance_ids: Collection[int]) -> set[int]:
    """Of these instances, those that the reader sees by a tenant's scope alone and that serve others. One query at most."""
    scopes = scopes_of(user, Permission.VIEW)
    if scopes.everything or not scopes.tenants:
        return set()
    rows = Instance.objects.filter(pk__in=list(instance_ids), kind=InstanceKind.SHARED).order_by()
    return set(
        rows.exclude(cell__in=visible(user, Cell).order_by().values("pk")).values_list("pk", flat=True)
    )
