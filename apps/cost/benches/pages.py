"""The money's pages over 24 months of 5,000 tenants, and the price lab over twelve of them."""

import gc
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.figures import Figure
from apps.tenants.models import Plan, Subscription, Tenant

from .. import rulebook
from ..models import Bill, SubAccount
from ..queries import margins
from ..queries.revenue import Tried
from ..views.ledgers import BOOKS
from .books import TENANTS
from .filling import MONTHS, NEWEST, fill

#: Of each page its name, what is told of it, what it is asked.
PAGES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("overview", "", {}), ("breakdown", "", {}), ("breakdown", "by day and service", {"by": "day", "then": "service"}),
    ("heavy", "", {}), ("margins", "", {}), ("lab", "", {}), ("revenue", "", {}), ("usage", "", {}), ("anomalies", "", {}),
    ("units", "by plan", {"per": "plan"}), ("units", "by region", {"per": "region"}), ("units", "by account", {"per": "account"}),
    ("units", "by component", {"per": "component"}), ("units", "by tenant", {"per": "tenant"}),
    ("idle", "", {}), ("placing", "", {}), ("move", "of one tenant", {"tenant": "bench-4000"}),
    ("unallocated", "", {}), ("bills", "", {}), ("upload", "", {}), ("rules", "", {}),
)  # fmt: skip
#: Months that are added up, or follow each other.
LONG: tuple[tuple[str, str, dict[str, str]], ...] = (
    *((name, "over twelve months added up", {"span": "12"}) for name in ("margins", "heavy", "revenue", "lab")),
    *((name, "over twelve months as invoiced", {"span": "12", "revenue": "invoiced"}) for name in ("margins", "heavy")),
    *(
        ("units", f"by {per} over twelve months added up", {"span": "12", "per": per})
        for per in ("plan", "cell", "account", "component", "tenant")
    ),
    ("months", "over 24 months", {"back": "24"}), ("months", "over 24 months as invoiced", {"back": "24", "revenue": "invoiced"}),
    ("cohorts", "over twelve months", {}), ("cohorts", "over twelve months as invoiced", {"revenue": "invoiced"}),
)  # fmt: skip
#: A table of this many lines is brought.
BROUGHT = 1_000


def cost_pages() -> Iterator[Figure]:
    """Every page of money. Each is asked five times; the median counts, the least is told beside it."""
    months = fill()
    with acting(system_actor("command"), reason="bench", via="command"):
        user = User.objects.create_superuser("bench-reader", "bench@example.org", "")
        rulebook.draft(actor=system_actor("command"))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    tenant = Tenant.objects.get(key="bench-7")
    bill = Bill.objects.latest("pk")
    asked: list[tuple[str, str, list[Any], dict[str, str]]] = [
        *((name, told, [], query) for name, told, query in (*PAGES, *LONG)),
        ("tenant", "", [tenant.pk], {}),
        ("bill", "", [bill.pk], {}),
        *(("ledger", book, [book], {}) for book in BOOKS),
    ]
    # As the web process does: what filling left is else gone through again and again in the midst of pages.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    for name, told, args, query in asked:
        yield from _page(client, name, told, args, query)
    sub = SubAccount.objects.get(external_id="sub-1").pk
    yield from _page(
        client,
        "lines",
        "of a tenant in a sub-account",
        [],
        {"tenant": str(tenant.pk), "sub_account": str(sub)},
        at_most=1_000,
    )
    yield from _page(client, "unallocated", "with rules that would help", [], {"propose": "1"}, at_most=1_000)
    yield from _bringing(client)
    yield from _after_a_change(client)
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


def _page(
    client: Client, name: str, told: str, args: list[Any], query: dict[str, str], *, at_most: float = 300
) -> Iterator[Figure]:
    url = f"{reverse(f'cost:{name}', args=args)}?{urlencode({'month': f'{NEWEST:%Y-%m}', **query})}"
    title = f"{name} {told}".strip()
    times, queries = _ask(client, url)
    yield Figure(
        f"{title}, of {MONTHS} months of {TENANTS:,} tenants", times[len(times) // 2], "ms", at_most=at_most
    )
    yield Figure(f"{title}, the least of {len(times)}", times[0], "ms")
    yield Figure(f"{title}, statements", queries, "queries", at_most=15)


def _ask(client: Client, url: str, *, often: int = 5) -> tuple[list[float], int]:
    """Milliseconds, the least first, and statements."""
    times, count = [], 0
    for _ in range(often):
        with CaptureQueriesContext(connection) as captured:
            began = time.perf_counter()
            response = client.get(url)
            times.append((time.perf_counter() - began) * 1000)
        if response.status_code != 200:
            raise RuntimeError(f"{url} answered {response.status_code}")
        count = len(captured)
    return sorted(times), count


def _bringing(client: Client) -> Iterator[Figure]:
    lines = "".join(f"{NEWEST},bench-{n},cpu,5\n" for n in range(BROUGHT))
    table = SimpleUploadedFile("usage.csv", f"day,tenant,meter,amount\n{lines}".encode())
    with CaptureQueriesContext(connection) as captured:
        began = time.perf_counter()
        response = client.post(reverse("cost:bring", args=["usage"]), {"table": table})
        took = (time.perf_counter() - began) * 1000
    if response.status_code != 302:
        raise RuntimeError(f"bringing usage answered {response.status_code}")
    yield Figure(f"bring a table of {BROUGHT:,} lines of usage", took, "ms", at_most=300)
    yield Figure("bring, statements", len(captured), "queries")


def _after_a_change(client: Client) -> Iterator[Figure]:
    """What a page takes that comes before the clock: twelve months that it reckons anew, and one that it keeps."""
    url = reverse("cost:margins") + f"?month={NEWEST:%Y-%m}"
    for span, told in (("12", "twelve months reckoned anew"), ("1", "one month reckoned anew and kept")):
        with acting(system_actor("command"), reason="bench", via="command"):
            one = Subscription.objects.order_by("pk")[:1]
            Subscription.objects.filter(pk__in=one.values("pk")).update(monthly_price=int(span) + 100)
        times, _ = _ask(client, f"{url}&span={span}", often=1)
        yield Figure(f"margins, the first after a change, {told}", times[0], "ms")
