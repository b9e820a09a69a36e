"""A small simulated fleet that can fail, and alerting driven by hand: what a tick would do, a test does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from django.utils import timezone

from apps.access.models import User
from apps.alerts import managing, nudging, processing, recovery
from apps.alerts.models import (
    Alert,
    Channel,
    EscalationPolicy,
    EscalationStep,
    Incident,
    OnCallSchedule,
    RecoveryPolicy,
    Source,
)
from apps.fleet.models import Cell, Instance
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import Observation
from apps.operations import services
from tests.factories import grant, make_cell, make_instance, make_user


@pytest.fixture(autouse=True)
def nudges(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was nudged; nothing goes out."""
    sent: list[str] = []
    for module in ("intake", "processing", "escalation", "sending", "recovery", "managing"):
        __import__(f"apps.alerts.{module}")
    import sys

    for name, module in list(sys.modules.items()):
        if name.startswith("apps.alerts.") and hasattr(module, "nudge"):
            monkeypatch.setattr(module, "nudge", sent.append)
    monkeypatch.setattr(nudging, "nudge", sent.append)
    monkeypatch.setattr(services, "nudge", lambda count=1: sent.append("operations"))
    yield sent


@pytest.fixture
def cell(transactional_db: None) -> Cell:
    return make_cell("cell-1")


@pytest.fixture
def boss(transactional_db: None) -> User:
    return make_user("boss", superuser=True)


@pytest.fixture
def olga(cell: Cell) -> User:
    user = make_user("olga")
    grant(user, "operator", "account", cell.region.account)
    return user


@pytest.fixture
def instances(cell: Cell) -> Callable[[int], list[Instance]]:
    return lambda count: [make_instance(cell=cell) for _ in range(count)]


def see(instances: Instance | list[Instance], state: str = "stopped", *, degraded: bool = False) -> None:
    """The probe looks: `running` is well, `stopped` is down although it is to run."""
    rows = instances if isinstance(instances, list) else [instances]
    healthy = state == "running"
    record_observations(
        {i.pk: Observation(state, healthy, i.wanted_version, 1, degraded=degraded) for i in rows},
        since=look_begins(),
    )
    processing.process_signals()


def fail(instances: Instance | list[Instance]) -> None:
    see(instances, "stopped")


def mend(instances: Instance | list[Instance]) -> None:
    see(instances, "running")


def only_incident() -> Incident:
    return Incident.objects.get()


def open_alerts() -> int:
    return Alert.objects.filter(state="open").count()


def make_source(boss: User, kind: str = "alertmanager", **fields: object) -> tuple[Source, str]:
    return managing.make_source(
        name=f"source-{Source.objects.count()}", kind=kind, account=fields.get("account"), actor=boss
    )


def make_channel(
    boss: User, name: str = "ops", address: str = "json://127.0.0.1:9/", **fields: object
) -> Channel:
    return managing.save_channel(Channel(name=name, **fields), address=address, actor=boss)


def make_escalation(boss: User, person: User, *, channels: int = 1, **fields: object) -> EscalationPolicy:
    """Tell `person`, who is always on call."""
    schedule = managing.save_schedule(
        OnCallSchedule(name=f"always-{person}", starts_on=date(2020, 1, 1)), people=[person], actor=boss
    )
    for i in range(channels):
        make_channel(boss, f"{person}-{i}", owner=person, rank=i)
    step = EscalationStep(schedule=schedule, wait=60)
    return managing.save_escalation(
        EscalationPolicy(name=f"tell-{person}", **fields), steps=[step], actor=boss
    )


def make_recovery(boss: User, **fields: object) -> RecoveryPolicy:
    return managing.save_recovery(RecoveryPolicy(**{"name": "restart what fails", **fields}), actor=boss)


def recover() -> int:
    return recovery.decide(timezone.now())
