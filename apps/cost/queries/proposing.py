"""What no rule took, and which rule would."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from .. import allocating, classifying
from ..choices import RuleKind
from ..duck import connected
from ..focus import tag_sql
from ..models import Bill, DayCost, Statement
from .figures import UNALLOCATED, costs, in_month, month_end

#: Keys of tags that are tried.
MOST_KEYS = 40


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule that would take `amount` of what is unallocated: the values of `tag` are keys of `tenants` tenants."""

    kind: str
    tag: str
    currency: str
    amount: Decimal
    lines: int
    tenants: int

    @property
    def words(self) -> str:
        return (
            f"tag “{self.tag}” names the tenant"
            if self.kind == RuleKind.TAG
            else "resource is a tenant's instance"
        )


def unallocated(user: Any, month: date) -> Any:
    """Sums of what no rule took, by service and sub-account, the largest first."""
    rows = in_month(costs(user), month).filter(UNALLOCATED)
    columns = ("service", "sub_account_id", "sub_account__name", "sub_account__external_id", "currency")
    return (
        rows.values(*columns).annotate(amount=Sum("billed"), count=Sum("lines")).order_by("-amount", *columns)
    )


def proposals(month: date) -> list[Proposal]:
    """Rules by tag or by resource that would find tenants in the month's bills, those that take most first.

    For who sees all: it reads every line of the month's bills that have some unallocated.
    """
    open_runs = DayCost.objects.filter(UNALLOCATED, run__is_current=True).order_by().values("run__statement")
    statements = Statement.objects.filter(
        is_current=True, period_start__gte=month, period_start__lt=month_end(month), pk__in=open_runs
    )
    found: dict[tuple[str, str, str], tuple[Decimal, int, int]] = {}
    for bill in Bill.objects.filter(statements__in=statements).distinct():
        for key, amount, lines, tenants in _of_bill(bill):
            before = found.get(key, (Decimal(0), 0, 0))
            found[key] = (before[0] + amount, before[1] + lines, max(before[2], tenants))
    made = [Proposal(*key, *values) for key, values in found.items()]
    return sorted(made, key=lambda one: (-one.amount, one.tag))


def _of_bill(bill: Bill) -> list[tuple[tuple[str, str, str], Decimal, int, int]]:
    rules = allocating.active_rules_now()
    with connected() as duck:
        tags = allocating.open_lines(duck, bill).tags
        classifying.fill_lookups(duck)
        classes = classifying.classes(rules, tags)
        duck.execute(
            f"CREATE TABLE open AS SELECT g.* FROM (SELECT *, {classifying.RESOURCE} AS instance{classes.extra} FROM lines) g "
            "LEFT JOIN sub_lookup s ON s.provider = g.provider AND s.sub_account = g.sub_account "
            f"{classes.joins} WHERE {classes.rule} IS NULL"
        )
        made = []
        sums = "open.currency, sum(open.billed), count(*), count(DISTINCT t.{id})"
        for key in _keys(duck, tags):
            join = f"JOIN tenant_lookup t ON t.key = {tag_sql(key, tags)}"
            for currency, *values in duck.execute(
                f"SELECT {sums.format(id='id')} FROM open {join} GROUP BY 1"
            ).fetchall():
                made.append(((str(RuleKind.TAG), key, currency), *values))
        join = "JOIN instance_lookup t ON t.name = open.instance"
        for currency, *values in duck.execute(
            f"SELECT {sums.format(id='tenant')} FROM open {join} GROUP BY 1"
        ).fetchall():
            made.append(((str(RuleKind.RESOURCE), "", currency), *values))
    return made


def _keys(duck: Any, tags_type: str) -> list[str]:
    keys = "map_keys(tags)" if tags_type == "MAP" else "CASE WHEN json_valid(tags) THEN json_keys(tags) END"
    rows = duck.execute(
        f"SELECT key, count(*) AS n FROM (SELECT unnest({keys}) AS key FROM open) GROUP BY 1 ORDER BY n DESC, key LIMIT {MOST_KEYS}"
    ).fetchall()
    return [key for key, _ in rows if '"' not in key and "\\" not in key]
