"""The page of one operation: seeing, approving, cancelling."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.fleet.models import SimulatedInstance
from apps.operations import runner, services
from apps.operations.choices import State
from apps.operations.models import ApprovalRule, Operation
from tests.factories import as_system, grant, make_account, make_cell, make_instance, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def person(role, scope="everything", obj=None):
    user = make_user()
    grant(user, role, scope, obj)
    return user


def ask(user, instance=None, *, kind="restart", reason="it hangs"):
    instance = instance or make_instance()
    return services.submit(kind=kind, target_id=instance.pk, actor=user, reason=reason)


def page(operation):
    return reverse("operations:operation", args=[operation.pk])


def rule():
    with as_system():
        ApprovalRule.objects.create(kind="", min_targets=1, note="two pairs of eyes on production")


def test_it_tells_who_why_and_what():
    user = person("operator")
    text = signed_in(user).get(page(ask(user, make_instance("shop-prod")))).content.decode()
    for words in ("Restart", "shop-prod", "it hangs", user.username, "wait until healthy"):
        assert words in text


def test_it_does_not_exist_outside_ones_scopes():
    operation = ask(person("operator"))
    other = person("admin", "account", make_account())
    client = signed_in(other)
    assert client.get(page(operation)).status_code == 404
    assert (
        client.post(reverse("operations:cancel", args=[operation.pk]), {"reason": "mine now"}).status_code
        == 404
    )
    assert client.post(reverse("operations:approve", args=[operation.pk])).status_code == 404


def test_it_asks_who_is_not_signed_in_to_sign_in():
    assert Client().get(page(ask(person("operator")))).status_code == 302


@pytest.mark.parametrize("name", ["cancel", "approve"])
def test_deciding_takes_post_only(name):
    user = person("operator")
    assert signed_in(user).get(reverse(f"operations:{name}", args=[ask(user).pk])).status_code == 405


def test_it_is_live_until_it_has_ended():
    user = person("operator")
    operation = ask(user)
    client = signed_in(user)
    assert (
        "data-live" in client.get(page(operation)).content.decode().split('id="operation"')[1].split(">")[0]
    )
    services.cancel(operation, actor=user, reason="not needed")
    assert (
        "data-live"
        not in client.get(page(operation)).content.decode().split('id="operation"')[1].split(">")[0]
    )


def test_it_names_the_operation_it_waits_for():
    user, instance = person("operator"), make_instance()
    first, second = ask(user, instance), ask(user, instance)
    text = signed_in(user).get(page(second)).content.decode()
    assert "Waits for" in text
    assert page(first) in text


def test_a_failure_stands_on_the_page_with_what_to_do():
    user = person("operator")
    instance = make_instance()
    operation = services.submit(
        kind="deploy", target_id=instance.pk, params={"version": "no-such"}, actor=user, reason="newer"
    )
    runner.run_due()
    text = signed_in(user).get(page(operation)).content.decode()
    assert "There is no version" in text
    assert "Nothing was changed" in text


def test_the_way_back_is_shown_step_by_step():
    user = person("operator")
    instance, other = make_instance("shop-prod"), make_instance(version="2.0.0")
    SimulatedInstance.objects.filter(instance=instance).update(crash_on_version="2.0.0")
    operation = services.submit(
        kind="deploy", target_id=instance.pk, params={"version": other.version}, actor=user, reason="newer"
    )
    runner.run_due()
    response = signed_in(user).get(page(operation))
    assert [line.state for line in response.context["page"].way_back] == ["done", "done"]
    text = response.content.decode()
    assert "The way back" in text
    assert "went back to what was there before" in text


def test_it_costs_few_queries():
    user = person("operator")
    operation = ask(user)
    client = signed_in(user)
    client.get(page(operation))
    with CaptureQueriesContext(connection) as seen:
        client.get(page(operation))
    assert len(seen) <= 14


# --- Approving -----------------------------------------------------------------------------------


def test_who_asked_does_not_approve_it():
    rule()
    admin = person("admin")
    operation = ask(admin)
    client = signed_in(admin)
    text = client.get(page(operation)).content.decode()
    assert "two pairs of eyes on production" in text
    assert reverse("operations:approve", args=[operation.pk]) not in text
    assert client.post(reverse("operations:approve", args=[operation.pk])).status_code == 403
    assert Operation.objects.get(pk=operation.pk).state == State.AWAITING_APPROVAL


def test_who_may_not_approve_gets_403():
    rule()
    operation = ask(person("operator"))
    response = signed_in(person("operator")).post(reverse("operations:approve", args=[operation.pk]))
    assert response.status_code == 403


def test_another_who_may_sees_the_preview_and_approves():
    rule()
    operation = ask(person("operator"), make_instance("shop-prod"))
    client = signed_in(person("admin"))
    text = client.get(page(operation)).content.decode()
    assert "shop-prod restarts; its tenants wait for some seconds" in text
    assert client.post(reverse("operations:approve", args=[operation.pk])).status_code == 302
    assert Operation.objects.get(pk=operation.pk).state == State.PENDING


def test_approving_twice_says_that_it_does_not_wait():
    rule()
    operation = ask(person("operator"))
    client = signed_in(person("admin"))
    client.post(reverse("operations:approve", args=[operation.pk]))
    response = client.post(reverse("operations:approve", args=[operation.pk]))
    assert response.status_code == 422
    assert "does not wait for approval" in response.content.decode()


# --- Cancelling ----------------------------------------------------------------------------------


def test_who_asked_cancels_it():
    user = person("operator")
    operation = ask(user)
    response = signed_in(user).post(
        reverse("operations:cancel", args=[operation.pk]), {"reason": "not needed"}
    )
    assert response.status_code == 302
    assert Operation.objects.get(pk=operation.pk).state == State.CANCELLED


def test_cancelling_needs_a_reason_and_keeps_what_was_typed():
    user = person("operator")
    operation = ask(user)
    response = signed_in(user).post(reverse("operations:cancel", args=[operation.pk]), {"reason": "x"})
    assert response.status_code == 422
    assert 'value="x"' in response.content.decode()
    assert Operation.objects.get(pk=operation.pk).state == State.PENDING


def test_a_viewer_cannot_cancel():
    operation = ask(person("operator"))
    client = signed_in(person("viewer"))
    assert (
        reverse("operations:cancel", args=[operation.pk]) not in client.get(page(operation)).content.decode()
    )
    assert (
        client.post(reverse("operations:cancel", args=[operation.pk]), {"reason": "please"}).status_code
        == 403
    )


def test_what_has_ended_cannot_be_cancelled():
    user = person("operator")
    operation = ask(user)
    services.cancel(operation, actor=user, reason="not needed")
    response = signed_in(user).post(reverse("operations:cancel", args=[operation.pk]), {"reason": "again"})
    assert response.status_code == 422
    assert "has ended already" in response.content.decode()


# --- The trail -----------------------------------------------------------------------------------


def test_the_trail_is_shown_to_who_may_read_it():
    operation = ask(person("operator"))
    assert signed_in(person("admin")).get(page(operation)).context["page"].audit
    assert not signed_in(person("viewer")).get(page(operation)).context["page"].audit


def test_the_timeline_of_another_account_is_not_told():
    account = make_account()
    operation = ask(person("operator"), make_instance(cell=make_cell(account=account)))
    inside = person("viewer", "account", account)
    assert signed_in(inside).get(page(operation)).context["page"].events
