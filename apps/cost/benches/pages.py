"""The money's pages over 24 months of 5,000 tenants, and the price lab over twelve of them."""

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.figures import Figure
from apps.tenants.models import Plan, Tenant

from ..allocating import active_rules
from ..models import Bill, Price, Rate, Rule, Run, Statement, SubAccount
from ..pricing import months_back
from ..queries import margins
from ..queries.revenue import Tried
from .books import TENANTS, make_tenants

MONTHS, SERVICES, BYDAY = 24, 6, 2
NEWEST = date(2025, 6, 1)
PAGES = ("overview", "breakdown", "heavy", "margins", "lab", "revenue", "usage", "anomalies")
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
(SELECT array_agg(d::date) AS days, array_agg(1) AS ones FROM generate_series(%s::date, %s::date, '1 day') d) d
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


def cost_pages() -> Iterator[Figure]:
    """Sums of 24 months, daily facts of the newest two: what pages read. Each page is asked thrice; the median counts."""
    months = _fill()
    with acting(system_actor("command"), reason="bench", via="command"):
        user = User.objects.create_superuser("bench-reader", "bench@example.org", "")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for name in PAGES:
        took, queries = _ask(client, reverse(f"cost:{name}") + f"?month={NEWEST:%Y-%m}")
        yield Figure(f"{name} over {MONTHS} months of {TENANTS:,} tenants", took * 1000, "ms", at_most=300)
        yield Figure(f"{name}, statements", queries, "queries", at_most=15)
    for name in ("margins", "heavy", "revenue", "lab"):
        took, _ = _ask(client, reverse(f"cost:{name}") + f"?month={NEWEST:%Y-%m}&span=12")
        yield Figure(f"{name} over twelve of them added up", took * 1000, "ms", at_most=300)
    tenant = Tenant.objects.get(key="bench-7")
    took, queries = _ask(client, reverse("cost:tenant", args=[tenant.pk]) + f"?month={NEWEST:%Y-%m}")
    yield Figure(f"a tenant's costs over {MONTHS} months", took * 1000, "ms", at_most=300)
    yield Figure("a tenant's costs, statements", queries, "queries", at_most=15)
    yield Figure("load of the machine at the end", os.getloadavg()[0], "")
    began = time.perf_counter()
    made = margins.price_lab(
        user,
        months[-12:],
        "EUR",
        Tried(prices=dict.fromkeys(Plan.objects.values_list("pk", flat=True), Decimal(90))),
    )
    yield Figure(
        f"price lab, 12 months of {len(made.trials):,} tenants", time.perf_counter() - began, "s", at_most=2
    )


def _ask(client: Client, url: str) -> tuple[float, int]:
    times, count = [], 0
    for _ in range(3):
        with CaptureQueriesContext(connection) as captured:
            began = time.perf_counter()
            response = client.get(url)
            times.append(time.perf_counter() - began)
        if response.status_code != 200:
            raise RuntimeError(f"{url} answered {response.status_code}")
        count = len(captured)
    return sorted(times)[1], count


def _fill() -> list[date]:
    actor = system_actor("command")
    make_tenants()
    months = months_back(NEWEST, MONTHS)
    with acting(actor, reason="bench", via="command"), connection.cursor() as cursor:
        plan = Plan.objects.create(name="Bench", monthly_price=100)
        Price.objects.create(
            plan=plan,
            meter="requests",
            currency="EUR",
            starts_on=months[0],
            tiers=[{"up_to": "500", "price": "0"}, {"up_to": None, "price": "0.01"}],
        )
        Rate.objects.create(currency="USD", into="EUR", day=months[0], rate="0.9")
        sub = SubAccount.objects.create(provider="AWS", external_id="bench-pages")
        bill = Bill.objects.create(name="bench", digest="bench-pages", state="imported", received_by=actor)
        ruleset = active_rules()
        rule = ruleset.rules.first() or Rule.objects.create(
            ruleset=ruleset, position=1, kind="tag", tag="tenant"
        )
        cursor.execute(OF_TENANTS, [plan.pk])
        cursor.execute(USAGE, [months[0], months[-1]])
        for month in months:
            after = (month + timedelta(days=31)).replace(day=1)
            last = after - timedelta(days=1)
            statement = Statement.objects.create(
                bill=bill, provider="AWS", billing_account="bench-pages", currency="USD", period_start=month, period_end=after, lines=1,
                billed=1, effective=1, listed=1,
            )  # fmt: skip
            run = Run.objects.create(statement=statement, ruleset=ruleset)
            cursor.execute(MONTHLY, [run.pk, sub.pk, rule.pk, SERVICES])
            cursor.execute(BY_TENANT, [run.pk])
            cursor.execute(BY_DAY, [run.pk, sub.pk, rule.pk, SERVICES, month, last])
            if month in months[-BYDAY:]:
                cursor.execute(SERIES, [run.pk, sub.pk, rule.pk, SERVICES, month, last])
        cursor.execute("ANALYZE")
    return months
