"""One unsaved row of every model of ours that the trail records, and a change of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import count
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models

from apps.access.models import Grant, Role, Scope, User
from apps.access.services import system_actor
from apps.accounts.models import Account, Region
from apps.core.models import SavedView
from apps.cost.models import Bill, Rate, Rule, RuleSet, Run, Statement, SubAccount
from apps.fleet.models import Cell, Diagnostics, Instance, Placement
from apps.operations.models import ApprovalRule, Operation, Schedule
from apps.tenants.models import Contact, Domain, ExternalId, Plan, Subscription, Tenant
from tests import factories

numbers = count(1)


def recorded_models() -> list[type[models.Model]]:
    """Every model of ours that does not say why it stays out of the trail."""
    return [
        m
        for m in apps.get_models()
        if m.__module__.startswith("apps.") and not getattr(m, "AUDIT_EXEMPT", "")
    ]


def _n(word: str) -> str:
    return f"{word}-{next(numbers)}"


def _region() -> Region:
    return factories.make_cell().region


def _group() -> Group:
    with factories.as_system():
        return Group.objects.create(name=_n("group"))


def _operation() -> Operation:
    key = _n("key")
    return Operation(
        kind="restart", target_type="instance", target_id=next(numbers), target_label="x", is_changing=True,
        actor=factories.make_user(), reason="because", idempotency_key=key, fingerprint=key,
    )  # fmt: skip


def _schedule() -> Schedule:
    return Schedule(
        name=_n("schedule"),
        kind="restart",
        target_id=1,
        cron="0 3 * * 1",
        owner=factories.make_user(),
        reason="because",
    )


def _scope() -> Scope:
    return Scope(kind="account", object_id=next(numbers), label="x")


def _grant() -> Grant:
    scope = _scope()
    with factories.as_system():
        scope.save()
    return Grant(
        user=factories.make_user(), role=factories.make_role("viewer"), scope=scope, reason="because",
        given_by=system_actor("command"),
    )  # fmt: skip


def _subscription() -> Subscription:
    return Subscription(
        tenant=factories.make_tenant(),
        plan=factories.make_plan(),
        starts_on=date(2025, 1, 1),
        ends_on=date(2025, 12, 31),
    )


def _statement() -> Statement:
    with factories.as_system():
        bill = Bill.objects.create(name="b.csv", digest=_n("d"), received_by=factories.make_user())
    return Statement(
        bill=bill, provider="AWS", billing_account=_n("p"), currency="USD", period_start=date(2026, 1, 1),
        period_end=date(2026, 2, 1), lines=1, billed=1, effective=1, listed=1,
    )  # fmt: skip


def _ruleset() -> RuleSet:
    with factories.as_system():
        return RuleSet.objects.create(version=next(numbers), state="retired")


def _run() -> Run:
    statement = _statement()
    with factories.as_system():
        statement.save()
    return Run(statement=statement, ruleset=_ruleset())


#: By model: how to make one, and which change shows in the trail.
SAMPLES: dict[type[models.Model], tuple[Callable[[], models.Model], dict[str, Any]]] = {
    SavedView: (
        lambda: SavedView(owner=factories.make_user(), page="x:list", name=_n("view")),
        {"query": "q=2"},
    ),
    User: (lambda: User(username=_n("someone"), password="!"), {"first_name": "Ada"}),
    Scope: (_scope, {"label": "renamed"}),
    Role: (lambda: Role(name=_n("role"), permissions=["view"]), {"permissions": ["view", "export"]}),
    Grant: (_grant, {"reason": "another reason"}),
    Operation: (_operation, {"cancel_reason": "enough"}),
    ApprovalRule: (lambda: ApprovalRule(kind=_n("kind"), note="x"), {"note": "y"}),
    Schedule: (_schedule, {"is_enabled": False}),
    Account: (lambda: Account(name=_n("account"), cloud="aws"), {"notes": "x"}),
    Region: (lambda: Region(account=factories.make_account(), code=_n("r")), {"jurisdiction": "EU"}),
    Plan: (lambda: Plan(name=_n("plan")), {"monthly_price": 7}),
    Tenant: (lambda: Tenant(key=_n("tenant"), name="Acme"), {"name": "Acme & Sons"}),
    Subscription: (_subscription, {"seats": 12}),
    Contact: (
        lambda: Contact(tenant=factories.make_tenant(), name="Ada", email="ada@example.com"),
        {"name": "Eve"},
    ),
    Domain: (
        lambda: Domain(tenant=factories.make_tenant(), name=_n("d") + ".example.com"),
        {"is_primary": True},
    ),
    ExternalId: (
        lambda: ExternalId(tenant=factories.make_tenant(), system="crm", value=_n("v")),
        {"system": "erp"},
    ),
    Cell: (lambda: Cell(region=_region(), name=_n("cell")), {"locked_reason": "moving"}),
    Instance: (
        lambda: Instance(cell=factories.make_cell(), name=_n("instance"), wanted_version="1.0.0"),
        {"wanted": "stopped"},
    ),
    Placement: (
        lambda: Placement(tenant=factories.make_tenant(), instance=factories.make_instance()),
        {"since": "2026-01-01T00:00:00Z"},
    ),
    Bill: (
        lambda: Bill(name="b.csv", digest=_n("d"), received_by=factories.make_user()),
        {"state": "reading"},
    ),
    SubAccount: (lambda: SubAccount(provider="AWS", external_id=_n("s")), {"name": "Prod"}),
    Statement: (_statement, {"is_current": False}),
    RuleSet: (lambda: RuleSet(version=next(numbers), state="retired"), {"note": "why"}),
    Rule: (lambda: Rule(ruleset=_ruleset(), position=1, kind="tag", tag="t"), {"tag": "u"}),
    Run: (_run, {"is_current": False}),
    Rate: (
        lambda: Rate(
            currency="USD", into="EUR", day=date(2020, 1, 1) + timedelta(days=next(numbers)), rate=1
        ),
        {"rate": 2},
    ),
    Diagnostics: (
        lambda: Diagnostics(instance=factories.make_instance(), operation_id=next(numbers), parts={"a": "b"}),
        {"size": 5},
    ),
}
