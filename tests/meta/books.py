"""Books that grow, for the golden numbers of queries of money's pages: a bill, and two or fifty of everything else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.access.services import system_actor
from apps.cost import instances, invoices, keeping, metering, rulebook
from apps.cost.models import (
    Anomaly,
    Bill,
    BillSource,
    Budget,
    Commitment,
    Discount,
    InstanceDay,
    Price,
    ProductComponent,
    Rate,
)
from apps.cost.queries.units import GROUPINGS
from apps.cost.views.ledgers import BOOKS
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines
from tests.cost.conftest import tagged

SEPTEMBER = date(2026, 9, 1)


class Books:
    """Tenants with a cost, a price, usage, an invoice and an instance each; and who reads all of it."""

    def __init__(self) -> None:
        self.reader = factories.make_user("golden-finance")
        factories.grant(self.reader, "finance")
        self.cell = factories.make_cell("golden-money")
        add_rules({"kind": "tag", "tag": "t"})
        self.size = 0
        self.tenant: Any = None

    def grow(self, size: int) -> None:
        """More of everything, up to `size`."""
        actor = system_actor("command")
        for number in range(self.size, size):
            key = f"money-{number}"
            instance = factories.make_instance(key, cell=self.cell)
            tenant = factories.make_tenant(key, plan=factories.make_plan(f"money {number}"))
            factories.place(tenant, instance)
            self.tenant = self.tenant or tenant
            self._entries(number, tenant, instance)
            rulebook.add_rule(actor=actor, kind="tag", tag=f"tag-{number}")
        self.size = size
        metering.import_usage(self.usage(), "u.csv", actor=actor)
        bill = deliver(as_csv([line for n in range(size) for line in self._lines(n)]), name="golden.csv")
        assert bill.state == "imported", bill.report
        self.bill = bill.pk
        told = "".join(f"{n},money-{n},2026-09-01,2026-10-01,EUR,9\n" for n in range(size))
        invoices.import_revenue(
            f"id,tenant,start,end,currency,amount\n{told}".encode(), "csv", "r.csv", actor=actor
        )
        instances.count_instances()
        keeping.keep_all()

    def _lines(self, number: int) -> list[dict[str, str]]:
        """A line of the tenant's, in a sub-account of its own, and one of nobody's."""
        sub = {"SubAccountId": f"sub-{number}", "ResourceId": f"arn:vm/money-{number}"}
        return [
            *tagged("5", f"money-{number}", **sub),
            *lines("2", ServiceName=f"Service {number}", **sub),
        ]

    def usage(self) -> bytes:
        rows = "".join(f"2026-09-05,money-{number},requests,9\n" for number in range(self.size))
        return f"day,tenant,meter,amount\n{rows}".encode()

    def _entries(self, number: int, tenant: Any, instance: Any) -> None:
        day = SEPTEMBER - timedelta(days=number)
        with factories.as_system():
            Discount.objects.create(tenant=tenant, percent=5, starts_on=day)
            Commitment.objects.create(tenant=tenant, currency="EUR", monthly_minimum=1, starts_on=day)
            Budget.objects.create(name=tenant.key, tenant=tenant, currency="USD", amount=1, state="over")
            Rate.objects.create(currency="USD", into="EUR", day=day, rate=1)
            Price.objects.create(
                plan=tenant.subscriptions.get().plan, meter="requests", currency="EUR", starts_on=day,
                tiers=[{"up_to": None, "price": "1"}],
            )  # fmt: skip
            ProductComponent.objects.create(name=tenant.key, service=f"Service {number}")
            BillSource.objects.create(url=f"s3://golden/{number}/")
            Bill.objects.create(name=tenant.key, digest=tenant.key, state="refused", received_by=self.reader)
        Anomaly.objects.create(
            day=day, tenant=tenant, service="EC2", currency="USD", amount=9, expected=1, score=9
        )
        InstanceDay.objects.bulk_create(
            InstanceDay(day=SEPTEMBER + timedelta(days=n), instance=instance, seconds=80_000, requests=1, cpu=1, memory=1)
            for n in range(3)
        )  # fmt: skip

    def pages(self) -> dict[str, tuple[str, dict[str, str]]]:
        """By name, each page of money with its question."""
        plain = (
            "overview", "breakdown", "heavy", "margins", "lab", "revenue", "usage", "anomalies", "idle", "placing", "unallocated",
            "rules", "bills", "upload", "months", "cohorts", "lines",
        )  # fmt: skip
        found: dict[str, tuple[str, dict[str, str]]] = {
            f"cost {name}": (reverse(f"cost:{name}"), {}) for name in plain
        }
        found |= {
            "cost breakdown by day": (reverse("cost:breakdown"), {"by": "day", "then": "tenant"}),
            "cost margins of a year": (reverse("cost:margins"), {"span": "12"}),
            "cost heavy as invoiced": (reverse("cost:heavy"), {"span": "12", "revenue": "invoiced"}),
            "cost lab with a discount": (reverse("cost:lab"), {"discount": "10"}),
            "cost months as invoiced": (reverse("cost:months"), {"revenue": "invoiced"}),
            "cost unallocated with rules": (reverse("cost:unallocated"), {"propose": "1"}),
            "cost move": (reverse("cost:move"), {"tenant": "money-0"}),
            "cost tenant": (reverse("cost:tenant", args=[self.tenant.pk]), {}),
            "cost bill": (reverse("cost:bill", args=[self.bill]), {}),
        }
        found |= {f"cost units by {per}": (reverse("cost:units"), {"per": per}) for per in GROUPINGS}
        return found | {f"cost book of {book}": (reverse("cost:ledger", args=[book]), {}) for book in BOOKS}

    def client(self) -> Client:
        client = Client()
        client.force_login(self.reader, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def table(self) -> SimpleUploadedFile:
        """A table of usage with a line for each tenant."""
        return SimpleUploadedFile("usage.csv", self.usage())
