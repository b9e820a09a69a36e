"""What customers are told: drafts of a rollout, their sending, and a hold that was overridden."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Notice, User
from apps.fleet.models import Instance
from apps.operations.services import Refused
from apps.releases.choices import NoticeState
from apps.releases.customers import (
    BODY,
    SUBJECT,
    addresses_of,
    draft_notices,
    mark_told,
    send_notices,
    send_queued,
)
from apps.releases.models import CustomerNotice, Release, Rollout
from apps.releases.rollouts import prepare_rollout
from apps.releases.rules import end_hold, set_hold
from apps.tenants.models import Contact, Tenant
from tests.factories import as_system, grant, make_cell, make_user

Fleet = Callable[[int], list[Instance]]


def contact(tenant: str, role: str, name: str) -> None:
    with as_system():
        Contact.objects.create(
            tenant=Tenant.objects.get(key=tenant), role=role, name=name, email=f"{name}@{tenant}.example.com"
        )


@pytest.fixture
def rollout(fleet: Fleet, release: Release, boss: User) -> Rollout:
    fleet(3)
    found = Rollout(release=release, reason="as planned", canary="1")
    prepare_rollout(found, actor=boss)
    return found


def draft(rollout: Rollout, boss: User, **text: str) -> int:
    return draft_notices(
        rollout, actor=boss, reason="they should know", **{"subject": SUBJECT, "body": BODY, **text}
    )


def test_each_tenant_is_drafted_a_notice_with_its_own_words(rollout: Rollout, boss: User) -> None:
    assert draft(rollout, boss) == 3
    first = CustomerNotice.objects.get(tenant__key="t-000")
    assert first.subject == "T 000: an update to version 2.0.0"
    assert "Dear T 000," in first.body
    assert (first.state, Notice.objects.count()) == (NoticeState.DRAFT, 0)
    assert draft(rollout, boss, subject="Another {tenant}") == 3, "drafts are replaced"
    with pytest.raises(Refused, match="brace"):
        draft(rollout, boss, body="{price}")
    with pytest.raises(Refused, match="brace"):
        draft(rollout, boss, body="{tenant.__class__}")
    assert CustomerNotice.objects.count() == 3


def test_sent_they_go_to_the_contacts_and_one_without_any_is_told_by_other_means(
    rollout: Rollout, boss: User
) -> None:
    contact("t-000", "owner", "olaf")
    contact("t-000", "technical", "tina")
    contact("t-001", "owner", "oda")
    draft(rollout, boss)
    assert send_notices(rollout, actor=boss, reason="two days ahead") == 3
    assert (send_queued(), send_queued()) == (3, 0)
    assert set(Notice.objects.values_list("to", flat=True)) == {
        "tina@t-000.example.com",
        "oda@t-001.example.com",
    }
    lonely = CustomerNotice.objects.get(tenant__key="t-002")
    assert (lonely.state, lonely.why[:25]) == (NoticeState.DRAFT, "the tenant has no contact")
    mark_told(lonely, actor=boss, reason="phoned Mr Smith")
    lonely.refresh_from_db()
    assert (lonely.state, lonely.why) == (NoticeState.TOLD, "phoned Mr Smith")
    with pytest.raises(Refused):
        mark_told(lonely, actor=boss, reason="once more")
    with pytest.raises(Refused, match="no draft"):
        send_notices(rollout, actor=boss, reason="once more")
    assert draft(rollout, boss) == 0, "who was told is not told twice"


def test_whom_to_write_to(fleet: Fleet) -> None:
    fleet(1)
    tenant = Tenant.objects.get()
    assert addresses_of([tenant.pk]) == {}
    for role, found in (("billing", 1), ("owner", 1), ("security", 1), ("technical", 2)):
        contact("t-000", role, role)
        addresses = addresses_of([tenant.pk])[tenant.pk]
        assert (len(addresses), f"{role}@t-000.example.com" in addresses) == (found, True), role


def test_overriding_a_hold_takes_two_and_tells_the_tenant(fleet: Fleet, boss: User, second: User) -> None:
    fleet(1)
    contact("t-000", "security", "sam")
    setter = make_user()
    grant(setter, "admin")
    until = timezone.now() + timedelta(days=3)
    hold = set_hold(Tenant.objects.get(), until=until, reason="their launch", actor=setter)
    end_hold(hold, actor=boss, reason="CVE-2026-1 is exploited")
    assert not CustomerNotice.objects.exists(), "one person alone tells nobody"
    end_hold(hold, actor=second, reason="agreed")
    notice = CustomerNotice.objects.get()
    assert (notice.state, notice.addresses, notice.hold) == (
        NoticeState.SENT,
        ["sam@t-000.example.com"],
        hold,
    )
    letter = Notice.objects.get()
    assert letter.to == "sam@t-000.example.com"
    assert "CVE-2026-1 is exploited" in letter.body


def test_an_overridden_tenant_without_a_contact_stays_to_be_told(
    fleet: Fleet, boss: User, second: User
) -> None:
    fleet(1)
    setter = make_user()
    grant(setter, "admin")
    hold = set_hold(
        Tenant.objects.get(), until=timezone.now() + timedelta(days=3), reason="their launch", actor=setter
    )
    end_hold(hold, actor=boss, reason="it is exploited")
    end_hold(hold, actor=second, reason="agreed")
    assert CustomerNotice.objects.get().state == NoticeState.DRAFT


def test_pages_draft_send_show_and_keep(rollout: Rollout, boss: User, client: Client) -> None:
    contact("t-000", "owner", "olaf")
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("releases:rollout", args=[rollout.pk])
    assert "Draft a notice to each tenant" in client.get(page).content.decode()
    data = {"subject": SUBJECT, "body": BODY, "reason": "they should know"}
    url = reverse("releases:draft_notices", args=[rollout.pk])
    assert client.post(url, {**data, "body": "{oops}"}).status_code == 422
    assert client.post(url, data).status_code == 302
    assert "3 drafted and not sent" in client.get(page).content.decode()
    send = reverse("releases:send_notices", args=[rollout.pk])
    assert client.post(send, {"reason": "two days ahead"}).status_code == 302
    send_queued()
    shown = client.get(
        reverse("releases:notices"), {"rollout": rollout.pk, "state": "draft"}
    ).content.decode()
    assert "T 002" in shown
    assert "T 000" not in shown
    lonely = CustomerNotice.objects.get(tenant__key="t-002")
    assert "no contact" in client.get(reverse("releases:notice", args=[lonely.pk])).content.decode()
    told = reverse("releases:notice_told", args=[lonely.pk])
    assert client.post(told, {"reason": "by phone"}).status_code == 302


def test_who_sees_another_cell_sees_no_notice(rollout: Rollout, boss: User, client: Client) -> None:
    draft(rollout, boss)
    olga = make_user("olga")
    grant(olga, "operator", "cell", make_cell())
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    notice = CustomerNotice.objects.all()[0]
    assert client.get(reverse("releases:notice", args=[notice.pk])).status_code == 404
    assert "T 000" not in client.get(reverse("releases:notices")).content.decode()


@pytest.mark.parametrize("state", ["cancelled", "aborted", "rolling_back", "rolled_back"])
def test_what_does_not_come_is_announced_to_nobody(
    rollout: Rollout, boss: User, client: Client, state: str
) -> None:
    draft(rollout, boss)
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(state=state)
    rollout.refresh_from_db()
    with pytest.raises(Refused, match="is not announced"):
        send_notices(rollout, actor=boss, reason="tell them")
    assert set(CustomerNotice.objects.values_list("state", flat=True)) == {NoticeState.DRAFT}
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    assert "Send them" not in client.get(reverse("releases:rollout", args=[rollout.pk])).text


@pytest.mark.parametrize("text", ["{tenant:>999999999}", "{tenant!r}", "{tenant.key}", "{tenant[0]}"])
def test_words_are_filled_in_as_they_are(rollout: Rollout, boss: User, text: str) -> None:
    with pytest.raises(Refused, match="write any other brace twice"):
        draft(rollout, boss, body=text)
    assert not CustomerNotice.objects.exists()
