"""Looking after costs: days out of the ordinary, and budgets, whose turns are told as events and signals."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, Sum

from apps.access.services import system_actor
from apps.alerts import intake
from apps.alerts.choices import Severity, SignalState
from apps.core.context import acting
from apps.core.events import event, record

from . import forecasting
from .choices import BudgetState, Driver
from .forecasting import LEAST_WEEKS, WEEKS
from .locks import Lock, hold
from .models import Anomaly, Budget, DailyCost, DayCost, MonthlyCost, Statement, Usage
from .pricing import next_month

SOURCE, NAME = "budgets", "BudgetExceeded"
#: Days, counted from the newest that bills tell of, that are looked at again and again: bills come late.
DAYS = 7
SEVERITY = {
    BudgetState.OVER: Severity.WARNING,
    BudgetState.LIKELY: Severity.INFO,
    BudgetState.WITHIN: Severity.INFO,
}


def look() -> None:
    """Look for what is out of the ordinary, and at all budgets. What it finds twice it tells once."""
    with acting(system_actor("bills"), reason="costs looked after", via="system"):
        look_for_anomalies()
        look_at_budgets()


# --- Anomalies -----------------------------------------------------------------------------------


def look_for_anomalies() -> int:
    """Write the anomalies of the last days anew; gives how many. A tenant's service in an account is one series."""
    current = DayCost.objects.filter(run__is_current=True, to_tenants=True)
    span = current.aggregate(newest=Max("day"), oldest=Min("day"))
    if span["newest"] is None:
        return 0
    days = [span["newest"] - timedelta(days=n) for n in range(DAYS)]
    found = [
        one
        for day in days
        if day - timedelta(weeks=LEAST_WEEKS) >= span["oldest"]
        for one in _of_day(day, span["oldest"])
    ]
    _tell_why(found)
    with transaction.atomic():
        hold(Lock.ANOMALIES)
        Anomaly.objects.filter(day__in=days).delete()
        Anomaly.objects.bulk_create(found, batch_size=2_000)
    return len(found)


def _of_day(day: date, oldest: date) -> Iterable[Anomaly]:
    """A day against the same weekday of the weeks before; a week without cost counts as nothing."""
    before = [day - timedelta(weeks=n) for n in range(1, WEEKS + 1) if day - timedelta(weeks=n) >= oldest]
    runs = DayCost.objects.filter(run__is_current=True, to_tenants=True, day__in=[day, *before]).order_by()
    # By run: daily costs have no index on days.
    rows = DailyCost.objects.filter(
        run__in=list(runs.values_list("run", flat=True).distinct()),
        tenant__isnull=False,
        day__in=[day, *before],
    ).order_by()
    series: dict[tuple[Any, ...], dict[date, float]] = defaultdict(dict)
    columns = ("tenant_id", "account_id", "service", "currency", "day")
    for *key, on, amount in (
        rows.values_list(*columns).annotate(total=Sum("billed")).iterator(chunk_size=20_000)
    ):
        series[tuple(key)][on] = float(amount)
    for (tenant, account, service, currency), amounts in series.items():
        expected, score = forecasting.judge(amounts.get(day, 0.0), [amounts.get(one, 0.0) for one in before])
        if forecasting.is_out(amounts.get(day, 0.0), expected, score):
            yield Anomaly(
                day=day, tenant_id=tenant, account_id=account, service=service, currency=currency,
                amount=Decimal(str(amounts.get(day, 0.0))), expected=Decimal(str(expected)), score=score,
            )  # fmt: skip


def _tell_why(found: Sequence[Anomaly]) -> None:
    """What moved with it: the tenant's usage on that day against the same weekdays before, or only the bill."""
    wanted = {one.day - timedelta(weeks=n) for one in found for n in range(WEEKS + 1)}
    rows = Usage.objects.filter(tenant_id__in={one.tenant_id for one in found}, day__in=wanted)
    used = {
        (tenant, driver, day): float(amount)
        for tenant, driver, day, amount in rows.values_list("tenant_id", "driver", "day", "amount")
    }
    for one in found:
        moved = []
        for driver in Driver:
            now = used.get((one.tenant_id or 0, driver, one.day))
            past = [
                used[key]
                for n in range(1, WEEKS + 1)
                if (key := (one.tenant_id or 0, driver, one.day - timedelta(weeks=n))) in used
            ]
            if now is not None and past and (usual := median(past)) > 0 and not 0.67 < now / usual < 1.5:
                moved.append(
                    (abs(now / usual - 1), f"{driver.label.lower()} were {now / usual:.1f} times the usual")
                )
        ratio = (
            f"{float(one.amount) / float(one.expected):.1f} times the usual cost"
            if one.expected
            else "nothing was usual"
        )
        words = [text for _, text in sorted(moved, reverse=True)[:2]] or [
            "no meter moved with it: a price, a resource or a rule did"
        ]
        one.why = f"{ratio}; {' and '.join(words)}"[:300]


# --- Budgets -------------------------------------------------------------------------------------


def look_at_budgets() -> int:
    """Put each budget's state right; gives how many turned. Each turn is told once: an event, and a signal to alerting."""
    newest = Statement.objects.filter(is_current=True).aggregate(newest=Max("period_start"))["newest"]
    turned = 0
    if newest is None:
        return 0
    month = newest.replace(day=1)
    for budget in Budget.objects.order_by("pk"):
        spent, forecast = standing(budget, month)
        state = _state(budget, spent, forecast)
        if state == budget.state:
            continue
        with transaction.atomic():
            if Budget.objects.filter(pk=budget.pk, state=budget.state).unrecorded_update(state=state):
                _tell(budget, state, month, spent, forecast)
                turned += 1
    return turned


def standing(budget: Budget, month: date) -> tuple[Decimal, forecasting.Forecast | None]:
    """What a budget's costs came to in a month, and where its days lead."""
    where: dict[str, Any] = {"run__is_current": True, "currency": budget.currency}
    where |= {
        name: value for name in ("account_id", "tenant_id", "service") if (value := getattr(budget, name))
    }
    in_month = MonthlyCost.objects.filter(
        run__statement__period_start__gte=month, run__statement__period_start__lt=next_month(month), **where
    )
    spent = in_month.aggregate(total=Sum("billed"))["total"] or Decimal(0)
    by_day = DailyCost if budget.tenant_id else DayCost
    rows = by_day._default_manager.filter(
        day__gte=month - timedelta(weeks=WEEKS), day__lt=next_month(month), **where
    ).order_by()
    amounts = {day: float(amount) for day, amount in rows.values_list("day").annotate(total=Sum("billed"))}
    return spent, forecasting.month_end(amounts, next_month(month))


def _state(budget: Budget, spent: Decimal, forecast: forecasting.Forecast | None) -> str:
    if spent > budget.amount:
        return BudgetState.OVER
    likely = forecast is not None and forecast.days_left and forecast.expected > float(budget.amount)
    return BudgetState.LIKELY if likely else BudgetState.WITHIN


def _tell(
    budget: Budget, state: str, month: date, spent: Decimal, forecast: forecasting.Forecast | None
) -> None:
    words = {
        BudgetState.OVER: f"is over: {spent:.2f} of {budget.amount} {budget.currency}",
        BudgetState.LIKELY: f"will be over by month end: {forecast.expected if forecast else 0:.2f} of {budget.amount} {budget.currency} expected",
        BudgetState.WITHIN: f"is within again: {spent:.2f} of {budget.amount} {budget.currency}",
    }[BudgetState(state)]
    title = f"Budget {budget} of {month:%Y-%m} {words}"
    labels = {"alertname": NAME, "budget": str(budget.pk)}
    record(
        [
            event(
                "budget.turned",
                title,
                tone="good" if state == BudgetState.WITHIN else "warn",
                **_place(budget),
            )
        ]
    )
    intake.write(
        SOURCE,
        [
            intake.Said(
                state=SignalState.RESOLVED if state == BudgetState.WITHIN else SignalState.FIRING,
                name=NAME, severity=SEVERITY[BudgetState(state)], summary=title[:300], labels={**labels, "name": budget.name},
                fingerprint=intake.fingerprint(SOURCE, labels), account_id=budget.account_id, tenant_id=budget.tenant_id,
            )
        ],
    )  # fmt: skip


def _place(budget: Budget) -> dict[str, Any]:
    return dict(budget.event_context())
