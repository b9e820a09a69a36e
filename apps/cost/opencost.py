"""OpenCost's allocation API as FOCUS lines: one for each component of each allocation.

The answer of `GET /allocation` (opencost.io/docs/integrations/api): `{"code": 200, "data": [{name: {properties, start, end,
cpuCost, …, totalCost}}]}`, saved as a .json file. It tells no currency: OpenCost's prices are taken as US dollars.
A float counts as it is written, cut off after the eighteenth place.
"""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from .pricing import next_month

#: FOCUS's ServiceName of each component, and the numbers of an allocation that make it.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "Kubernetes CPU": ("cpuCost", "cpuCostAdjustment"),
    "Kubernetes GPU": ("gpuCost", "gpuCostAdjustment"),
    "Kubernetes memory": ("ramCost", "ramCostAdjustment"),
    "Kubernetes volumes": ("pvCost", "pvCostAdjustment"),
    "Kubernetes network": ("networkCost", "networkCostAdjustment"),
    "Kubernetes load balancers": ("loadBalancerCost", "loadBalancerCostAdjustment"),
    "Kubernetes shared": ("sharedCost",),
    "Kubernetes external": ("externalCost",),
}
#: What `totalCost` says beyond its components.
REST = "Kubernetes other"
FOCUS = (
    "BilledCost", "EffectiveCost", "ListCost", "ProviderName", "BillingAccountId", "BillingCurrency", "BillingPeriodStart",
    "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ServiceName", "SubAccountId", "ResourceId",
    "ResourceName", "Tags",
)  # fmt: skip
PLACES = Decimal("1E-18")


class NoAllocation(ValueError):
    """The file is no answer of the allocation API; the message says why."""


def write_lines(source: Path, target: Path) -> None:
    """Write the FOCUS lines of an answer as a CSV. Raises NoAllocation."""
    try:
        answer = json.loads(source.read_text("utf-8"), parse_float=Decimal)
        with target.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(FOCUS)
            for step in answer["data"]:
                for name, allocation in (step or {}).items():
                    writer.writerows(_lines(name, allocation))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation, RecursionError) as error:
        raise NoAllocation(
            f"It is no answer of OpenCost's allocation API ({type(error).__name__}: {str(error)[:80]})."
        ) from error


def _lines(name: str, allocation: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    known = allocation.get("properties") or {}
    start, end = _moment(allocation["start"]), _moment(allocation["end"])
    month = start.date().replace(day=1)
    amounts = {
        service: sum((_money(allocation.get(one)) for one in numbers), Decimal(0))
        for service, numbers in COMPONENTS.items()
    }
    amounts[REST] = _money(allocation["totalCost"]) - sum(amounts.values(), Decimal(0))
    for service, amount in amounts.items():
        if amount:
            text = f"{amount:f}"
            yield (
                text, text, text, "OpenCost", known.get("cluster") or "cluster", "USD", f"{month} 00:00:00", f"{next_month(month)} 00:00:00",
                start.isoformat(sep=" "), end.isoformat(sep=" "), "Usage" if amount > 0 else "Adjustment", service,
                known.get("namespace") or name, name, known.get("controller") or "", json.dumps(known.get("labels") or {}),
            )  # fmt: skip


def _money(value: Any) -> Decimal:
    amount = Decimal(value or 0)
    if not amount.is_finite():
        raise ValueError("a cost is no number")
    return amount.quantize(PLACES, rounding=ROUND_DOWN)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)
