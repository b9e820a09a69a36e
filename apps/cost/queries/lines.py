"""From a sum down to the bill lines it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from apps.access.choices import Permission
from apps.access.scoping import scopes_of

from .. import allocating, classifying
from ..choices import SHARING
from ..duck import connected, literal
from ..models import Bill, Rule, Statement, SubAccount
from .figures import costs, in_month

MOST = 200
SHOWN = (
    "day",
    "sub_account",
    "service",
    "resource",
    "description",
    "quantity",
    "unit",
    "category",
    "currency",
    "billed",
)


@dataclass(frozen=True, slots=True)
class LinesPage:
    """The first lines behind a sum, the costliest first, and what all of them come to, by currency."""

    rows: list[dict[str, Any]]
    count: int
    totals: Mapping[str, Decimal]
    #: Rules that gave the tenant a share of a pool: these lines are the pool's, of others too.
    pools: list[str]


def bill_lines(user: Any, month: date, where: Mapping[str, Any]) -> LinesPage:
    """The lines behind the reader's costs in a month; `where` as for `figures.breakdown`.

    A share of a pool has no lines of its own. Who sees all is shown the pool's; anybody else only what is given
    to their tenants whole, or lies in their accounts.
    """
    facts = in_month(costs(user, **where), month)
    found = facts.values_list(
        "run__statement__bill_id",
        "run__statement_id",
        "run__ruleset_id",
        "sub_account_id",
        "rule_id",
        "account_id",
    ).distinct()
    by_bill: dict[tuple[int, int], list[tuple[int, int, int | None, int | None]]] = {}
    for bill, statement, ruleset, sub, rule, account in found:
        by_bill.setdefault((bill, ruleset), []).append((statement, sub, rule, account))
    rows: list[dict[str, Any]] = []
    count, totals, pools = 0, dict[str, Decimal](), set[int]()
    for (bill_id, ruleset_id), parts in by_bill.items():
        more, n, sums = _of_bill(user, bill_id, ruleset_id, parts, where, pools)
        rows += more
        count += n
        for currency, amount in sums.items():
            totals[currency] = totals.get(currency, Decimal(0)) + amount
    rows.sort(key=lambda row: -abs(row["billed"]))
    words = [rule.in_words() for rule in Rule.objects.filter(pk__in=pools).select_related("tenant")]
    return LinesPage(rows[:MOST], count, totals, words)


def _of_bill(
    user: Any, bill_id: int, ruleset_id: int, parts: list[tuple[int, int, int | None, int | None]],
    where: Mapping[str, Any], pools: set[int],
) -> tuple[list[dict[str, Any]], int, dict[str, Decimal]]:  # fmt: skip
    bill = Bill.objects.get(pk=bill_id)
    rules = list(Rule.objects.filter(ruleset_id=ruleset_id).select_related("tenant"))
    shared = {rule.pk for rule in rules if rule.kind in SHARING}
    used = {rule for _, _, rule, _ in parts if rule in shared}
    pools |= used
    with connected() as duck:
        tags = allocating.open_lines(duck, bill).tags
        classifying.fill_lookups(duck)
        classes = classifying.classes(rules, tags)
        conditions = _conditions(user, parts, where, used)
        query = (
            f"SELECT * FROM (SELECT g.*, s.account, {classes.rule} AS rule, {classes.tenant} AS tenant FROM "
            f"(SELECT *{classes.extra} FROM lines WHERE {_before(parts, where)}) g "
            "LEFT JOIN sub_lookup s ON s.provider = g.provider AND s.sub_account = g.sub_account "
            f"{classes.joins}) WHERE {conditions}"
        )
        duck.execute(f"CREATE TABLE picked AS SELECT file, line, rule, {', '.join(SHOWN)} FROM ({query})")
        sums = duck.execute("SELECT currency, sum(billed), count(*) FROM picked GROUP BY 1").fetchall()
        cursor = duck.execute(f"SELECT * FROM picked ORDER BY abs(billed) DESC, file, line LIMIT {MOST}")
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        row["bill"], row["file_name"] = bill, bill.files[row["file"]]["name"]
        row["is_pool"] = row["rule"] in shared
    return rows, sum(n for _, _, n in sums), {currency: amount for currency, amount, _ in sums}


def _before(parts: list[tuple[int, int, int | None, int | None]], where: Mapping[str, Any]) -> str:
    """Conditions on the lines themselves, so that the rules run over few."""
    subs = SubAccount.objects.filter(pk__in={sub for _, sub, _, _ in parts}).values_list(
        "provider", "external_id"
    )
    statements = Statement.objects.filter(pk__in={one for one, _, _, _ in parts})
    allowed = [
        f"(provider = {literal(s.provider)} AND billing_account = {literal(s.billing_account)} "
        f"AND currency = {literal(s.currency)} AND CAST(period_start AS DATE) = {literal(str(s.period_start))})"
        for s in statements
    ]
    made = [f"({' OR '.join(allowed) or 'false'})"]
    named = ", ".join(f"({literal(p)}, {literal(i)})" for p, i in subs)
    made.append(f"(provider, sub_account) IN ({named})" if named else "false")
    made += [f"{name} = {literal(where[name])}" for name in ("service", "currency") if name in where]
    if "day" in where:
        made.append(f"day = {literal(str(where['day']))}")
    return " AND ".join(made)


def _conditions(
    user: Any, parts: list[tuple[int, int, int | None, int | None]], where: Mapping[str, Any], pools: set[int]
) -> str:
    """Conditions on whose the lines are, and on what the reader may see of them."""
    made = []
    in_pools = f"rule IN ({', '.join(map(str, pools))})" if pools else "false"
    if "tenant_id" in where:
        made.append(f"(tenant = {int(where['tenant_id'])} OR {in_pools})")
    elif where.get("tenant_id__isnull"):
        made.append(
            "tenant IS NULL AND NOT coalesce(rule IN (SELECT unnest([{}]::BIGINT[])), false)".format(
                ", ".join(map(str, pools))
            )
        )
    if "rule_id" in where:
        made.append(f"rule = {int(where['rule_id'])}")
    elif where.get("rule_id__isnull"):
        made.append("rule IS NULL")
    scopes = scopes_of(user, Permission.SEE_COST)
    if not scopes.everything:
        accounts = ", ".join(map(str, scopes.accounts)) or "NULL"
        tenants = ", ".join(map(str, scopes.tenants)) or "NULL"
        made.append(f"(account IN ({accounts}) OR tenant IN ({tenants}))")
    return " AND ".join(made) or "true"
