"""Asking for one operation from its page."""

import re
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import reverse

from apps.operations import params, services
from apps.operations.models import ApprovalRule, Operation
from tests.factories import as_system, grant, make_account, make_instance, make_tenant, make_user, place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def versions(monkeypatch):
    """Deploy asks for a version of a known list."""
    monkeypatch.setattr(params._known, "params", {})
    params.register_param_choices("deploy", "version", lambda ids: ["1.1.0", "1.0.0"])


@pytest.fixture
def operator():
    user = make_user("olga")
    grant(user, "operator")
    return user


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def act(instance, kind="restart"):
    return reverse("operations:act", args=[kind, instance.pk])


def key_of(response):
    return re.search(r'name="key" value="(\w+)"', response.content.decode())[1]


def test_it_shows_what_will_happen_and_changes_nothing(operator):
    response = signed_in(operator).get(act(make_instance("shop-prod")))
    assert "shop-prod restarts; its tenants wait for some seconds" in response.content.decode()
    assert not Operation.objects.exists()


def test_it_asks_for_the_operation_and_leads_to_it(operator):
    client, instance = signed_in(operator), make_instance()
    key = key_of(client.get(act(instance)))
    response = client.post(act(instance), {"reason": "it hangs", "key": key})
    operation = Operation.objects.get()
    assert response["Location"] == reverse("operations:operation", args=[operation.pk])
    assert (operation.actor, operation.reason, operation.via) == (operator, "it hangs", "page")


def test_the_same_form_twice_is_one_operation(operator):
    client, instance = signed_in(operator), make_instance()
    form = {"reason": "it hangs", "key": key_of(client.get(act(instance)))}
    assert client.post(act(instance), form)["Location"] == client.post(act(instance), form)["Location"]
    assert Operation.objects.count() == 1


def test_by_htmx_it_is_a_dialog_and_answers_with_a_redirect_of_the_browser(operator):
    client, instance = signed_in(operator), make_instance()
    opened = client.get(act(instance), headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in opened
    assert "<form" in opened
    response = client.post(
        act(instance), {"reason": "it hangs", "key": "k" * 20}, headers={"HX-Request": "true"}
    )
    assert response["HX-Redirect"] == reverse("operations:operation", args=[Operation.objects.get().pk])


@pytest.mark.parametrize("reason", ["", " ", "ab", "x" * 501])
def test_without_a_fit_reason_nothing_is_changed_and_the_input_is_kept(operator, reason):
    client, instance = signed_in(operator), make_instance()
    response = client.post(act(instance), {"reason": reason, "key": "the-same-key"})
    text = response.content.decode()
    assert response.status_code == 422
    assert 'value="the-same-key"' in text
    assert not reason.strip() or reason.strip() in text
    assert not Operation.objects.exists()


def test_a_locked_target_says_why_not(operator):
    instance = make_instance(locked_reason="audit week")
    client = signed_in(operator)
    assert "audit week" in client.get(act(instance)).content.decode()
    response = client.post(act(instance), {"reason": "it hangs", "key": "k1"})
    assert response.status_code == 422
    assert "audit week" in response.content.decode()
    assert not Operation.objects.exists()


def test_it_tells_what_it_would_wait_for(operator):
    instance = make_instance()
    first = services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="maintenance")
    text = signed_in(operator).get(act(instance)).content.decode()
    assert reverse("operations:operation", args=[first.pk]) in text


def test_it_tells_that_a_second_person_has_to_approve(operator):
    with as_system():
        ApprovalRule.objects.create(kind="restart", min_targets=1, note="two pairs of eyes")
    assert "two pairs of eyes" in signed_in(operator).get(act(make_instance())).content.decode()


# --- Parameters ----------------------------------------------------------------------------------


def test_deploying_asks_for_the_version_before_it_shows_anything(operator):
    text = signed_in(operator).get(act(make_instance("shop"), "deploy")).content.decode()
    assert '<option value="1.1.0"' in text
    assert "shop goes to" not in text


def test_a_chosen_version_is_previewed(operator):
    client, instance = signed_in(operator), make_instance("shop")
    response = client.get(
        act(instance, "deploy"),
        {"version": "1.1.0"},
        headers={"HX-Request": "true", "HX-Target": "action-plan"},
    )
    text = response.content.decode()
    assert "shop goes to 1.1.0" in text
    assert "<form" not in text


def test_what_was_not_previewed_is_shown_first_and_not_done(operator):
    client, instance = signed_in(operator), make_instance("shop")
    form = {"reason": "newer", "key": "k1", "version": "1.1.0", "previewed": ""}
    response = client.post(act(instance, "deploy"), form)
    assert response.status_code == 422
    assert "shop goes to 1.1.0" in response.content.decode()
    assert not Operation.objects.exists()
    client.post(act(instance, "deploy"), {**form, "previewed": "version=1.1.0"})
    assert Operation.objects.get().params == {"version": "1.1.0"}


def test_a_bad_version_is_refused_in_words(operator):
    response = signed_in(operator).get(act(make_instance(), "deploy"), {"version": "../../etc"})
    assert "A version has at most 40 letters" in response.content.decode()


# --- Who may -------------------------------------------------------------------------------------


def test_it_does_not_exist_outside_ones_scopes(operator):
    other = make_user()
    grant(other, "operator", "account", make_account())
    instance = make_instance()
    assert signed_in(other).get(act(instance)).status_code == 404
    assert signed_in(other).post(act(instance), {"reason": "it hangs", "key": "k"}).status_code == 404
    assert not Operation.objects.exists()


def test_who_may_only_look_gets_403(operator):
    viewer = make_user()
    grant(viewer, "viewer")
    instance = make_instance()
    assert signed_in(viewer).get(act(instance)).status_code == 403
    assert signed_in(viewer).post(act(instance), {"reason": "it hangs", "key": "k"}).status_code == 403
    assert not Operation.objects.exists()


def test_a_tenants_operator_does_not_touch_a_shared_instance():
    shared = make_instance(kind="shared")
    tenant = make_tenant()
    place(tenant, shared)
    place(make_tenant(), shared)
    user = make_user()
    grant(user, "operator", "tenant", tenant)
    assert signed_in(user).get(act(shared)).status_code == 403


@pytest.mark.parametrize("path", ["/operations/act/restart/999999/", "/operations/act/explode/1/"])
def test_what_does_not_exist_is_404(operator, path):
    make_instance()
    assert signed_in(operator).get(path).status_code == 404


def test_it_asks_who_is_not_signed_in_to_sign_in():
    assert Client().post(act(make_instance()), {"reason": "it hangs"}).status_code == 302
    assert not Operation.objects.exists()


def test_it_takes_no_other_method(operator):
    assert signed_in(operator).put(act(make_instance())).status_code == 405


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_the_way_back_leads_nowhere_else(operator, back):
    text = signed_in(operator).get(f"{act(make_instance())}?next={quote(back)}").content.decode()
    assert "evil" not in text
    assert "alert(1)" not in text


def test_the_way_back_leads_to_where_one_came_from(operator):
    text = (
        signed_in(operator)
        .get(f"{act(make_instance())}?next=/instances/%3Fhealth%3Dfailing")
        .content.decode()
    )
    assert 'href="/instances/?health=failing"' in text
