"""The list of operations, what ⌘K finds of them, what the bar says."""

import csv
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.core import palette
from apps.operations import services
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.search import bar_parts
from tests.factories import grant, make_account, make_cell, make_instance, make_user

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/operations/"


@pytest.fixture
def operator():
    user = make_user("olga")
    grant(user, "operator")
    return user


def ask(user, instance, *, kind="restart", reason="it hangs", **more):
    return services.submit(kind=kind, target_id=instance.pk, actor=user, reason=reason, **more)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def shown(response):
    return [row.record.pk for row in response.context["table"].paginated_rows]


def test_it_lists_what_one_sees_newest_first(operator):
    first, second = ask(operator, make_instance()), ask(operator, make_instance())
    assert shown(signed_in(operator).get(URL)) == [second.pk, first.pk]


def test_it_hides_what_lies_outside_ones_scopes(operator):
    mine, other = make_account(), make_account()
    inside = ask(operator, make_instance(cell=make_cell(account=mine)))
    ask(operator, make_instance(cell=make_cell(account=other)))
    viewer = make_user()
    grant(viewer, "viewer", "account", mine)
    response = signed_in(viewer).get(URL)
    assert shown(response) == [inside.pk]
    assert response.context["total"] == 1


def test_it_sends_who_is_not_signed_in_to_the_sign_in_page():
    response = Client().get(URL)
    assert response.status_code == 302
    assert "/accounts/login/" in response["Location"]


def test_its_live_part_says_401_to_who_was_signed_out():
    assert Client().get(URL, headers={"HX-Request": "true"}).status_code == 401


def test_it_refuses_who_may_see_nothing():
    assert signed_in(make_user()).get(URL).status_code == 403


def test_it_rejects_post(operator):
    assert signed_in(operator).post(URL).status_code == 405


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=pending", {"restart", "stop"}),
        ("state=failed", set()),
        ("kind=stop", {"stop"}),
        ("q=shop-prod", {"restart"}),
        ("q=disk+full", {"stop"}),
        ("actor=me", {"restart"}),
        ("actor=OTTO", {"stop"}),
        ("since=2020-01-01", {"restart", "stop"}),
        ("until=2020-01-01", set()),
    ],
)
def test_it_filters(operator, query, expected):
    otto = make_user("otto")
    grant(otto, "operator")
    ask(operator, make_instance("shop-prod"))
    ask(otto, make_instance("wiki-prod"), kind="stop", reason="disk full")
    response = signed_in(operator).get(f"{URL}?{query}")
    assert {row.record.kind for row in response.context["table"].paginated_rows} == expected


def test_it_finds_one_by_its_number(operator):
    operation = ask(operator, make_instance())
    ask(operator, make_instance())
    assert shown(signed_in(operator).get(URL, {"q": f"#{operation.pk}"})) == [operation.pk]


@pytest.mark.parametrize("query", ["state=nonsense", "since=yesterday", "batch=12", "kind=%00"])
def test_a_bad_filter_shows_its_error_and_no_rows(operator, query):
    ask(operator, make_instance())
    response = signed_in(operator).get(f"{URL}?{query}")
    assert response.status_code == 200
    assert shown(response) == []
    assert response.context["filter"].form.errors


@pytest.mark.parametrize("query", ["page=99", "page=x", "per_page=7", "sort=nonsense", "sort=-id&sort=id"])
def test_a_bad_page_or_order_still_shows_the_list(operator, query):
    operation = ask(operator, make_instance())
    assert shown(signed_in(operator).get(f"{URL}?{query}")) == [operation.pk]


def test_htmx_gets_the_results_only(operator):
    ask(operator, make_instance())
    text = signed_in(operator).get(URL, headers={"HX-Request": "true"}).content.decode()
    assert 'id="results"' in text
    assert "<html" not in text


def test_it_costs_the_same_for_2_rows_and_for_20(operator):
    client = signed_in(operator)

    def queries():
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert client.get(URL).status_code == 200
        return len(seen)

    for _ in range(2):
        ask(operator, make_instance())
    queries()
    two = queries()
    for _ in range(18):
        ask(operator, make_instance())
    assert queries() == two <= 9


def test_the_csv_holds_all_rows_and_is_safe_for_a_spreadsheet(operator):
    operation = ask(operator, make_instance("shop-prod"), reason="=HYPERLINK(1)")
    response = signed_in(operator).get(URL, {"_export": "csv"})
    rows = list(csv.DictReader(b"".join(response.streaming_content).decode().splitlines()))
    assert len(rows) == 1
    assert rows[0]["What"] == "Restart of shop-prod"
    assert rows[0]["Reason"] == "'=HYPERLINK(1)"
    assert rows[0]["No."] == str(operation.pk)


def test_the_csv_needs_its_permission(operator):
    viewer = make_user()
    grant(viewer, "viewer")
    assert signed_in(viewer).get(URL, {"_export": "csv"}).status_code == 403


# --- ⌘K and the bar --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{0}", "#{0}", "operation {0}"])
def test_the_palette_finds_an_operation_by_its_number(operator, text):
    operation = ask(operator, make_instance())
    hits = palette.search(operator, text.format(operation.pk))
    assert [hit.url for hit in hits if hit.kind == "Operation"] == [
        reverse("operations:operation", args=[operation.pk])
    ]


def test_the_palette_finds_the_last_ones_of_a_target(operator):
    instance = make_instance("shop-prod")
    first, second = ask(operator, instance), ask(operator, instance)
    hits = [hit.url for hit in palette.search(operator, "shop-pr") if hit.kind == "Operation"]
    assert hits == [reverse("operations:operation", args=[o.pk]) for o in (second, first)]


def test_the_palette_finds_nothing_outside_ones_scopes(operator):
    operation = ask(operator, make_instance("shop-prod"))
    viewer = make_user()
    grant(viewer, "viewer", "account", make_account())
    assert not [hit for text in (str(operation.pk), "shop-prod") for hit in palette.search(viewer, text)]


def test_the_bar_counts_what_runs(operator):
    operation = ask(operator, make_instance())
    assert bar_parts(operator) == []
    Operation.objects.filter(pk=operation.pk).unrecorded_update(
        state=State.RUNNING, lease_until=timezone.now() + timedelta(minutes=1)
    )
    assert [(p["count"], p["label"]) for p in bar_parts(operator)] == [(1, "operation running")]


def test_the_bar_tells_an_approver_what_waits_for_them(operator):
    operation = ask(operator, make_instance())
    Operation.objects.filter(pk=operation.pk).unrecorded_update(state=State.AWAITING_APPROVAL)
    admin = make_user()
    grant(admin, "admin")
    assert [p["label"] for p in bar_parts(admin)] == ["waits for your approval"]
    assert bar_parts(operator) == []
