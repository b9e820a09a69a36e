"""Notices to customers: drafted from what is known, kept by people, sent by nobody here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.test import Client

from apps.access.models import User
from apps.alerts import customers, queries
from apps.alerts.choices import NoticeStage
from apps.alerts.models import CustomerNotice
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from tests.alerts.conftest import fail, only_incident
from tests.factories import as_system, grant, make_tenant, make_user, place

Many = Callable[[int], list[Instance]]


@pytest.fixture
def one(instances: Many) -> Instance:
    (made,) = instances(1)
    tenant = make_tenant("acme", name="Acme")
    place(tenant, made)
    with as_system():
        tenant.contacts.create(name="Tina", email="tina@acme.example", role="technical")
        tenant.contacts.create(name="Owen", email="owen@acme.example", role="owner")
        other = make_tenant("globex", name="Globex")
        other.contacts.create(name="Gil", email="gil@globex.example", role="owner")
    return made


@pytest.mark.parametrize("stage", NoticeStage.values)
def test_a_draft_says_what_is_known_and_names_nobody(one: Instance, olga: User, stage: str) -> None:
    fail(one)
    page = queries.incident_page(olga, only_incident().pk)
    draft = customers.draft(page, stage)
    assert f"incident {page.incident.pk}" in draft.body
    assert f"{page.incident.opened_at:%H:%M} UTC" in draft.body
    for secret in (one.name, "cell-1", "Acme", "olga"):
        assert secret not in draft.subject + draft.body
    assert draft.pk is None


def test_it_is_for_the_contacts_of_who_is_affected(one: Instance, olga: User) -> None:
    fail(one)
    found = customers.recipients(olga, queries.incident_page(olga, only_incident().pk))
    assert [(r.tenant, r.email) for r in found] == [("Acme", "tina@acme.example")]


def test_kept_it_stands_on_the_timeline(client: Client, one: Instance, olga: User, cell: Cell) -> None:
    fail(one)
    incident = only_incident()
    client.force_login(olga)
    url = f"/alerts/incidents/{incident.pk}/notices/new/"
    assert "Mended, being watched" in client.get(url, {"stage": "monitoring"}).content.decode()
    sent = {"stage": "identified", "subject": "It is slow", "body": "We know.\r\nWait."}
    answer = client.post(url, sent)
    notice = CustomerNotice.objects.get()
    assert answer["Location"] == f"/alerts/notices/{notice.pk}/"
    assert (notice.author, notice.body) == (olga, "We know.\nWait.")
    page = client.get(answer["Location"]).content.decode()
    assert "tina@acme.example" in page
    assert f"/alerts/notices/{notice.pk}/" in client.get(f"/alerts/incidents/{incident.pk}/").content.decode()
    assert Event.objects.get(kind="incident.notice").why == "It is slow"
    assert client.post(url, {**sent, "body": ""}).status_code == 422
    assert CustomerNotice.objects.count() == 1


def test_who_only_looks_or_is_elsewhere_drafts_none(one: Instance, cell: Cell) -> None:
    fail(one)
    viewer, stranger = make_user("vera"), make_user("stefan")
    grant(viewer, "viewer", "account", cell.region.account)
    for user, error in ((viewer, PermissionDenied), (stranger, Http404)):
        with pytest.raises(error):
            customers.keep(only_incident(), stage="resolved", subject="x", body="y", actor=user)


def test_an_odd_stage_is_refused(one: Instance, olga: User) -> None:
    fail(one)
    with pytest.raises(ValidationError):
        customers.keep(only_incident(), stage="odd", subject="x", body="y", actor=olga)
