"""Revenue as invoices tell it: a CSV by tenant key, or Stripe's invoices; each line spread over the months of its period.

Stripe: the JSON of `GET /v1/invoices` (docs.stripe.com/api/invoices/list), or a CSV whose columns have the names of
Stripe's invoice line items (id, customer, amount, currency, period_start, period_end), amounts in the smallest unit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.access.models import User
from apps.access.services import system_actor
from apps.core import strict_json
from apps.core.context import acting
from apps.core.events import event, record
from apps.tenants.models import ExternalId, Tenant

from . import tabular
from .choices import RevenueSource
from .locks import Lock, hold
from .models import Revenue
from .pricing import spread
from .tabular import Unreadable

PLAIN = ("id", "tenant", "start", "end", "currency", "amount")
STRIPE = ("id", "customer", "amount", "currency", "period_start", "period_end")
#: Currencies without a smaller unit (docs.stripe.com/currencies#zero-decimal).
WHOLE = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())
#: Invoices that count; drafts, void and uncollectible ones do not.
COUNTING = ("open", "paid")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice; `end` is the first day after its period."""

    id: str
    customer: str
    currency: str
    amount: Decimal
    start: date
    end: date
    description: str = ""


def import_revenue(data: bytes, source: str, name: str, *, actor: User) -> int:
    """Take in invoice lines; one that is there already is replaced. Gives how many. All or, with Unreadable raised, nothing."""
    problems: list[str] = []
    lines: dict[str, Line] = {}
    for place, read in _read(data, source):
        try:
            line = read()
            if line.id in lines:
                raise ValueError(f"the line {line.id[:60]} came before")
            lines[line.id] = line
        except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
            words = f"{error} lacks" if isinstance(error, KeyError) else str(error)
            problems.append(f"{place}: {words}.")
    if problems:
        raise Unreadable(problems)
    tenants = customers(source)
    if source == RevenueSource.CSV and (
        unknown := sorted({one.customer for one in lines.values()} - tenants.keys())
    ):
        raise Unreadable([f"There is no tenant “{key[:63]}”." for key in unknown])
    with transaction.atomic(), acting(actor, reason="revenue imported"):
        # The same table brought twice at once: the second finds the first's lines, and replaces them.
        hold(Lock.REVENUE)
        Revenue.objects.filter(source=source, line__in=list(lines)).delete()
        rows = [row for line in lines.values() for row in _rows(line, source, tenants)]
        Revenue.objects.bulk_create(rows, batch_size=5_000)
        record([event("revenue.imported", f"Revenue was imported from {name[:100]}: {len(lines):,} lines")])
    return len(lines)


def _rows(line: Line, source: str, tenants: dict[str, int]) -> Iterator[Revenue]:
    for month, amount in spread(line.amount, line.start, line.end).items():
        yield Revenue(
            source=source, line=line.id, customer=line.customer, tenant_id=tenants.get(line.customer), month=month,
            currency=line.currency, amount=amount, description=line.description[:200],
        )  # fmt: skip


def customers(source: str) -> dict[str, int]:
    """Tenants by what the source calls them: their key, or their external id in that system."""
    if source == RevenueSource.CSV:
        return dict(Tenant.objects.values_list("key", "pk"))
    return dict(ExternalId.objects.filter(system=source).values_list("value", "tenant"))


def place_revenue() -> int:
    """Give revenue without a tenant to those whose external id has come since; gives the rows placed."""
    placed = 0
    with acting(system_actor("bills"), reason="external ids", via="system"), transaction.atomic():
        for source in RevenueSource.values:
            lost = Revenue.objects.filter(source=source, tenant=None)
            known = customers(source)
            for customer in set(lost.order_by().values_list("customer", flat=True)) & known.keys():
                placed += lost.filter(customer=customer).update(tenant=known[customer])
    return placed


def _read(data: bytes, source: str) -> Iterable[tuple[str, Any]]:
    """Each line's place and what reads it."""
    if source == RevenueSource.STRIPE and data.lstrip()[:1] in (b"{", b"["):
        return list(_of_json(data))
    columns, make = (STRIPE, _of_stripe_row) if source == RevenueSource.STRIPE else (PLAIN, _of_plain_row)
    rows = tabular.read_csv(data, columns, ("description",))
    return [(f"Line {number}", lambda row=row: make(row)) for number, row in rows]


def _of_plain_row(row: dict[str, str]) -> Line:
    if not row["id"]:
        raise ValueError("the id is empty")
    start, end = tabular.day(row["start"]), tabular.day(row["end"])
    return _checked(
        Line(
            row["id"],
            row["tenant"],
            row["currency"],
            tabular.number(row["amount"], places=2, digits=16),
            start,
            end,
            row["description"],
        )
    )


def _of_stripe_row(row: dict[str, str]) -> Line:
    return _stripe(row, row["customer"], row["period_start"], row["period_end"])


def _of_json(data: bytes) -> Iterator[tuple[str, Any]]:
    try:
        found = strict_json.loads(tabular.text_of(data))
        invoices = found["data"] if isinstance(found, dict) else found
        for invoice in invoices:
            if invoice["status"] not in COUNTING:
                continue
            if invoice["lines"].get("has_more"):
                raise Unreadable(
                    [
                        f"Invoice {invoice['id']} has more lines than the file tells; export it with all of them."
                    ]
                )
            for line in invoice["lines"]["data"]:
                period = line["period"]
                yield (
                    f"Invoice {invoice['id']}",
                    lambda line=line, period=period, customer=invoice["customer"]: _stripe(
                        line, customer, period["start"], period["end"]
                    ),
                )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(["It is no list of invoices as Stripe's API gives it."]) from error


def _stripe(row: Any, customer: Any, start: Any, end: Any) -> Line:
    currency = str(row["currency"]).upper()
    whole = tabular.number(str(row["amount"]), places=0, digits=16)
    amount = whole if currency in WHOLE else whole.scaleb(-2)
    if not isinstance(customer, str) or not customer:
        raise ValueError("it names no customer")
    return _checked(
        Line(
            str(row["id"]),
            customer,
            currency,
            amount,
            _moment(start),
            _moment(end),
            str(row.get("description") or ""),
        )
    )


def _moment(value: Any) -> date:
    """Seconds since 1970 as the API has them, or a date as exports have it."""
    text = str(value)
    return datetime.fromtimestamp(int(text), UTC).date() if text.isdigit() else tabular.day(text)


def _checked(line: Line) -> Line:
    if not line.id or max(len(line.id), len(line.customer)) > 120:
        raise ValueError("an id is empty or longer than 120 characters")
    if len(line.currency) != 3 or not (
        line.currency.isascii() and line.currency.isalpha() and line.currency.isupper()
    ):
        raise ValueError(f"“{line.currency[:10]}” is no currency")
    if line.end < line.start or (line.end - line.start).days > 3_700:
        raise ValueError("its period ends before it starts, or is longer than ten years")
    return line
