"""What the benches of pages stand on: 24 months of 5,000 tenants, with prices, usage, invoices, instances and a bill of lines."""

import tempfile
from datetime import date, timedelta
from pathlib import Path

from django.db import connection

from apps.access.services import system_actor
from apps.accounts.models import Account, Region
from apps.core.context import acting
from apps.fleet.models import Cell, Instance, Placement
from apps.tenants.models import Plan, Tenant

from .. import importing, keeping
from ..allocating import active_rules
from ..duck import connected, literal
from ..models import (
    Anomaly,
    Bill,
    Budget,
    Commitment,
    Discount,
    InstanceCost,
    InstanceDay,
    Price,
    Rate,
    Rule,
    Run,
    Statement,
    SubAccount,
)
from ..pricing import months_back
from .books import make_tenants

MONTHS, SERVICES, BYDAY = 24, 6, 2
NEWEST = date(2025, 6, 1)
#: Lines of the newest month that are there as lines; one in twenty names no tenant.
LINES = 500_000
DEDICATED, SHARED, ON_SHARED = 2_000, 60, 50
MONTHLY = """
INSERT INTO cost_monthlycost (run_id, tenant_id, account_id, sub_account_id, service, rule_id, currency, billed, effective, listed, lines)
SELECT %s, t.id, NULL, %s, 'service-' || s, %s, 'USD', (t.id * 7919 + s * 104729) %% 100000 / 100.0, 1, 1, 30
FROM tenants_tenant t, generate_series(1, %s) s WHERE t.key LIKE 'bench-%%'
"""
BY_DAY = """
INSERT INTO cost_daycost (run_id, account_id, sub_account_id, service, rule_id, currency, day, to_tenants, billed, effective, listed, lines)
SELECT %s, NULL, %s, 'service-' || s, %s, 'USD', d, true, 1000, 1000, 1000, 5000 FROM generate_series(1, %s) s,
generate_series(%s::date, %s::date, '1 day') d
"""
SERIES = """
INSERT INTO cost_costseries (run_id, tenant_id, account_id, sub_account_id, service, rule_id, currency, days, billed, effective, listed, lines)
SELECT %s, t.id, NULL, %s, 'service-' || s, %s, 'USD', d.days, d.ones, d.ones, d.ones, d.ones FROM tenants_tenant t, generate_series(1, %s) s,
(SELECT array_agg(d::date - date '1970-01-01') AS days, array_agg(1) AS ones FROM generate_series(%s::date, %s::date, '1 day') d) d
WHERE t.key LIKE 'bench-%%' ORDER BY t.id
"""
BY_TENANT = """
INSERT INTO cost_tenantcost (run_id, tenant_id, currency, billed, effective, listed)
SELECT run_id, tenant_id, currency, sum(billed), sum(effective), sum(listed) FROM cost_monthlycost WHERE run_id = %s GROUP BY 1, 2, 3
"""
OF_TENANTS = """
INSERT INTO tenants_subscription (created_at, updated_at, tenant_id, plan_id, seats, monthly_price, currency, starts_on)
SELECT now(), now(), id, %s, 1, 100, 'EUR', '2020-01-01' FROM tenants_tenant t WHERE key LIKE 'bench-%%'
AND NOT EXISTS (SELECT 1 FROM tenants_subscription s WHERE s.tenant_id = t.id)
"""
USAGE = """
INSERT INTO cost_monthlyusage (month, driver, tenant_id, amount) SELECT m, d, t.id, t.id %% 1000 FROM tenants_tenant t,
generate_series(%s::date, %s::date, '1 month') m, unnest(ARRAY['requests', 'storage']) d WHERE t.key LIKE 'bench-%%'
"""
REVENUE = """
INSERT INTO cost_revenue (source, line, customer, tenant_id, month, currency, amount, description)
SELECT 'csv', 'r' || t.id, t.key, t.id, m, CASE WHEN t.id %% 2 = 0 THEN 'EUR' ELSE 'USD' END, 101, '' FROM tenants_tenant t,
generate_series(%s::date, %s::date, '1 month') m WHERE t.key LIKE 'bench-%%'
"""


def fill() -> list[date]:
    """Make it all; gives the months, oldest first."""
    actor = system_actor("command")
    make_tenants()
    months = months_back(NEWEST, MONTHS)
    with acting(actor, reason="bench", via="command"), connection.cursor() as cursor:
        rule = _books(months)
        sub = SubAccount.objects.create(provider="AWS", external_id="bench-pages")
        bill = Bill.objects.create(name="bench", digest="bench-pages", state="imported", received_by=actor)
        cursor.execute(OF_TENANTS, [Plan.objects.get(name="Bench").pk])
        cursor.execute(USAGE, [months[0], months[-1]])
        cursor.execute(REVENUE, [months[0], months[-1]])
        for month in months:
            after = (month + timedelta(days=31)).replace(day=1)
            last = after - timedelta(days=1)
            statement = Statement.objects.create(
                bill=bill, provider="AWS", billing_account="bench-pages", currency="USD", period_start=month, period_end=after, lines=1,
                billed=1, effective=1, listed=1,
            )  # fmt: skip
            run = Run.objects.create(statement=statement, ruleset=rule.ruleset)
            cursor.execute(MONTHLY, [run.pk, sub.pk, rule.pk, SERVICES])
            cursor.execute(BY_TENANT, [run.pk])
            cursor.execute(BY_DAY, [run.pk, sub.pk, rule.pk, SERVICES, month, last])
            if month in months[-BYDAY:]:
                cursor.execute(SERIES, [run.pk, sub.pk, rule.pk, SERVICES, month, last])
        _placed(Statement.objects.get(billing_account="bench-pages", period_start=NEWEST))
        _watched()
        _lines()
        keeping.keep_all()
        cursor.execute("ANALYZE")
    return months


def _books(months: list[date]) -> Rule:
    """Prices, rates, agreements; and the rule that counts."""
    plan = Plan.objects.create(name="Bench", monthly_price=100)
    Price.objects.create(
        plan=plan, meter="requests", currency="EUR", starts_on=months[0],
        tiers=[{"up_to": "500", "price": "0"}, {"up_to": None, "price": "0.01"}],
    )  # fmt: skip
    for place, month in enumerate(months):
        # Another rate each month: nothing can be converted for several at once.
        Rate.objects.create(currency="USD", into="EUR", day=month, rate=f"0.9{place:02}")
    some = list(Tenant.objects.filter(key__startswith="bench-").order_by("pk")[:600])
    Discount.objects.bulk_create(Discount(tenant=one, percent=10, starts_on=months[0]) for one in some[:500])
    Commitment.objects.bulk_create(
        Commitment(tenant=one, currency="USD", monthly_minimum=50, starts_on=months[0]) for one in some[500:]
    )
    ruleset = active_rules()
    return ruleset.rules.first() or Rule.objects.create(ruleset=ruleset, position=1, kind="tag", tag="tenant")


def _placed(statement: Statement) -> None:
    """Every tenant on an instance of its own or on a shared one, each measured for a fortnight and named by the bill."""
    account = Account.objects.create(name="bench-pages", cloud="aws")
    cell = Cell.objects.create(
        region=Region.objects.create(account=account, code="bench-1"),
        name="bench-pages",
        provider="simulated",
    )
    kinds = ["dedicated"] * DEDICATED + ["shared"] * SHARED
    made = Instance.objects.bulk_create(
        Instance(name=f"bench-{place}", cell=cell, kind=kind, wanted_version="1.0.0")
        for place, kind in enumerate(kinds)
    )
    tenants = list(Tenant.objects.filter(key__startswith="bench-").order_by("pk"))
    Placement.objects.bulk_create(
        Placement(
            tenant=one,
            instance=made[place if place < DEDICATED else DEDICATED + (place - DEDICATED) // ON_SHARED],
        )
        for place, one in enumerate(tenants)
    )
    InstanceCost.objects.bulk_create(
        InstanceCost(statement=statement, instance=one, billed=place % 90 + 1, lines=9)
        for place, one in enumerate(made)
    )
    InstanceCost.objects.create(statement=statement, instance=None, billed=5, lines=1)
    InstanceDay.objects.bulk_create(
        (
            InstanceDay(
                day=NEWEST + timedelta(days=day), instance=one, seconds=80_000, requests=place * 9, cpu=place * 3, memory=1e8
            )
            for place, one in enumerate(made)
            for day in range(14)
        ),
        batch_size=5_000,
    )  # fmt: skip


def _watched() -> None:
    tenants = list(Tenant.objects.filter(key__startswith="bench-").order_by("pk")[:1_000])
    Anomaly.objects.bulk_create(
        Anomaly(day=NEWEST, tenant=one, service="service-1", currency="USD", amount=9, expected=1, score=9, why="9.0 times")
        for one in tenants
    )  # fmt: skip
    Budget.objects.bulk_create(
        Budget(name=f"bench {one.key}", tenant=one, currency="USD", amount=5, state="over")
        for one in tenants[:50]
    )


def _lines() -> None:
    """A bill of lines of the newest month, imported as any other."""
    with tempfile.TemporaryDirectory(prefix="daytwo-bill-") as folder:
        path = Path(folder) / "lines.parquet"
        after = (NEWEST + timedelta(days=31)).replace(day=1)
        with connected() as duck:
            duck.execute(
                "COPY (SELECT CAST((hash(i) % 1000000) / 1e8 AS DECIMAL(20,10)) AS BilledCost, BilledCost AS EffectiveCost, "
                "BilledCost AS ListCost, 'lines' AS BillingAccountId, 'Lines' AS BillingAccountName, 'USD' AS BillingCurrency, "
                f"TIMESTAMP '{NEWEST}' AS BillingPeriodStart, TIMESTAMP '{after}' AS BillingPeriodEnd, 'Usage' AS ChargeCategory, "
                f"TIMESTAMP '{NEWEST}' + to_hours(CAST(hash(i + 1) % 720 AS INTEGER)) AS ChargePeriodStart, "
                "ChargePeriodStart + INTERVAL 1 HOUR AS ChargePeriodEnd, 'AWS' AS ProviderName, 'sub-' || (i % 4) AS SubAccountId, "
                "'service-' || (hash(i + 2) % 6) AS ServiceName, 'i-' || (hash(i + 3) % 10000) AS ResourceId, "
                "CASE WHEN i % 20 = 0 THEN '{\"owner\": \"bench-' || (i % 5000) || '\"}' "
                "ELSE '{\"tenant\": \"bench-' || (hash(i + 4) % 5000) || '\"}' END AS Tags "
                f"FROM range({LINES}) t(i)) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)"
            )
        bill, _ = importing.receive_paths([path], actor=system_actor("command"))
    importing.read_bill(bill.pk)
    bill.refresh_from_db()
    if bill.state != "imported":
        raise RuntimeError(f"the bill was not imported: {bill.report}")
