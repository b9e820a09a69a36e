"""The room that limits leave: set-wise it is what each limit counts by itself, over fleets of every shape."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Cell, Instance, Placement
from apps.operations.models import Operation
from apps.releases.models import BlastPolicy
from apps.releases.rooms import room_of, rooms_of
from apps.tenants.models import Plan, Subscription
from tests.factories import (
    as_system,
    make_account,
    make_cell,
    make_instance,
    make_plan,
    make_tenant,
    make_user,
    place,
)

PLANS = ("Gold", "Silver", "Free")
STATES = ("pending", "running", "succeeded", "failed", "awaiting_approval")
COUNTED = [("instances", ""), ("tenants", ""), ("cells", ""), ("revenue", "EUR"), ("revenue", "USD")]


class World:
    """A small fleet by chance: accounts with cells, shared and empty instances, plans that run, ran and shall run."""

    def __init__(self, seed: int, actor: User) -> None:
        self.by, self.actor = random.Random(seed), actor
        accounts = [make_account(f"a-{seed}-{n}") for n in range(2)]
        self.cells = [make_cell(f"c-{seed}-{n}", account=self.by.choice(accounts)) for n in range(4)]
        self.instances = [self._instance(f"i-{seed}-{n}") for n in range(14)]
        self.plans = [make_plan(name) for name in PLANS]
        for number in range(12):
            self._tenant(f"t-{seed}-{number}")
        for number, instance in enumerate(self.by.sample(self.instances, 7)):
            self._operation(instance, f"{seed}-{number}")

    def _instance(self, name: str) -> Instance:
        health = self.by.choice(["well", "well", "failing", "unknown", "stopped"])
        wanted = self.by.choice(["running", "running", "stopped"])
        return make_instance(name, cell=self.by.choice(self.cells), health=health, wanted=wanted)

    def _tenant(self, key: str) -> None:
        tenant = make_tenant(key, plan=self.by.choice(self.plans))
        for instance in self.by.sample(self.instances, self.by.randrange(3)):
            place(tenant, instance)
        today = timezone.localdate()
        ends = self.by.choice([None, today, today - timedelta(days=1)])
        currency, price = self.by.choice(["EUR", "USD"]), self.by.randrange(1, 500)
        with as_system():
            Subscription.objects.filter(tenant=tenant).update(
                ends_on=ends, currency=currency, monthly_price=price
            )
            begins = self.by.choice([date(2026, 2, 1), today, today + timedelta(days=1)])
            if ends not in (None, today):
                Subscription.objects.create(
                    tenant=tenant, plan=self.by.choice(self.plans), monthly_price=70, currency="EUR", starts_on=begins
                )  # fmt: skip

    def _operation(self, instance: Instance, key: str) -> None:
        """One that was asked for where its instance stands, or stood: what moved counts where it was asked for."""
        cell = self.by.choice([instance.cell, instance.cell, self.by.choice(self.cells)])
        state = self.by.choice(STATES)
        with as_system():
            Operation.objects.create(
                kind="restart", target_type="instance", target_id=instance.pk, target_label=instance.name,
                account_id=cell.region.account_id, cell_id=cell.pk, is_changing=self.by.random() < 0.8, actor=self.actor,
                reason="by chance", idempotency_key=key, fingerprint=key, state=state,
                started_at=timezone.now() if state == "running" or self.by.random() < 0.3 else None,
                finished_at=timezone.now() if state in ("succeeded", "failed") else None,
                **({"lease_owner": "w", "lease_until": timezone.now()} if state == "running" else {}),
            )  # fmt: skip

    def policies(self) -> list[BlastPolicy]:
        """One of every measure on every scope."""
        scopes = [("fleet", 0)]
        scopes += [(scope, getattr(one, name)) for scope, name, rows in (
            ("account", "account_id", {c.region for c in self.cells}), ("region", "region_id", self.cells),
            ("cell", "pk", self.cells), ("plan", "pk", self.plans),
        ) for one in rows]  # fmt: skip
        made = []
        for (scope, pk), (measure, currency) in product(dict.fromkeys(scopes), COUNTED):
            percent = self.by.choice([None, 50])
            made.append(
                BlastPolicy(
                    scope=scope, object_id=pk, measure=measure, currency=currency, max_percent=percent,
                    max_count=self.by.choice([None, 3]) if percent else 3,
                )
            )  # fmt: skip
        return made


class Reckoner:
    """The same by hand, row by row, from what a limit is said to count."""

    def __init__(self) -> None:
        today = timezone.localdate()
        self.cells = {cell.pk: cell for cell in Cell.objects.select_related("region")}
        self.instances = list(Instance.objects.all())
        self.cell_of = {instance.pk: instance.cell_id for instance in self.instances}
        self.operations = list(Operation.objects.filter(is_changing=True))
        self.tenants: dict[int, set[int]] = {}
        for row in Placement.objects.all():
            self.tenants.setdefault(row.instance_id, set()).add(row.tenant_id)
        self.paid: dict[int, list[Subscription]] = {}
        for sub in Subscription.objects.all():
            if sub.starts_on <= today and (sub.ends_on is None or sub.ends_on >= today):
                self.paid.setdefault(sub.tenant_id, []).append(sub)

    def disturbed(self, policy: BlastPolicy, leave_out: set[int], started_only: bool) -> set[int]:
        wrong = ("failing", "degraded", "unknown")
        unhealthy = [i for i in self.instances if i.wanted == "running" and i.health in wrong]
        found = {i.pk for i in unhealthy if self._is_inside(policy, i.pk, i.cell_id)}
        for op in self.operations:
            has_begun = op.state == "running" or (op.state == "pending" and op.started_at is not None)
            counts = has_begun if started_only else op.state in ("pending", "running")
            if counts and op.target_id not in leave_out and self._is_inside(policy, op.target_id, op.cell_id):
                found.add(op.target_id)
        return found

    def _is_inside(self, policy: BlastPolicy, instance: int, cell_id: int | None) -> bool:
        region = self.cells[cell_id or 0].region
        match policy.scope:
            case "account":
                return region.account_id == policy.object_id
            case "region":
                return region.pk == policy.object_id
            case "cell":
                return cell_id == policy.object_id
            case "plan":
                return bool(self._served(policy, instance))
        return True

    def _served(self, policy: BlastPolicy, instance: int) -> set[int]:
        found = self.tenants.get(instance, set())
        if policy.scope != "plan":
            return found
        return {pk for pk in found if any(s.plan_id == policy.object_id for s in self.paid.get(pk, ()))}

    def weights(self, policy: BlastPolicy, instances: set[int]) -> dict[int, int | Decimal]:
        match policy.measure:
            case "instances":
                return dict.fromkeys(instances, 1)
            case "cells":
                return dict.fromkeys((self.cell_of[pk] for pk in instances), 1)
        tenants = {tenant for pk in instances for tenant in self._served(policy, pk)}
        if policy.measure == "tenants":
            return dict.fromkeys(tenants, 1)
        mine = {pk: [s for s in self.paid.get(pk, ()) if s.currency == policy.currency] for pk in tenants}
        return {pk: sum((s.monthly_price for s in subs), Decimal(0)) for pk, subs in mine.items()}

    def limit(self, policy: BlastPolicy) -> int | Decimal:
        limits: list[Any] = [] if policy.max_count is None else [policy.max_count]
        if policy.max_percent:
            everything = {i.pk for i in self.instances if self._is_inside(policy, i.pk, i.cell_id)}
            total: Any = sum(self.weights(policy, everything).values())
            limits.append(
                total * policy.max_percent / 100 if policy.currency else total * policy.max_percent // 100
            )
        return max(1, min(limits))


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(8))
def test_set_wise_it_is_what_each_limit_counts(seed: int) -> None:
    world = World(seed, make_user("asks"))
    policies, by_hand = world.policies(), Reckoner()
    some = {instance.pk for instance in world.instances[:5]}
    for leave_out, started_only in ((set(), False), (set(), True), (some, True)):
        for room in rooms_of(policies, leave_out=leave_out, started_only=started_only):
            policy = room.policy
            disturbed = by_hand.disturbed(policy, leave_out, started_only)
            assert room == room_of(policy, leave_out=leave_out, started_only=started_only)
            assert room.disturbed == disturbed, (policy.scope, policy.measure, started_only)
            assert room.taken == by_hand.weights(policy, disturbed), (policy.scope, policy.measure)
            assert room.limit == by_hand.limit(policy), (policy.scope, policy.measure, policy.currency)


@pytest.mark.django_db
def test_statements_do_not_grow_with_the_limits() -> None:
    world = World(1, make_user("asks"))
    policies = world.policies()
    assert len(policies) > 40
    with CaptureQueriesContext(connection) as queries:
        rooms_of(policies)
    assert len(queries) == 3
    with CaptureQueriesContext(connection) as queries:
        rooms_of([policy for policy in policies if policy.measure == "instances" and policy.scope == "fleet"])
    assert len(queries) == 2, "whom they serve is not asked where nobody counts it"


@pytest.mark.django_db
def test_without_limits_nothing_is_asked(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert rooms_of([]) == []


@pytest.mark.django_db
def test_a_scope_that_holds_nothing_has_room_for_one() -> None:
    gone = [
        BlastPolicy(scope="cell", object_id=999_999, measure=measure, currency=currency, max_percent=5)
        for measure, currency in COUNTED
        if measure != "cells"
    ]
    gone.append(
        BlastPolicy(scope="plan", object_id=Plan.objects.count() + 999, measure="cells", max_percent=5)
    )
    assert [(room.limit, room.used) for room in rooms_of(gone)] == [(1, 0)] * 5
