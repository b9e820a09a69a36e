"""What tenants pay a month, as far as this floor knows: the price of their open subscriptions."""

from datetime import date
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from apps.core.arrays import among
from apps.core.compiled import Given
from apps.tenants.models import Subscription


def open_today(prefix: str = "", today: date | Given | None = None) -> Q:
    """Subscriptions that run today; `prefix` says by which way a row reaches them."""
    today = today or timezone.localdate()
    unended = Q(**{f"{prefix}ends_on__isnull": True}) | Q(**{f"{prefix}ends_on__gte": today})
    return unended & Q(**{f"{prefix}starts_on__lte": today})


def open_subscriptions(today: date | Given | None = None) -> QuerySet[Subscription]:
    """Subscriptions that run today."""
    return Subscription.objects.filter(open_today(today=today)).order_by()


def revenue_of(tenant_ids: set[int]) -> dict[int, dict[str, Decimal]]:
    """Monthly price of each tenant's open subscriptions, by currency. One query."""
    rows = (
        open_subscriptions()
        .filter(tenant_id__in=among(tenant_ids))
        .values_list("tenant_id", "currency")
        .annotate(price=Sum("monthly_price"))
    )
    found: dict[int, dict[str, Decimal]] = {}
    for tenant_id, currency, price in rows:
        found.setdefault(tenant_id, {})[currency] = price
    return found
