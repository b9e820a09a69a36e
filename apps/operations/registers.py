"""What the engine registers with the floors below."""

from datetime import datetime

from django.db.models import Min, Q

from apps.access import notices, scoping
from apps.audit import hints
from apps.core import navigation, palette, retention

from . import guard_rails, search, ticks
from .choices import OPEN
from .models import Batch, Operation, Schedule


def operations_within(scopes: scoping.Scopes) -> Q:
    """Operations whose target lies in the scopes. For a shared target, a tenant's scope does not carry it."""
    return scoping.any_of(account_id=scopes.accounts, cell_id=scopes.cells, tenant_id=scopes.tenants)


def register() -> None:
    """Called once, from apps.py."""
    scoping.register(Operation, operations_within)
    scoping.register(
        Batch,
        lambda scopes: Q(
            pk__in=Operation.objects.filter(operations_within(scopes), batch__isnull=False).values("batch_id")
        ),
    )
    # Who sees everything sees all schedules; others their own: see `queries.schedules_of`.
    scoping.register(Schedule, lambda scopes: Q(pk__in=[]))
    guard_rails.register("locked", guard_rails.locked_targets)
    navigation.register(
        navigation.NavItem("Operations", "operations:list", group="Change", order=20, key="o")
    )
    navigation.register_bar(search.bar_parts)
    # The clock stands on this floor; what it hints at lies below.
    ticks.register("access", every=5.0, send=notices.hint)
    palette.register("operations", search.find_operations)
    retention.register("operations", _oldest_open)
    # The trail stands below the clock and cannot register with it.
    for name, every, send in hints.every():
        ticks.register(name, every=every, send=send)


def _oldest_open() -> datetime | None:
    """When the oldest operation was asked for that is not over."""
    since: datetime | None = Operation.objects.filter(state__in=OPEN).aggregate(since=Min("created_at"))[
        "since"
    ]
    return since
