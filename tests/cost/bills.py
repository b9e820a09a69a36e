"""Small bills for tests, and what they came to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db.models import Sum

from apps.access.services import system_actor
from apps.cost import importing
from apps.cost.models import Bill, DailyCost, Statement
from tests import factories

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "focus-1.0-sample.csv"

LINE: dict[str, str] = {
    "BilledCost": "1.5", "EffectiveCost": "1.25", "ListCost": "2", "BillingAccountId": "payer-1",
    "BillingAccountName": "Payer", "BillingCurrency": "USD", "BillingPeriodStart": "2026-09-01 00:00:00",
    "BillingPeriodEnd": "2026-10-01 00:00:00", "ChargeCategory": "Usage", "ChargeClass": "NULL",
    "ChargeDescription": "an hour", "ChargePeriodStart": "2026-09-05 03:00:00",
    "ChargePeriodEnd": "2026-09-05 04:00:00", "ConsumedQuantity": "1", "ConsumedUnit": "Hours", "ProviderName": "AWS",
    "ResourceId": "arn:aws:ec2:1:vm/a", "ServiceName": "EC2", "SubAccountId": "sub-1", "SubAccountName": "Sub one",
    "Tags": "NULL",
}  # fmt: skip


def as_csv(lines: Iterable[Mapping[str, str]], *, leave_out: Sequence[str] = ()) -> bytes:
    out = io.StringIO()
    columns = [column for column in LINE if column not in leave_out]
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    for line in lines:
        writer.writerow({**LINE, **line})
    return out.getvalue().encode()


def deliver(*files: bytes, name: str = "bill.csv", read: bool = True) -> Bill:
    """Upload one delivery, and read it as its worker would."""
    given = [(f"{n}-{name}" if n else name, [data]) for n, data in enumerate(files)]
    bill, _ = importing.receive_upload(given, actor=system_actor("command"))
    if read:
        importing.read_bill(bill.pk)
        bill.refresh_from_db()
    return bill


def lines(*values: Any, **same: str) -> list[dict[str, str]]:
    """One line for each billed amount; effective and list cost are the same amount."""
    return [{"BilledCost": str(v), "EffectiveCost": str(v), "ListCost": str(v), **same} for v in values]


def deliver_sample() -> Bill:
    return deliver(SAMPLE.read_bytes(), name="focus-1.0-sample.csv")


def rules_of(bill: Bill) -> set[str]:
    return {finding["rule"] for finding in bill.report["findings"]}


def current() -> Any:
    return DailyCost.objects.filter(run__is_current=True)


def facts() -> list[tuple[Any, ...]]:
    """All that counts, in an order of its own and without ids that differ from import to import."""
    columns = (
        "day",
        "tenant__key",
        "sub_account__external_id",
        "service",
        "rule__position",
        "currency",
        "billed",
        "effective",
        "listed",
    )
    return sorted(current().values_list(*columns, "lines"), key=str)


def sums(by: str) -> dict[Any, Decimal]:
    return dict(current().order_by().values_list(by).annotate(total=Sum("billed")))


def statement_total() -> Decimal:
    return sum(Statement.objects.filter(is_current=True).values_list("billed", flat=True), Decimal(0))


def tenants(*keys: str) -> list[Any]:
    return [factories.make_tenant(key) for key in keys]


def add_rules(*rules: Mapping[str, Any]) -> None:
    """Draft, activate, and allocate what is there."""
    from apps.cost import rulebook

    actor = system_actor("command")
    rulebook.discard_draft(actor=actor)
    made = rulebook.draft(actor=actor)
    for old in made.rules.all():
        rulebook.remove_rule(old, actor=actor)
    for rule in rules:
        rulebook.add_rule(actor=actor, **rule)
    rulebook.activate(made, actor=actor, note="test rules")
    rulebook.allocate_stale()
