"""What is downloaded, tried dry and discovered holds what its reader sees, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.alerts.models import Alert, Incident, RecoveryDecision
from apps.fleet.models import Cell, Certificate, Instance
from apps.operations.services import submit
from tests.alerts.conftest import fail, make_recovery, make_source, recover
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


class World:
    """One incident over two accounts; on the first's shared instance two tenants."""

    def __init__(self, boss: User) -> None:
        self.boss = boss
        self.here, self.there = (
            make_cell("here", account=make_account("acme")),
            make_cell("there", account=make_account("rival")),
        )
        self.mine, self.theirs = (
            make_instance("mine-shared", cell=self.here),
            make_instance("theirs-prod", cell=self.there),
        )
        with as_system():
            Instance.objects.filter(pk=self.mine.pk).update(kind="shared")
        self.tenant, self.neighbour, self.other = (
            make_tenant(k, name=k.title()) for k in ("northwind", "globex", "initech")
        )
        place(self.tenant, self.mine)
        place(self.neighbour, self.mine)
        place(self.other, self.theirs)
        submit(kind="restart", target_id=self.theirs.pk, actor=boss, reason="a reason of theirs")
        fail([self.mine, self.theirs])
        with as_system():
            self.incident = Incident.objects.create(
                title="the database", cause_key="dependency:db", severity="critical"
            )
        Alert.objects.update(incident=self.incident)
        self.account_viewer, self.tenant_viewer, self.stranger = (
            make_user(n) for n in ("vera", "tess", "sten")
        )
        grant(self.account_viewer, "viewer", "account", self.here.region.account)
        grant(self.tenant_viewer, "viewer", "tenant", self.tenant)
        grant(self.stranger, "viewer", "account", make_account("nowhere"))


@pytest.fixture
def world(cell: Cell, boss: User) -> World:
    return World(boss)


def get(user: User, name: str, *args: object, **query: str) -> tuple[int, str]:
    client = Client()
    client.force_login(user)
    answer = client.get(reverse(name, args=args), query)
    return answer.status_code, answer.content.decode()


THEIRS = ("theirs-prod", "Initech", "rival", "a reason of theirs")


def test_the_post_mortem(world: World) -> None:
    status, text = get(world.account_viewer, "alerts:postmortem", world.incident.pk)
    assert (status, "mine-shared" in text, "Northwind" in text, "Globex" in text) == (200, True, True, True)
    assert [word for word in THEIRS if word in text] == []
    status, text = get(world.tenant_viewer, "alerts:postmortem", world.incident.pk)
    assert (status, "Northwind" in text) == (200, True)
    assert [word for word in (*THEIRS, "Globex") if word in text] == []
    assert get(world.stranger, "alerts:postmortem", world.incident.pk)[0] == 404
    assert "theirs-prod" in get(world.boss, "alerts:postmortem", world.incident.pk)[1]


def test_its_page_and_its_draft_of_a_notice(world: World) -> None:
    for user in (world.account_viewer, world.tenant_viewer):
        text = get(user, "alerts:incident", world.incident.pk)[1]
        assert [word for word in THEIRS if word in text] == []
    assert get(world.stranger, "alerts:incident", world.incident.pk)[0] == 404
    assert get(world.stranger, "alerts:new_notice", world.incident.pk)[0] in (403, 404)


def test_a_dry_run(world: World) -> None:
    everywhere = make_recovery(world.boss, name="everywhere", is_dry_run=True)
    mine = make_recovery(world.boss, name="mine", account=world.here.region.account, rank=1)
    status, text = get(world.account_viewer, "alerts:recovery", mine.pk, dry_run="30")
    assert status == 200 and "mine-shared" in text
    assert [word for word in THEIRS if word in text] == []
    assert get(world.account_viewer, "alerts:recovery", everywhere.pk, dry_run="30")[0] == 404
    assert get(world.tenant_viewer, "alerts:recovery", mine.pk, dry_run="30")[0] == 404
    assert "theirs-prod" in get(world.boss, "alerts:recovery", everywhere.pk, dry_run="30")[1]


def test_what_was_decided(world: World) -> None:
    make_recovery(world.boss)
    recover()
    assert RecoveryDecision.objects.count() >= 1
    text = get(world.account_viewer, "alerts:recoveries")[1]
    assert "mine-shared" in text and "theirs-prod" not in text
    assert "mine-shared" not in get(world.stranger, "alerts:recoveries")[1]


def test_the_report_of_certificates_and_its_list(world: World) -> None:
    now = timezone.now()
    for one in (world.mine, world.theirs):
        Certificate.objects.create(
            instance=one, not_before=now - timedelta(days=80), not_after=now + timedelta(hours=9), key="RSA 1024", is_weak=True
        )  # fmt: skip
    for user in (world.account_viewer, world.tenant_viewer):
        for query in ({}, {"problem": "weak"}, {"q": "theirs"}, {"_export": "csv"}):
            text = get(user, "fleet:certificates", **query)[1]
            assert [word for word in THEIRS if word in text] == [] or query == {"q": "theirs"}
            assert "theirs-prod" not in text
        assert get(user, "fleet:certificates")[1].count("<strong>1</strong>") == 4, (
            "1, 7, 30 days and weak: one each"
        )
    assert get(world.boss, "fleet:certificates")[1].count("<strong>2</strong>") == 4
    assert "mine-shared" not in get(world.stranger, "fleet:certificates")[1]


def test_service_discovery(world: World) -> None:
    with as_system():
        Instance.objects.update(endpoint="https://127.0.0.1:1")

    def found(token: str) -> str:
        answer = Client().get("/alerts/prometheus/targets.json", headers={"Authorization": f"Bearer {token}"})
        return json.dumps(answer.json())

    mine = found(make_source(world.boss, "discovery", account=world.here.region.account)[1])
    assert "mine-shared" in mine and "theirs-prod" not in mine
    everything = found(make_source(world.boss, "discovery")[1])
    assert "mine-shared" in everything and "theirs-prod" in everything
    webhook = make_source(world.boss, "alertmanager")[1]
    assert "error" in found(webhook), "a token to send is none to look"


def test_an_incident_of_one_instance_names_it_to_who_sees_it(world: World) -> None:
    """The list of incidents tells a stranger nothing, and the bar counts nothing for them."""
    assert "the database" in get(world.account_viewer, "alerts:incidents")[1]
    text = get(world.stranger, "alerts:incidents")[1]
    assert "the database" not in text and "1 incident" not in text
