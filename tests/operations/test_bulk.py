"""One action on many targets, and the batch that comes of it."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from apps.access.scoping import visible
from apps.fleet.models import Instance
from apps.operations import batches, previews, selections, services
from apps.operations.choices import State
from apps.operations.freezing import difference, freeze, thaw
from apps.operations.models import ApprovalRule, Batch, Operation
from tests.factories import as_system, grant, make_account, make_cell, make_instance, make_user

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/operations/bulk/"


@pytest.fixture(autouse=True)
def selection(monkeypatch):
    """All instances match; a health narrows them."""

    def select(user, query):
        rows = visible(user, Instance)
        return rows.filter(health=query["health"]) if "health" in query else rows

    monkeypatch.setattr(selections, "_selections", {"instance": select})


@pytest.fixture
def operator():
    user = make_user("olga")
    grant(user, "operator")
    return user


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def many(count, cell=None, **fields):
    cell = cell or make_cell()
    return [make_instance(cell=cell, **fields) for _ in range(count)]


def hidden(response):
    """The hidden fields of the confirmation form, as a browser would send them."""
    form = response.content.decode().split('id="confirm"')[1].split("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', form))
    return {
        name: value.replace("&amp;", "&") for name, value in fields.items() if name != "csrfmiddlewaretoken"
    }


def preview(client, **data):
    return client.post(URL, {"kind": "restart", "target_type": "instance", **data})


def confirm(client, shown, reason="rolling restart"):
    return client.post(URL, {**hidden(shown), "confirmed": "1", "reason": reason})


# --- Preview -------------------------------------------------------------------------------------


def test_the_preview_counts_and_changes_nothing(operator):
    chosen = many(3)
    response = preview(signed_in(operator), selected=[i.pk for i in chosen])
    assert len(response.context["preview"].accepted) == 3
    assert chosen[0].name in response.content.decode()
    assert not Operation.objects.exists()


def test_the_preview_says_which_are_refused_and_why(operator):
    good, locked = make_instance(), make_instance(locked_reason="audit week")
    response = preview(signed_in(operator), selected=[good.pk, locked.pk])
    assert "audit week" in response.content.decode()
    assert [r.target_id for r in response.context["preview"].refused] == [locked.pk]


def test_what_one_cannot_see_is_refused_without_a_name():
    mine, other = make_cell(), make_cell()
    inside, outside = make_instance(cell=mine), make_instance("secret-name", cell=other)
    user = make_user()
    grant(user, "operator", "cell", mine)
    response = preview(signed_in(user), selected=[inside.pk, outside.pk])
    assert "secret-name" not in response.content.decode()
    assert [i.id for i in response.context["preview"].accepted] == [inside.pk]


def test_nothing_selected_is_said(operator):
    response = preview(signed_in(operator))
    assert response.status_code == 422
    assert "Nothing is selected" in response.content.decode()


@pytest.mark.parametrize(
    "data",
    [
        {"selected": "x"},
        {"selected": "1", "kind": "explode"},
        {"frozen": "nonsense"},
        {"frozen": ""},
        {"all_matching": "1", "kind": ""},
    ],
)
def test_a_form_that_makes_no_sense_changes_nothing(operator, data):
    make_instance()
    response = preview(signed_in(operator), **{"confirmed": "1", "reason": "whatever", **data})
    assert response.status_code == 422
    assert not Operation.objects.exists()


def test_it_takes_post_only(operator):
    assert signed_in(operator).get(URL).status_code == 405


def test_it_is_for_who_is_signed_in():
    assert Client().post(URL, {"kind": "restart"}).status_code == 302


def test_a_viewer_is_refused_each(operator):
    viewer = make_user()
    grant(viewer, "viewer")
    client, chosen = signed_in(viewer), many(2)
    shown = preview(client, selected=[i.pk for i in chosen])
    assert not shown.context["preview"].accepted
    frozen = freeze([i.pk for i in chosen])
    client.post(URL, {"kind": "restart", "frozen": frozen, "confirmed": "1", "reason": "try it", "key": "k"})
    assert not Operation.objects.exists()


def test_the_preview_costs_the_same_for_2_and_for_20(operator):
    client, chosen = signed_in(operator), many(20)
    preview(client, selected=[chosen[0].pk])

    def cost(rows):
        with CaptureQueriesContext(connection) as seen:
            preview(client, selected=[i.pk for i in rows])
        return len(seen)

    assert cost(chosen[:2]) == cost(chosen)


# --- Confirmation --------------------------------------------------------------------------------


def test_confirmed_it_acts_on_exactly_what_was_shown(operator):
    client, chosen = signed_in(operator), many(3)
    shown = preview(client, selected=[i.pk for i in chosen[:2]])
    response = confirm(client, shown)
    batch = Batch.objects.get()
    assert response["Location"] == reverse("operations:batch", args=[batch.pk])
    assert {o.target_id for o in batch.operations.all()} == {i.pk for i in chosen[:2]}


def test_the_same_confirmation_twice_is_one_batch(operator):
    client = signed_in(operator)
    shown = preview(client, selected=[i.pk for i in many(3)])
    assert confirm(client, shown)["Location"] == confirm(client, shown)["Location"]
    assert Operation.objects.count() == 3


def test_more_than_300_of_all_that_match(operator):
    many(301)
    make_instance(health="stopped")
    client = signed_in(operator)
    shown = preview(client, all_matching="1", query="health=well")
    confirm(client, shown)
    assert Operation.objects.count() == 301


def test_a_selection_that_changed_meanwhile_is_shown_again(operator):
    client, chosen = signed_in(operator), many(5)
    shown = preview(client, all_matching="1", query="health=well")
    Instance.objects.filter(pk=chosen[0].pk).unrecorded_update(health="failing")
    many(3)
    again = confirm(client, shown)
    assert again.status_code == 422
    assert "3 more, 1 less" in again.content.decode()
    assert not Operation.objects.exists()
    confirm(client, again)
    assert Operation.objects.count() == 7


def test_without_a_reason_it_is_shown_again(operator):
    client = signed_in(operator)
    shown = preview(client, selected=[make_instance().pk])
    assert confirm(client, shown, reason="").status_code == 422
    assert not Operation.objects.exists()


def test_what_was_frozen_by_hand_reaches_no_further_than_ones_scopes():
    mine, other = make_instance(), make_instance()
    user = make_user()
    grant(user, "operator", "cell", mine.cell)
    client = signed_in(user)
    frozen = freeze([mine.pk, other.pk])
    client.post(
        URL,
        {
            "kind": "restart",
            "frozen": frozen,
            "confirmed": "1",
            "reason": "try it",
            "key": "k",
            "previewed": "",
        },
    )
    assert [o.target_id for o in Operation.objects.all()] == [mine.pk]


# --- The batch's page ----------------------------------------------------------------------------


def batch_of(user, instances, **more):
    done = services.submit_many(
        kind="restart",
        target_ids=[i.pk for i in instances],
        params={},
        actor=user,
        reason="rolling restart",
        **more,
    )
    return done.batch


def test_the_batch_shows_how_far_it_is_and_what_was_refused(operator):
    batch = batch_of(operator, [*many(2), make_instance("frozen-one", locked_reason="audit week")])
    text = signed_in(operator).get(reverse("operations:batch", args=[batch.pk])).content.decode()
    assert "rolling restart" in text
    assert "frozen-one" in text
    assert "audit week" in text


def test_another_reader_sees_only_their_part_and_no_refused_names(operator):
    inside = make_instance()
    batch = batch_of(
        operator, [inside, make_instance(), make_instance("frozen-one", locked_reason="audit week")]
    )
    viewer = make_user()
    grant(viewer, "viewer", "cell", inside.cell)
    response = signed_in(viewer).get(reverse("operations:batch", args=[batch.pk]))
    assert response.context["page"].total == 1
    assert "frozen-one" not in response.content.decode()


def test_a_batch_outside_ones_scopes_does_not_exist(operator):
    batch = batch_of(operator, many(1))
    other = make_user()
    grant(other, "admin", "account", make_account())
    client = signed_in(other)
    assert client.get(reverse("operations:batch", args=[batch.pk])).status_code == 404
    assert (
        client.post(reverse("operations:cancel_batch", args=[batch.pk]), {"reason": "stop it"}).status_code
        == 404
    )


def test_all_that_still_wait_are_cancelled_and_recorded(operator):
    batch = batch_of(operator, many(3))
    first = batch.operations.order_by("id").first()
    services.cancel(first, actor=operator, reason="by itself")
    response = signed_in(operator).post(
        reverse("operations:cancel_batch", args=[batch.pk]), {"reason": "wrong cell"}
    )
    assert response.status_code == 302
    assert set(batch.operations.values_list("state", flat=True)) == {State.CANCELLED}
    assert batch.operations.filter(cancel_reason="wrong cell").count() == 2


def test_cancelling_costs_the_same_for_2_and_for_20(operator):
    def cost(count):
        batch = batch_of(operator, many(count))
        with CaptureQueriesContext(connection) as seen:
            assert batches.cancel_waiting(batch, actor=operator, reason="wrong cell") == count
        return len(seen)

    cost(1)
    assert cost(2) == cost(20)


def test_cancelling_a_batch_needs_a_reason(operator):
    batch = batch_of(operator, many(2))
    response = signed_in(operator).post(reverse("operations:cancel_batch", args=[batch.pk]), {"reason": ""})
    assert response.status_code == 422
    assert batch.operations.filter(state=State.PENDING).count() == 2


def test_a_viewer_cancels_nothing(operator):
    batch = batch_of(operator, many(2))
    viewer = make_user()
    grant(viewer, "viewer")
    client = signed_in(viewer)
    assert (
        client.post(reverse("operations:cancel_batch", args=[batch.pk]), {"reason": "stop it"}).status_code
        == 422
    )
    assert batch.operations.filter(state=State.PENDING).count() == 2


def test_another_approves_the_whole_batch_and_the_requester_cannot(operator):
    with as_system():
        ApprovalRule.objects.create(kind="", min_targets=2, note="two pairs of eyes")
    batch = batch_of(operator, many(3))
    url = reverse("operations:approve_batch", args=[batch.pk])
    assert signed_in(operator).post(url).status_code == 403
    assert batch.operations.filter(state=State.AWAITING_APPROVAL).count() == 3
    admin = make_user()
    grant(admin, "admin")
    assert (
        "two pairs of eyes"
        in signed_in(admin).get(reverse("operations:batch", args=[batch.pk])).content.decode()
    )
    assert signed_in(admin).post(url).status_code == 302
    assert batch.operations.filter(state=State.PENDING, approved_by=admin).count() == 3


# --- Freezing ------------------------------------------------------------------------------------


@given(st.sets(st.integers(min_value=1, max_value=2**62), max_size=200))
def test_what_is_frozen_thaws_as_it_was(ids):
    assert thaw(freeze(ids)) == sorted(ids)


def test_a_hundred_thousand_neighbours_are_a_short_field():
    assert len(freeze(range(500, 100_500))) < 1_000


@given(st.text(max_size=60))
def test_anything_else_is_refused_in_words(text):
    try:
        thaw(text)
    except ValueError as error:
        assert "select again" in str(error)


def test_a_selection_packed_too_large_is_refused():
    with pytest.raises(ValueError, match="select again"):
        thaw(freeze(range(10**18, 10**18 + 10_000_000, 3))[:40])


@pytest.mark.parametrize(
    ("before", "now", "words"), [([1], [1], ""), ([1, 2], [2, 3, 4], "2 more, 1 less"), ([1], [], "1 less")]
)
def test_the_difference_is_told(before, now, words):
    assert difference(before, now) == words


def test_a_preview_spells_out_fifty_and_counts_the_rest(operator):
    made = previews.preview(previews.find_kind("restart"), [i.pk for i in many(52)], {}, operator)
    assert (len(made.lines), made.more_accepted) == (50, 2)
