"""The security clock asks people before it runs out, each stage once; what it asks, whom, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Notice, User
from apps.alerts.models import Signal
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations.services import Refused
from apps.releases.escalating import add_step, ask_before_deadlines, set_hours
from apps.releases.exposing import import_advisory, watch_exposure
from apps.releases.models import Advisory, ClockAsk, ClockStep
from apps.releases.rules import set_hold
from apps.releases.services import upload_sbom
from apps.tenants.models import Tenant
from tests.factories import grant, make_account, make_cell, make_instance, make_user
from tests.releases.conftest import make_release
from tests.releases.test_exposure import cyclonedx, osv

Fleet = Callable[[int], list[Instance]]


@pytest.fixture
def exposed(fleet: Fleet, boss: User) -> Advisory:
    """Two instances exposed to an advisory of critical severity: 24 h."""
    fleet(2)
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    return import_advisory(osv(), actor=boss)


def step(boss: User, percent: int, name: str, severity: str = "") -> ClockStep:
    found = ClockStep(percent=percent, name=name, address=f"{name}@example.com", severity=severity)
    return add_step(found, actor=boss, reason="as agreed")


def after(advisory: Advisory, share: float) -> int:
    """How many stages are told when so much of the time is used."""
    whole = advisory.deadline - advisory.known_at
    with time_machine.travel(advisory.known_at + whole * share, tick=False):
        return ask_before_deadlines()


def test_each_stage_is_told_once_and_the_later_ones_ask_more_people(exposed: Advisory, boss: User) -> None:
    step(boss, 50, "security")
    step(boss, 90, "ciso")
    step(boss, 60, "nobody", severity="low")
    told = [after(exposed, share) for share in (0.4, 0.5, 0.55, 0.74, 0.8, 0.81, 0.9, 1.01, 1.5)]
    assert told == [0, 1, 0, 0, 1, 0, 1, 1, 0]
    asks = list(exposed.asks.order_by("percent"))
    assert [ask.percent for ask in asks] == [50, 75, 90, 100]
    assert [len(ask.asked) for ask in asks] == [1, 1, 2, 2]
    assert asks[2].asked == ["security <security@example.com>", "ciso <ciso@example.com>"]
    assert Event.objects.filter(kind="advisory.deadline").count() == 4
    assert Notice.objects.filter(to="ciso@example.com").count() == 2


def test_a_worker_that_slept_through_stages_tells_the_last_of_them(exposed: Advisory) -> None:
    assert (after(exposed, 0.95), after(exposed, 0.96)) == (1, 0)
    assert list(exposed.asks.values_list("percent", flat=True)) == [90]


def test_the_letter_says_what_blocks_and_accounts_hear_of_their_own(
    exposed: Advisory, boss: User, cell: Cell
) -> None:
    step(boss, 50, "security")
    tenant = Tenant.objects.get(key="t-000")
    set_hold(tenant, until=timezone.now() + timedelta(days=9), reason="their launch", actor=boss)
    other = make_account("other", contact="other@example.com")
    make_instance("far-away", cell=make_cell(account=other))
    watch_exposure()
    assert after(exposed, 0.5) == 1
    letter, own = Notice.objects.get(to="security@example.com"), Notice.objects.get(to="other@example.com")
    assert "50 % used, 12 h left, 3 instances exposed" in letter.subject
    assert "i-000 (1.0.0): T 000 is on hold until" in letter.body
    assert "their launch" in letter.body
    assert "i-001 (1.0.0): no rollout yet" in letter.body
    assert "far-away" in own.body
    assert "i-000" not in own.body


def test_with_nobody_named_the_setting_is_asked(exposed: Advisory, settings: Any) -> None:
    settings.SECURITY_EMAIL = "soc@example.com"
    assert after(exposed, 0.5) == 1
    assert Notice.objects.get().to == "soc@example.com"


def test_who_is_on_call_hears_and_hears_that_it_is_over(exposed: Advisory) -> None:
    after(exposed, 0.5)
    after(exposed, 0.75)
    Instance.objects.unrecorded_update(version="2.0.0")
    watch_exposure()
    after(exposed, 0.8)
    said = list(Signal.objects.order_by("id").values_list("state", "severity", "fingerprint"))
    assert [row[:2] for row in said] == [("firing", "warning"), ("firing", "critical"), ("resolved", "info")]
    assert len({row[2] for row in said}) == 1
    assert not ClockAsk.objects.filter(ended_at__isnull=True).exists()
    Instance.objects.unrecorded_update(version="1.0.0")
    watch_exposure()
    assert after(exposed, 0.8) == 1, "exposed again, asked again"


def test_the_policy_sets_hours_by_severity_for_what_comes_in(fleet: Fleet, boss: User) -> None:
    fleet(1)
    set_hours(severity="critical", hours=8, actor=boss, reason="our contract says so")
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    advisory = import_advisory(osv(), actor=boss)
    assert advisory.deadline - advisory.known_at == timedelta(hours=8)
    with pytest.raises(ValidationError):
        set_hours(severity="high", hours=0, actor=boss, reason="nonsense")
    olga = make_user("olga")
    grant(olga, "operator", "cell", make_cell())
    with pytest.raises(Refused, match="everything"):
        set_hours(severity="high", hours=9, actor=olga, reason="mine")


def test_pages_set_it_and_show_who_was_asked(exposed: Advisory, boss: User, client: Client) -> None:
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    data = {"percent": 50, "name": "CISO", "address": "ciso@example.com", "reason": "as agreed"}
    assert client.post(reverse("releases:add_step"), data).status_code == 302
    assert client.post(reverse("releases:add_step"), data).status_code == 422, "twice is once"
    hours = {"severity": "low", "hours": 99, "reason": "as agreed"}
    assert client.post(reverse("releases:set_hours"), hours).status_code == 302
    shown = client.get(reverse("releases:rules")).content.decode()
    assert "ciso@example.com" in shown
    assert "low 99 h" in shown
    after(exposed, 0.5)
    page = client.get(reverse("releases:advisory", args=[exposed.pk])).content.decode()
    assert "CISO &lt;ciso@example.com&gt;" in page
    end = reverse("releases:remove_step", args=[ClockStep.objects.get().pk])
    assert client.post(end, {"reason": "left us"}).status_code == 302
    assert not ClockStep.objects.exists()
