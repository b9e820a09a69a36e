"""Ten million bill lines of five thousand tenants: imported, checked, allocated; and what DuckDB alone takes to group them."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from django.db import connection
from django.db.models import Sum

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.figures import Figure
from apps.tenants.models import Tenant

from .. import importing, rulebook
from ..duck import connected, literal
from ..models import Bill, DailyCost, DayCost, Run
from ..queries import lines

LINES, TENANTS = int(os.environ.get("DAYTWO_BENCH_LINES", "10000000")), 5_000
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class _Import:
    """A bill that was imported: seconds of bare DuckDB, in all and of taking it in; bytes of memory at the peak."""

    bill: Bill
    bare: float
    took: float
    taken_in: float
    memory: int


def books() -> Iterator[Figure]:
    """Bills of a month as a provider delivers them in Parquet, two rules: a tag names the tenant of every line; what would be shared evenly is none."""
    actor = system_actor("command")
    make_tenants()
    with acting(actor, reason="bench", via="command"):
        rulebook.discard_draft(actor=actor)
        rulebook.add_rule(actor=actor, kind="tag", tag="tenant")
        ruleset = rulebook.add_rule(actor=actor, kind="evenly", service="Support").ruleset
        rulebook.activate(ruleset, actor=actor, note="bench")
    # Twice, each of another month, and of both sides the less: memory costs more the first time that a machine hands it out.
    runs = [_delivered(month, actor) for month in (date(2026, 8, 1), date(2026, 9, 1))]
    least, bare, bill = min(one.took for one in runs), min(one.bare for one in runs), runs[-1].bill
    memory = max(one.memory for one in runs)
    facts = sum(Run.objects.filter(statement__bill=bill).values_list("facts", flat=True))
    if DailyCost.objects.filter(run__statement__bill=bill).count() != facts:
        raise RuntimeError("facts are missing")
    by_day = [
        dict(
            m.objects.filter(run__statement__bill=bill).order_by().values_list("day").annotate(Sum("billed"))
        )
        for m in (DailyCost, DayCost)
    ]
    if by_day[0] != by_day[1]:
        raise RuntimeError("the facts of a day are not what the day came to")
    yield Figure(f"bill of {LINES:,} lines, imported, checked, allocated", least, "s", at_most=60)
    yield Figure("of these, taken in (copied and digested)", min(one.taken_in for one in runs), "s")
    yield Figure("facts written", facts, "rows")
    yield Figure("memory at its peak", memory / GIB, "GiB", at_most=4)
    yield Figure("bare DuckDB, grouped by tenant and day", bare, "s")
    yield Figure("bill against bare DuckDB", least / bare, "times", at_most=3)
    yield from _drilled(bill)
    apart = _delivered(date(2026, 7, 1), actor, apart=True)
    yield Figure(
        "bill whose effective and list cost are not the billed, against bare DuckDB",
        apart.took / apart.bare,
        "times",
    )
    yield Figure("load of the machine at the end", os.getloadavg()[0], "")


def _delivered(month: date, actor: User, *, apart: bool = False) -> _Import:
    """A bill of a month, read by DuckDB alone and then imported."""
    with tempfile.TemporaryDirectory(prefix="daytwo-bill-") as folder:
        path = Path(folder) / "bill.parquet"
        _generate(path, month, apart=apart)
        os.sync()  # a bill is not written in the second before it is read
        bare = _bare(path)
        with _Peak() as peak:
            began = time.perf_counter()
            bill, _ = importing.receive_paths([path], actor=actor)
            received = time.perf_counter()
            importing.read_bill(bill.pk)
            took = time.perf_counter() - began
    bill.refresh_from_db()
    if bill.state != "imported" or bill.lines != LINES:
        raise RuntimeError(f"the bill was not imported: {bill.report}")
    return _Import(bill, bare, took, received - began, peak.most)


def _drilled(bill: Bill) -> Iterator[Figure]:
    """From sums of that bill down to its lines: of a tenant, of a tenant's day and service, of a service."""
    with acting(system_actor("command"), reason="bench", via="command"):
        reader = User.objects.create_superuser("bench-books", "bench-books@example.org", "")
    tenant, month = Tenant.objects.get(key="bench-7").pk, bill.statements.get().period_start
    for told, where in (
        ("a tenant", {"tenant_id": tenant}),
        ("a tenant's day and service", {"tenant_id": tenant, "day": month, "service": "S3"}),
        ("a service", {"service": "S3"}),
    ):
        began = time.perf_counter()
        found = lines.bill_lines(reader, month, where)
        took = time.perf_counter() - began
        yield Figure(f"down to the {found.count:,} lines of {told}", took, "s", at_most=1)


def make_tenants() -> None:
    """The tenants of the benches."""
    lacking = TENANTS - Tenant.objects.filter(key__startswith="bench-").count()
    if lacking > 0:
        with acting(system_actor("command"), reason="bench", via="command"):
            Tenant.objects.bulk_create(
                [Tenant(key=f"bench-{n}", name=f"Bench {n}") for n in range(TENANTS - lacking, TENANTS)]
            )


def _generate(path: Path, month: date, *, apart: bool) -> None:
    """Lines of thirty days, six services, four sub-accounts; a tenant is in one sub-account and uses all services.

    Effective and list cost are the billed cost, as of a bill without commitments, unless they are to stand `apart`.
    """
    effective, listed = (
        f"CAST(BilledCost * {by} AS DECIMAL(20,10))" if apart else "BilledCost" for by in (0.8, 1.3)
    )
    with connected() as duck:
        duck.execute(
            "COPY (SELECT CAST((hash(i) % 1000000) / 1e8 AS DECIMAL(20,10)) AS BilledCost, "
            f"{effective} AS EffectiveCost, {listed} AS ListCost, 'payer' AS BillingAccountId, 'Payer' AS BillingAccountName, 'USD' AS BillingCurrency, "
            f"TIMESTAMP '{month}' AS BillingPeriodStart, TIMESTAMP '{month}' + INTERVAL 1 MONTH AS BillingPeriodEnd, 'Usage' AS ChargeCategory, "
            f"TIMESTAMP '{month}' + to_hours(CAST(hash(100000000000 + i) % 720 AS INTEGER)) AS ChargePeriodStart, "
            "ChargePeriodStart + INTERVAL 1 HOUR AS ChargePeriodEnd, 'AWS' AS ProviderName, "
            "'sub-' || (hash(200000000000 + i) % 5000 % 4) AS SubAccountId, "
            "['EC2', 'S3', 'RDS', 'Lambda', 'ELB', 'Support'][1 + CAST(hash(300000000000 + i) % 6 AS INTEGER)] AS ServiceName, "
            "'i-' || (hash(400000000000 + i) % 100000) AS ResourceId, CAST(1 AS DECIMAL(20,10)) AS ConsumedQuantity, "
            '\'{"env": "prod", "tenant": "bench-\' || (hash(200000000000 + i) % 5000) || \'"}\' AS Tags '
            f"FROM range({LINES}) t(i)) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _bare(path: Path) -> float:
    """Seconds that DuckDB takes to sum the same file by tenant and day."""
    with connected() as duck:
        began = time.perf_counter()
        duck.execute(
            "SELECT json_extract_string(Tags, '$.tenant') AS tenant, CAST(ChargePeriodStart AS DATE) AS day, sum(BilledCost) "
            f"FROM read_parquet({literal(path)}) GROUP BY ALL"
        ).fetchall()
        return time.perf_counter() - began


class _Peak:
    """The most memory that this process and its PostgreSQL session held, as the kernel kept it: looking often would slow both.

    The session's share of PostgreSQL's common buffers is counted with it.
    """

    most = 0

    def __enter__(self) -> "_Peak":
        Path("/proc/self/clear_refs").write_text("5")  # counts from here on
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.watched = ["self", str(cursor.fetchone()[0])]
        return self

    def __exit__(self, *args: object) -> None:
        self.most = sum(self._most_of(one) for one in self.watched)

    @staticmethod
    def _most_of(process: str) -> int:
        told = Path(f"/proc/{process}/status").read_text()
        return int(told.partition("VmHWM:")[2].split()[0]) * 1024
