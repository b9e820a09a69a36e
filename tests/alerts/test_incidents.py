"""Alerts with one cause are one incident; what is explained or silenced pages nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.access.scoping import visible
from apps.alerts import health, intake, processing, services
from apps.alerts.models import Alert, Escalation, Incident, Runbook, Silence
from apps.alerts.runbooks import keeping
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations.services import submit
from apps.releases.models import Release, Rollout, RolloutTarget
from tests.alerts.conftest import fail, make_escalation, mend, only_incident
from tests.factories import (
    as_system,
    grant,
    make_account,
    make_cell,
    make_instance,
    make_tenant,
    make_user,
    place,
)

Many = Callable[[int], list[Instance]]


def later(seconds: float) -> Any:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False)


@pytest.mark.django_db(transaction=True)
class TestGrouping:
    def test_one_cell_is_one_incident(self, instances: Many) -> None:
        one, two = instances(2)
        fail(one)
        assert only_incident().title.startswith(one.name)
        fail(two)
        incident = only_incident()
        assert incident.title == "cell-1: 2 instances have alerts"
        assert incident.alerts.count() == 2

    def test_another_cell_is_another_one(self, cell: Cell) -> None:
        fail([make_instance(cell=cell), make_instance(cell=make_cell())])
        assert Incident.objects.count() == 2

    def test_three_cells_of_an_account_have_one_cause(self) -> None:
        account = make_account("wide")
        fail([make_instance(cell=make_cell(account=account)) for _ in range(3)])
        assert only_incident().title == "wide: 3 instances have alerts"

    def test_a_version_just_deployed_is_the_cause(self, boss: User) -> None:
        rows = [make_instance(cell=make_cell()) for _ in range(2)]
        for row in rows:
            done = submit(
                kind="deploy", target_id=row.pk, params={"version": "2.0"}, actor=boss, reason="new"
            )
            type(done).objects.filter(pk=done.pk).unrecorded_update(
                state="succeeded", started_at=timezone.now(), finished_at=timezone.now()
            )
        fail(rows)
        assert only_incident().title == "2 instances fail on version 2.0"

    def test_a_rollout_is_the_cause_of_what_it_moved(self, boss: User) -> None:
        """In two cells; and the incident leads there."""
        moved = [make_instance(cell=make_cell()), make_instance(cell=make_cell())]
        with as_system():
            release = Release.objects.create(version="2.0.0", kind="feature", life="released")
            rollout = Rollout.objects.create(release=release, reason="new things")
        for position, one in enumerate(moved):
            operation = submit(
                kind="deploy", target_id=one.pk, params={"version": "2.0.0"}, actor=boss, reason="wave 1"
            )
            type(operation).objects.filter(pk=operation.pk).update(started_at=timezone.now())
            RolloutTarget.objects.create(
                rollout=rollout, instance=one, wave=1, position=position, from_version="1.0.0", operation_id=operation.pk
            )  # fmt: skip
        for one in moved:
            fail(one)
        incident = only_incident()
        assert incident.cause_key == f"rollout:{rollout.pk}"
        assert incident.title == "2 instances fail in the rollout of 2.0.0"
        client = Client()
        client.force_login(boss)
        text = client.get(f"/alerts/incidents/{incident.pk}/").content.decode()
        assert text.count(f"/releases/rollouts/{rollout.pk}/") >= 2, "as its cause, and beside the suspect"

    def test_what_names_its_dependency_has_that_cause(self) -> None:
        for cell in (make_cell(), make_cell()):
            said = intake.Said(
                state="firing", name="DependencyDown", severity="critical", summary="no mail goes out",
                labels={"alertname": "DependencyDown", "dependency": "mail-gateway", "cell": cell.name},
            )  # fmt: skip
            intake.write("monitor", intake.locate([said], "monitor"))
        processing.process_signals()
        assert only_incident().cause_key == "dependency:mail-gateway"
        assert only_incident().alerts.count() == 2

    def test_past_the_window_it_is_another_one(self, instances: Many) -> None:
        one, two = instances(2)
        fail(one)
        with later(400):
            fail(two)
        assert Incident.objects.count() == 2

    def test_what_comes_back_goes_on(self, instances: Many) -> None:
        (one,) = instances(1)
        fail(one)
        mend(one)
        fail(one)
        assert only_incident().quiet_since is None

    def test_two_thousand_at_once_are_one(self, cell: Cell) -> None:
        fail([make_instance(cell=cell) for _ in range(200)])
        assert only_incident().alerts.count() == 201


class TestInhibition:
    def test_a_cell_down_explains_its_instances(self, instances: Many, boss: User) -> None:
        make_escalation(boss, boss)
        rows = instances(6)
        fail(rows[:2])
        assert not Alert.objects.filter(name="CellDown").exists()
        fail(rows[2:])
        down = Alert.objects.get(name="CellDown")
        assert down.incident == only_incident() and not down.is_muted
        assert all(a.is_muted for a in Alert.objects.exclude(pk=down.pk))
        assert Escalation.objects.count() == 1
        mend(rows[:4])
        down.refresh_from_db()
        assert not down.is_open
        assert not any(a.is_muted for a in Alert.objects.filter(state="open"))


class TestSilence:
    def silence(self, actor: User, **fields: Any) -> Silence:
        ends = timezone.now() + timedelta(hours=1)
        return services.silence(Silence(**{"ends_at": ends, "reason": "known", **fields}), actor=actor)

    def test_it_pages_nobody_until_it_ends(self, cell: Cell, olga: User, boss: User, instances: Many) -> None:
        make_escalation(boss, boss)
        self.silence(olga, cell=cell)
        fail(instances(1))
        assert Alert.objects.get().silence is not None
        assert not Escalation.objects.exists()
        with later(3700):
            processing.settle()
        assert Alert.objects.get().silence is None
        assert Escalation.objects.count() == 1

    def test_it_takes_hold_of_what_is_open(self, cell: Cell, olga: User, instances: Many) -> None:
        fail(instances(1))
        silence = self.silence(olga, name=health.NAME, cell=cell)
        assert Alert.objects.get().silence == silence
        services.end_silence(silence, actor=olga)
        assert Alert.objects.get().silence is None
        with pytest.raises(services.Refused):
            services.end_silence(silence, actor=olga)

    def test_by_labels(self, boss: User, instances: Many) -> None:
        one, two = instances(2)
        self.silence(boss, labels={"daytwo_instance": one.name})
        fail([one, two])
        assert [a.instance for a in Alert.objects.filter(silence__isnull=True)] == [two]

    def test_only_where_one_manages_alerts(self, cell: Cell, olga: User) -> None:
        with pytest.raises(PermissionDenied):
            self.silence(olga)
        with pytest.raises(Http404):
            self.silence(olga, cell=make_cell())
        viewer = make_user("vera")
        grant(viewer, "viewer")
        with pytest.raises(PermissionDenied):
            self.silence(viewer, cell=cell)

    def test_it_needs_a_reason_and_an_end_to_come(self, cell: Cell, olga: User) -> None:
        with pytest.raises(services.Refused):
            self.silence(olga, cell=cell, reason=" ")
        past = timezone.now() - timedelta(hours=1)
        with pytest.raises(services.Refused):
            self.silence(olga, cell=cell, starts_at=past - timedelta(hours=1), ends_at=past)


class TestLife:
    def test_it_resolves_itself_once_it_was_quiet(self, instances: Many) -> None:
        (one,) = instances(1)
        fail(one)
        mend(one)
        processing.settle()
        assert only_incident().is_open
        with later(31):
            processing.settle()
        assert only_incident().state == "resolved"
        titles = [e.title for e in Event.objects.filter(kind__startswith="incident.").order_by("id")]
        assert titles[0].startswith("Alert: ") and titles[-1].startswith("Resolved: ")

    def test_acknowledging_stops_the_pages_and_takes_command(
        self, instances: Many, olga: User, boss: User
    ) -> None:
        make_escalation(boss, boss)
        fail(instances(1))
        services.acknowledge(only_incident(), actor=olga)
        incident = only_incident()
        assert (incident.state, incident.commander, incident.escalation.state) == (
            "acknowledged",
            olga,
            "acknowledged",
        )
        with pytest.raises(services.Refused, match="acknowledged already by olga"):
            services.acknowledge(incident, actor=boss)
        assert AuditEntry.objects.filter(
            actor=olga, object_id=incident.pk, changes__has_key="commander"
        ).exists()
        services.take_command(incident, actor=boss)
        assert only_incident().commander == boss

    def test_it_is_not_resolved_by_hand_while_it_goes_on(self, instances: Many, olga: User) -> None:
        (one,) = instances(1)
        fail(one)
        with pytest.raises(services.Refused, match="It goes on"):
            services.resolve(only_incident(), actor=olga, reason="enough")
        mend(one)
        services.resolve(only_incident(), actor=olga, reason="enough")
        assert only_incident().resolved_by == olga

    def test_notes_are_kept(self, instances: Many, olga: User) -> None:
        fail(instances(1))
        services.add_note(only_incident(), actor=olga, text="the disk is full")
        assert only_incident().notes.get().text == "the disk is full"
        with pytest.raises(services.Refused):
            services.add_note(only_incident(), actor=olga, text=" ")


class TestWhoSees:
    def test_it_is_seen_through_its_alerts(self, cell: Cell, instances: Many) -> None:
        (one,) = instances(1)
        tenant, other = make_tenant(), make_tenant()
        place(tenant, one)
        place(other, make_instance(cell=make_cell()))
        fail(one)
        people = {}
        for name, kind, obj in (
            ("account", "account", cell.region.account), ("cell", "cell", cell), ("tenant", "tenant", tenant),
            ("other cell", "cell", make_cell()), ("other tenant", "tenant", other),
        ):  # fmt: skip
            people[name] = make_user()
            grant(people[name], "viewer", kind, obj)
        seen = {
            name
            for name, who in people.items()
            if visible(who, Incident).exists() and visible(who, Alert).exists()
        }
        assert seen == {"account", "cell", "tenant"}

    def test_who_only_looks_changes_nothing(self, instances: Many) -> None:
        fail(instances(1))
        support = make_user()
        grant(support, "support")
        for act in (
            lambda: services.acknowledge(only_incident(), actor=support),
            lambda: services.take_command(only_incident(), actor=support),
            lambda: services.add_note(only_incident(), actor=support, text="hello"),
            lambda: services.resolve(only_incident(), actor=support, reason="hello"),
        ):
            with pytest.raises(PermissionDenied):
                act()
        assert only_incident().state == "triggered"


@pytest.mark.django_db(transaction=True)
def test_from_the_symptom_to_what_mends_it(client: Client, instances: Many, olga: User, cell: Cell) -> None:
    (one,) = instances(1)
    submit(kind="deploy", target_id=one.pk, params={"version": "2.0.0"}, actor=olga, reason="new things")
    fail(one)
    incident = only_incident()
    client.force_login(olga)
    text = client.get(f"/alerts/incidents/{incident.pk}/").content.decode()
    assert f"/operations/act/restart/{one.pk}/" in text
    assert f"/alerts/runbooks/?instance={one.name}" in text
    assert "What changed in the hour before" in text
    assert f"Deploy 2.0.0 of {one.name}" in text
    viewer = make_user("vera")
    grant(viewer, "viewer", "account", cell.region.account)
    client.force_login(viewer)
    text = client.get(f"/alerts/incidents/{incident.pk}/").content.decode()
    assert "/operations/act/" not in text
    assert "/alerts/runbooks/?instance=" not in text


@pytest.mark.django_db(transaction=True)
def test_the_catalogue_carries_the_instance_to_the_form(client: Client, instances: Many, boss: User) -> None:
    keeping.take_over_library()
    (one,) = instances(1)
    client.force_login(boss)
    assert f"/alerts/runbooks/?instance={one.name}" in client.get(f"/instances/{one.pk}/").content.decode()
    listed = client.get("/alerts/runbooks/", {"instance": one.name}).content.decode()
    runbook = Runbook.objects.filter(is_enabled=True).first()
    assert runbook is not None
    assert f"/alerts/runbooks/{runbook.pk}/?instance={one.name}" in listed
    form = client.get(f"/alerts/runbooks/{runbook.pk}/", {"instance": one.name}).content.decode()
    assert f'value="{one.name}"' in form
