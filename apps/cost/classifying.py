"""Whose a line is: the rules of one version as SQL over bill lines, the same for counting and for explaining.

Lines are first grouped by what the rules ask for and only by that; the rules then run over groups, so that ten
million lines are read once. The first rule, in order, whose conditions hold and which finds a tenant takes the group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from apps.fleet.choices import InstanceKind
from apps.fleet.models import Placement
from apps.tenants.models import Tenant

from .choices import SHARING, RuleKind
from .duck import literal
from .focus import tag_sql
from .models import Rule, SubAccount

RESOURCE = "lower(coalesce(resource_name, regexp_extract(resource, '[^/:]+$')))"


@dataclass(frozen=True, slots=True)
class Classes:
    """The parts of the SQL: extra columns to group by, joins, whose rule and tenant a group is."""

    columns: tuple[str, ...]
    joins: str
    rule: str
    tenant: str

    @property
    def extra(self) -> str:
        return "".join(f", {column}" for column in self.columns)


def classes(rules: Sequence[Rule], tags_type: str) -> Classes:
    """The SQL of an ordered list of rules; lookups must have been filled by `fill_lookups`."""
    columns, joins, takes, tenants = [], [], [], []
    if any(rule.category for rule in rules):
        columns.append("category")
    if any(rule.kind == RuleKind.RESOURCE for rule in rules):
        columns.append(f"{RESOURCE} AS resource_key")
        joins.append("LEFT JOIN instance_lookup r ON r.name = g.resource_key")
    for key in sorted({rule.tag for rule in rules if rule.kind == RuleKind.TAG}):
        place = _tag_place(rules, key)
        columns.append(f"{tag_sql(key, tags_type)} AS tag_{place}")
        joins.append(f"LEFT JOIN tenant_lookup k{place} ON k{place}.key = g.tag_{place}")
    for rule in rules:
        found = _tenant_of(rule, rules)
        conditions = [
            f"g.{column} = {literal(value)}"
            for column in ("service", "sub_account", "category")
            if (value := getattr(rule, column))
        ]
        if rule.kind not in SHARING and rule.kind != RuleKind.OVERHEAD:
            conditions.append(f"{found} IS NOT NULL")
        takes.append(f"WHEN {' AND '.join(conditions) or 'true'} THEN {rule.pk}")
        tenants.append(f"WHEN {rule.pk} THEN {found}")
    rule_sql = f"CASE {' '.join(takes)} END" if takes else "NULL::BIGINT"
    tenant_sql = f"CASE rule {' '.join(tenants)} END" if tenants else "NULL::BIGINT"
    return Classes(tuple(columns), " ".join(joins), rule_sql, tenant_sql)


def _tag_place(rules: Sequence[Rule], key: str) -> int:
    return sorted({rule.tag for rule in rules if rule.kind == RuleKind.TAG}).index(key)


def _tenant_of(rule: Rule, rules: Sequence[Rule]) -> str:
    """The tenant's id as an expression; NULL where the rule gives the line to many or to nobody."""
    if rule.kind == RuleKind.TAG:
        return f"k{_tag_place(rules, rule.tag)}.id"
    if rule.kind == RuleKind.SUB_ACCOUNT:
        return "s.tenant"
    if rule.kind == RuleKind.RESOURCE:
        return "r.tenant"
    return str(rule.tenant_id) if rule.kind == RuleKind.FIXED else "NULL::BIGINT"


def fill_lookups(duck: duckdb.DuckDBPyConnection) -> None:
    """Tenants by key, sub-accounts by id, instances that serve one tenant, as tables of the connection."""
    fill(duck, "tenant_lookup", "key VARCHAR, id BIGINT", Tenant.objects.order_by().values_list("key", "pk"))
    fill(
        duck, "sub_lookup", "provider VARCHAR, sub_account VARCHAR, id BIGINT, account BIGINT, tenant BIGINT",
        SubAccount.objects.order_by().values_list("provider", "external_id", "pk", "account_id", "tenant_id"),
    )  # fmt: skip
    served = Placement.objects.filter(instance__kind=InstanceKind.DEDICATED).order_by()
    by_name = dict(served.values_list("instance__name", "tenant_id"))
    fill(duck, "instance_lookup", "name VARCHAR, tenant BIGINT", by_name.items())


def fill(duck: duckdb.DuckDBPyConnection, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Make a table of rows of Python. By whole columns: row by row DuckDB is a thousand times slower."""
    duck.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
    values = [list(column) for column in zip(*rows, strict=True)]
    if values:
        types = [part.split()[1] for part in columns.split(", ")]
        shown = ", ".join(f"unnest(?::{kind}[])" for kind in types)
        duck.execute(f"INSERT INTO {table} SELECT {shown}", values)
