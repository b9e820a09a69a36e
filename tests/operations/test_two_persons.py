"""The two-person rule by policy: kind, number, place, hour; and what the approver is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.access.services import scope_for
from apps.fleet.models import Cell, Instance
from apps.operations import services
from apps.operations.choices import State
from apps.operations.models import ApprovalRule, Operation
from tests.factories import as_system, grant, make_cell, make_instance, make_user


def rule(**fields: Any) -> ApprovalRule:
    with as_system():
        return ApprovalRule.objects.create(note="two people", **fields)


def scope(cell: Cell) -> Any:
    with as_system():
        return scope_for("cell", cell)


def ask(*instances: Instance, actor: User) -> Operation:
    done = services.submit_many(
        kind="restart", target_ids=[i.pk for i in instances], params={}, actor=actor, reason="it hangs"
    )
    return done.operations[0]


@pytest.fixture
def root(db: None) -> User:
    return make_user("root", superuser=True)


def test_only_in_its_place(root: User, instance: Instance, cell: Cell) -> None:
    rule(scope=scope(cell))
    assert ask(instance, actor=root).state == State.AWAITING_APPROVAL
    assert ask(make_instance(), actor=root).state == State.PENDING


def test_the_number_counts_in_its_place(root: User, instance: Instance, cell: Cell) -> None:
    rule(scope=scope(cell), min_targets=2)
    assert ask(instance, make_instance(), actor=root).state == State.PENDING
    assert ask(instance, make_instance(cell=cell), actor=root).state == State.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("hours", "at", "asks"),
    [((18, 8), 19, True), ((18, 8), 3, True), ((18, 8), 12, False), ((9, 17), 9, True), ((9, 17), 17, False)],
)
def test_only_at_its_hours(
    root: User, instance: Instance, hours: tuple[int, int], at: int, asks: bool
) -> None:
    rule(from_hour=hours[0], to_hour=hours[1])
    with time_machine.travel(datetime(2026, 3, 3, at, 0, tzinfo=UTC), tick=False):
        assert (ask(instance, actor=root).state == State.AWAITING_APPROVAL) == asks


def test_the_approver_sees_the_preview_and_what_changed_since(root: User, instance: Instance) -> None:
    rule()
    operation = ask(instance, actor=root)
    axel = make_user("axel")
    grant(axel, "admin")
    client = Client()
    client.force_login(axel, backend="django.contrib.auth.backends.ModelBackend")
    url = reverse("operations:operation", args=[operation.pk])
    text = client.get(url).content.decode()
    assert "as it was when it was asked for" in text
    with as_system():
        Instance.objects.filter(pk=instance.pk).unrecorded_update(version="9.9.9")
    text = client.get(url).content.decode()
    assert "version, 1.0.0 → 9.9.9" in text
    services.approve(operation, actor=axel)
    assert make_cell()


def test_a_rule_without_a_note_asks_all_the_same(root: User, instance: Instance) -> None:
    with as_system():
        ApprovalRule.objects.create(note="")
    operation = ask(instance, actor=root)
    assert operation.state == State.AWAITING_APPROVAL
    assert "any change from 1" in operation.approval_reason
