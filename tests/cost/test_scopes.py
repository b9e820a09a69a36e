"""A person scoped to one account, cell or tenant sees no number that includes another.

Not by looking for known numbers: every page, chart and export is read twice, and between the two everything that is
another's has changed (bills, prices, usage, invoices, what instances did). What the person is shown must not change by a byte.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from openpyxl import load_workbook

from apps.access.services import system_actor
from apps.cost import instances, metering
from apps.cost.models import InstanceDay, Price
from apps.cost.queries.courses import SHOWS
from apps.cost.queries.figures import DIMENSIONS
from apps.cost.queries.units import GROUPINGS
from apps.cost.urls import urlpatterns
from tests import factories
from tests.cost.bills import as_csv, deliver, lines
from tests.cost.conftest import tagged

pytestmark = pytest.mark.django_db(transaction=True)

#: Pages with the questions that show different numbers. Each is asked as a page and as every export there is.
ASKED: dict[str, list[dict[str, str]]] = {
    "overview": [{}],
    "breakdown": [{"by": by, "then": "service"} for by in DIMENSIONS] + [{"measure": "effective"}],
    "lines": [{}, {"service": "Support"}, {"service": "S3"}],
    "tenant": [{}],
    "heavy": [{}, {"span": "3"}, {"revenue": "invoiced"}],
    "margins": [{}, {"span": "12"}, {"revenue": "invoiced"}],
    "units": [{"per": by} for by in GROUPINGS],
    "months": [{}, {"meter": "seats"}, {"revenue": "invoiced"}],
    "cohorts": [{"show": show} for show in SHOWS],
    "lab": [{}, {"discount": "10"}],
    "idle": [{}],
    "anomalies": [{}],
    "usage": [{}],
    "revenue": [{}],
    "focus": [{"form": "csv"}],
}
#: Pages that span everybody: for who sees all, so refused here.
FOR_ALL = {"unallocated", "placing", "move", "bills", "rules", "bill", "ledger", "upload"}
#: Addresses that are only sent to.
SENT = {
    "bring", "add_entry", "remove_entry", "add_rule", "activate", "discard_draft", "remove_rule", "retry",
}  # fmt: skip
EXPORTS = {"breakdown", "heavy", "margins", "units", "months", "cohorts", "lab", "idle", "anomalies"}


def test_every_address_of_money_is_in_this_table() -> None:
    assert {one.name for one in urlpatterns} == ASKED.keys() | FOR_ALL | SENT


def bill(fleet: dict[str, Any], **amounts: str) -> None:
    """The same lines with these amounts; each names an instance as its resource."""
    told = {
        "acme_here": "30",
        "acme_there": "7",
        "globex": "500",
        "umbrella": "20",
        "pool": "3",
        "nobodys": "2",
    } | amounts
    two = {"SubAccountId": "sub-2", "SubAccountName": "Sub two"}
    own, shared = ({"ResourceId": f"arn:x/{fleet[name].name}"} for name in ("own", "shared"))
    rows = [
        *tagged(told["acme_here"], "acme", **own), *tagged(told["acme_there"], "acme", ServiceName="S3", **two),
        *tagged(told["globex"], "globex", **two, **shared), *tagged(told["umbrella"], "umbrella", **two, **shared),
        *lines(told["pool"], ServiceName="Support", **two), *lines(told["nobodys"], ServiceName="Mystery", **two),
    ]  # fmt: skip
    made = deliver(as_csv(rows), name="scopes.csv")
    assert made.state == "imported", made.report
    instances.count_instances()


def use(tenant: str, requests: int, seats: int) -> None:
    text = f"day,tenant,meter,amount\n2026-09-01,{tenant},requests,{requests}\n2026-09-01,{tenant},seats,{seats}\n"
    metering.import_usage(text.encode(), "u.csv", actor=system_actor("command"))


def did(instance: Any, cpu: float) -> None:
    for n in range(3):
        InstanceDay.objects.update_or_create(
            day=date(2026, 9, 10) + timedelta(days=n), instance=instance,
            defaults={"seconds": 80_000, "requests": cpu / 10, "cpu": cpu, "memory": cpu},
        )  # fmt: skip


@pytest.fixture
def world(fleet: dict[str, Any]) -> dict[str, Any]:
    with factories.as_system():
        Price.objects.create(
            plan=factories.make_plan(), meter="requests", currency="EUR", starts_on=date(2026, 1, 1), tiers=[{"up_to": None, "price": "0.01"}]
        )  # fmt: skip
    for tenant, amount in (("acme", 100), ("globex", 200), ("umbrella", 300)):
        use(tenant, amount, amount)
    for name, cpu in (("own", 10), ("shared", 20)):
        did(fleet[name], cpu)
    invoice(globex="90")
    bill(fleet)
    return fleet


def invoice(**amounts: str) -> None:
    from apps.cost import invoices

    told = {"acme": "77", "globex": "90"} | amounts
    text = "id,tenant,start,end,currency,amount\n" + "".join(
        f"{n},{tenant},2026-09-01,2026-10-01,EUR,{amount}\n"
        for n, (tenant, amount) in enumerate(told.items())
    )
    invoices.import_revenue(text.encode(), "csv", "r.csv", actor=system_actor("command"))


def others_change(world: dict[str, Any], scope: str) -> None:
    """Everything that is not the scope's gets other figures, and a tenant more comes."""
    with factories.as_system():
        for key, price in (("globex", 900), ("umbrella", 1)):
            world[key].subscriptions.update(monthly_price=price, starts_on=date(2026, 3, 3))
        stranger = factories.make_tenant("stranger", state="suspended")
        factories.place(stranger, world["shared"])
    for tenant, amount in (("globex", 7_000), ("umbrella", 1), ("stranger", 5)):
        use(tenant, amount, amount)
    invoice(globex="1234.5")
    did(world["shared"], 4_000)
    mine = {} if scope == "tenant" else {"acme_there": "71", "pool": "93"}
    bill(world, globex="4321.125", umbrella="0.375", nobodys="17", **mine)


def read(client: Client, world: dict[str, Any]) -> dict[str, str]:
    """What each page and export says, without what differs from asking to asking."""
    found = {}
    for name, questions in ASKED.items():
        args = [world["acme"].pk] if name == "tenant" else []
        for question in questions:
            for form in ("", "csv", "xlsx") if name in EXPORTS else ("",):
                query = question | ({"_export": form} if form else {})
                response = client.get(reverse(f"cost:{name}", args=args), query)
                found[f"{name} {query}"] = f"{response.status_code} {said(response, form)}"
    return found


def said(response: Any, form: str) -> str:
    data = b"".join(response.streaming_content) if response.streaming else response.content
    if form == "xlsx" and response.status_code == 200:
        sheet = load_workbook(io.BytesIO(data)).active
        assert sheet is not None
        return repr([[cell.value for cell in row] for row in sheet.iter_rows()])
    text = data.decode()
    if response["Content-Type"].startswith("text/csv"):
        return repr(sorted(csv.reader(io.StringIO(text))))
    text = re.sub(r"\b[A-Za-z0-9]{64}\b", "", text)  # tokens against forged requests
    return re.sub(r"<time.*?</time>", "", text, flags=re.S)


SCOPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "account": lambda world: world["here"],
    "cell": lambda world: world["cells"][0],
    "tenant": lambda world: world["acme"],
}


@pytest.mark.parametrize("scope", list(SCOPES))
def test_nothing_that_is_shown_changes_with_what_is_anothers(
    world: dict[str, Any], holder: Any, scope: str
) -> None:
    client = holder(scope, SCOPES[scope](world))
    before = read(client, world)
    others_change(world, scope)
    after = read(client, world)
    assert [name for name in before if before[name] != after[name]] == []
    if scope == "tenant":
        assert all(told.startswith("200") for told in before.values()), "each page has its numbers"
        assert 'title="38 USD"' in before["overview {}"]


def test_who_sees_all_is_shown_the_change_on_each_page(world: dict[str, Any], reader: Client) -> None:
    """The other way round: these pages do tell others' numbers to who may see them, so the test above proves something."""
    before = read(reader, world)
    others_change(world, "account")
    after = read(reader, world)
    changed = {name.split()[0] for name in before if before[name] != after[name]}
    assert changed == ASKED.keys()


@pytest.mark.parametrize("scope", list(SCOPES))
@pytest.mark.parametrize("name", sorted(FOR_ALL))
def test_what_spans_everybody_is_refused(world: dict[str, Any], holder: Any, scope: str, name: str) -> None:
    from apps.cost.models import Bill

    args = {"bill": [Bill.objects.latest("pk").pk], "ledger": ["rates"]}.get(name, [])
    client = holder(scope, SCOPES[scope](world))
    for query in ({}, {"_export": "csv"}, {"tenant": "acme", "to": "pool-one"}):
        assert client.get(reverse(f"cost:{name}", args=args), query).status_code == 403


def test_own_numbers_are_there(world: dict[str, Any], holder: Any) -> None:
    """acme's 37 dollars and its third of the pool, at a half: 19 euro."""
    html = holder("tenant", world["acme"]).get(reverse("cost:units"), {"per": "tenant"}).content.decode()
    assert Decimal(19) in [Decimal(one) for one in re.findall(r'title="([\d.]+) EUR"', html)]
