"""Giving each line to tenants: groups, rules, shared pools, daily facts. Nothing is lost, and a check says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import duckdb

from apps.tenants.choices import TenantState
from apps.tenants.models import Tenant

from . import classifying, focus, grouping, loading, sharing, store
from .choices import SHARING, RuleKind
from .models import Bill, Rule, RuleSet, Run, Statement, Usage
from .sharing import MEASURES

#: Who shares in what is shared evenly.
SHARING_STATES = (TenantState.ACTIVE, TenantState.TRIAL)


class Unbalanced(RuntimeError):
    """Allocated, overhead and unallocated do not add up to what was billed; nothing is written."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What one statement came to."""

    facts: int
    allocated: Decimal
    overhead: Decimal
    unallocated: Decimal


def open_lines(duck: duckdb.DuckDBPyConnection, bill: Bill) -> grouping.Opened:
    """Make the view `lines` over an imported bill's files."""
    files = []
    for one in bill.files:
        path, columns = store.as_parquet(duck, store.folder_of(bill.digest) / one["stored"])
        files.append((str(path), focus.sources(columns)))
    return grouping.open_files(duck, files)


def allocate_groups(
    duck: duckdb.DuckDBPyConnection, statements: Sequence[Statement], ruleset: RuleSet, rules: Sequence[Rule]
) -> list[Run]:
    """Allocate the statements' lines (the views `summed` and `kinds`, made for these rules), and make that what counts.

    In the caller's transaction. Former runs stay, marked as not current. Raises Unbalanced.
    """
    Run.objects.filter(statement__in=statements, is_current=True).update(is_current=False)
    runs = [Run.objects.create(statement=statement, ruleset=ruleset) for statement in statements]
    totals = make_facts(duck, [(run.pk, run.statement) for run in runs], rules)
    loading.load(duck, rules)
    for run in runs:
        of_run = totals[run.pk]
        run.facts, run.allocated = of_run.facts, of_run.allocated
        run.overhead, run.unallocated = of_run.overhead, of_run.unallocated
        run.save()
    return runs


def active_rules() -> RuleSet:
    """The version that counts; an empty first one where there is none yet."""
    found = RuleSet.objects.filter(state="active").first()
    return found or RuleSet.objects.create(version=1, state="active", note="no rules yet")


def rules_that_count() -> tuple[RuleSet, list[Rule]]:
    """The active version and its rules, in order."""
    ruleset = active_rules()
    return ruleset, list(ruleset.rules.select_related("tenant"))


def active_rules_now() -> list[Rule]:
    """The rules that count, in order; none where none were ever activated. Writes nothing."""
    return list(Rule.objects.filter(ruleset__state="active").select_related("tenant"))


def make_facts(
    duck: duckdb.DuckDBPyConnection,
    numbered: Sequence[tuple[int, Statement]],
    rules: Sequence[Rule],
) -> dict[int, Totals]:
    """Make the table `facts` from `summed` and `kinds` for statements with the numbers they get; gives their totals.

    Reads PostgreSQL, writes nothing there. Raises Unbalanced.
    """
    classifying.fill_lookups(duck)
    classifying.fill(
        duck, "statement_lookup",
        "provider VARCHAR, billing_account VARCHAR, currency VARCHAR, period DATE, run BIGINT",
        [(s.provider, s.billing_account, s.currency, s.period_start, number) for number, s in numbered],
    )  # fmt: skip
    found = classifying.classes(rules, "")
    duck.execute(
        "CREATE OR REPLACE TABLE kinds_taken AS SELECT g.file, g.kind, g.service, g.currency, l.run, s.id AS sub, s.account, "
        f"{found.rule} AS rule, {found.tenant} AS tenant FROM kinds g "
        "JOIN statement_lookup l ON l.provider = g.provider AND l.billing_account = g.billing_account "
        "AND l.currency = g.currency AND l.period = g.period "
        "LEFT JOIN sub_lookup s ON s.provider = g.provider AND s.sub_account = g.sub_account "
        f"{found.joins}"
    )
    duck.execute(
        "CREATE OR REPLACE VIEW taken AS SELECT s.* EXCLUDE (file, kind, period_end), k.* EXCLUDE (file, kind) FROM summed s "
        "JOIN kinds_taken k ON k.file = s.file AND k.kind = s.kind"
    )
    kept = _measures_apart(duck)
    _sum_up(duck, rules, kept)
    return _balanced(duck, numbered, rules)


def _measures_apart(duck: duckdb.DuckDBPyConnection) -> list[str]:
    """The measures that have to be added up: the billed cost, and each of the others that is another in any sum.

    A share of a pool is made from its sum alone, so that what is the same of pools is the same of their shares.
    """
    others = [one for one in MEASURES if one != "billed"]
    told = ", ".join(f"coalesce(bool_and({one} IS NOT DISTINCT FROM billed), true)" for one in others)
    row = duck.execute(f"SELECT {told} FROM summed").fetchone()
    return ["billed", *(one for one, is_same in zip(others, row or (), strict=True) if not is_same)]


def _sum_up(duck: duckdb.DuckDBPyConnection, rules: Sequence[Rule], kept: Sequence[str]) -> None:
    """From taken sums to facts: pools shared out, all else added up. Of measures those `kept`, the others are as billed."""
    pooled = ", ".join(str(rule.pk) for rule in rules if rule.kind in SHARING) or "-1"
    sums = ", ".join(f"CAST(sum({one}) AS {focus.MONEY}) AS {one}" for one in MEASURES)
    duck.execute(
        f"CREATE OR REPLACE TABLE pools AS SELECT row_number() OVER () AS pool, * FROM (SELECT run, rule, day, account, sub, "
        f"service, currency, {sums}, sum(lines) AS lines FROM taken WHERE rule IN ({pooled}) GROUP BY ALL)"
    )
    days = [row[0] for row in duck.execute("SELECT DISTINCT day FROM pools").fetchall()]
    classifying.fill(
        duck,
        "weights",
        "rule BIGINT, day DATE, tenant BIGINT, key VARCHAR, weight BIGINT",
        _weights(rules, days),
    )
    made = _added(duck, kept, f"rule IS NULL OR rule NOT IN ({pooled})")
    if days:
        # Only then: what is shared has eighteen places, and all facts with it; of a UNION's two DuckDB keeps the fewest.
        wide = ", ".join(f"CAST({one} AS {focus.MONEY}) AS {one}" for one in kept)
        made = f"SELECT * REPLACE ({wide}) FROM ({made}) UNION ALL {_shared(kept)}"
    duck.execute(f"CREATE OR REPLACE TABLE facts_kept AS {made}")
    others = "".join(f", billed AS {one}" for one in MEASURES if one not in kept)
    duck.execute(f"CREATE OR REPLACE VIEW facts AS SELECT *{others} FROM facts_kept")


def _added(duck: duckdb.DuckDBPyConnection, kept: Sequence[str], where: str) -> str:
    """The facts that are no shares. Where no two kinds came to the same a sum of a kind and day is one already."""
    whose = "run, tenant, account, sub, service, rule, currency"
    told = f"SELECT count(*) = count(DISTINCT ({whose})) FROM kinds_taken WHERE {where}"
    row = duck.execute(told).fetchone()
    if row and row[0]:
        return f"SELECT {whose}, day, {', '.join(kept)}, lines FROM taken WHERE {where}"
    added = ", ".join(f"sum({one}) AS {one}" for one in (*kept, "lines"))
    return f"SELECT {whose}, day, {added} FROM taken WHERE {where} GROUP BY ALL"


def _shared(kept: Sequence[str]) -> str:
    """The facts of pools: the shares, and whole pools of rules in which nobody shares."""
    return (
        f"SELECT p.run, s.tenant, p.account, p.sub, p.service, p.rule, p.currency, p.day, {', '.join(f's.{one}' for one in kept)}, "
        f"p.lines FROM ({sharing.shares_sql('pools', 'weights')}) s JOIN pools p ON p.pool = s.pool "
        # Nobody to share with: it stays unallocated, and is shown as that.
        f"UNION ALL SELECT run, NULL, account, sub, service, NULL, currency, day, {', '.join(kept)}, lines FROM pools p "
        "WHERE NOT EXISTS (SELECT 1 FROM weights w WHERE w.rule = p.rule AND w.day = p.day)"
    )


def _weights(rules: Sequence[Rule], days: Sequence[date]) -> Iterable[tuple[int, date, int, str, int]]:
    """Who shares in which rule's pools on which day, and with which weight."""
    sharing_rules = [rule for rule in rules if rule.kind in SHARING]
    if not sharing_rules or not days:
        return
    tenants = dict(Tenant.objects.order_by("key").values_list("key", "pk"))
    even = list(Tenant.objects.filter(state__in=SHARING_STATES).order_by("key").values_list("key", flat=True))
    for rule in sharing_rules:
        by_day = _usage(rule.driver, days) if rule.kind == RuleKind.USAGE else {}
        for day in days:
            weights: dict[str, int] = {
                RuleKind.EVENLY: dict.fromkeys(even, 1),
                # With a key that names nobody any more all of it stays unallocated, and is shown as that: to the
                # others' cost it would be added in silence.
                RuleKind.SHARES: rule.shares if rule.shares.keys() <= tenants.keys() else {},
            }.get(RuleKind(rule.kind), by_day.get(day, {}))
            yield from ((rule.pk, day, tenants[key], key, weight) for key, weight in weights.items())


def _usage(driver: str, days: Sequence[date]) -> dict[date, dict[str, int]]:
    found: dict[date, dict[str, Decimal]] = {}
    rows = Usage.objects.filter(driver=driver, day__in=days).order_by("tenant__key")
    for day, key, amount in rows.values_list("day", "tenant__key", "amount"):
        found.setdefault(day, {})[key] = amount
    return {day: sharing.scaled(amounts) for day, amounts in found.items()}


def _balanced(
    duck: duckdb.DuckDBPyConnection, numbered: Sequence[tuple[int, Statement]], rules: Sequence[Rule]
) -> dict[int, Totals]:
    """Totals by statement, each measure of each compared with the statement itself."""
    cursor = duck.execute(
        "SELECT run, count(*), sum(billed), sum(effective), sum(listed), "
        "coalesce(sum(billed) FILTER (tenant IS NOT NULL), 0), "
        "coalesce(sum(billed) FILTER (tenant IS NULL AND rule IS NOT NULL), 0), "
        "coalesce(sum(billed) FILTER (tenant IS NULL AND rule IS NULL), 0) FROM facts GROUP BY run"
    )
    rows = {row[0]: row[1:] for row in cursor.fetchall()}
    totals = {}
    for number, statement in numbered:
        count, billed, effective, listed, allocated, overhead, unallocated = rows[number]
        if (billed, effective, listed) != (statement.billed, statement.effective, statement.listed):
            raise Unbalanced(f"{statement}: {billed} came of {statement.billed} billed; nothing was written.")
        totals[number] = Totals(count, allocated, overhead, unallocated)
    return totals
