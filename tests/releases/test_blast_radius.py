"""The blast radius: at the request, at the start, from whichever way one comes; and who may widen it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin import site
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import reverse

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations import engine, runner
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused, submit, submit_many
from apps.releases import driving
from apps.releases.choices import Life, RolloutState
from apps.releases.models import BlastPolicy, Hold, Release
from apps.releases.rules import approve_policy, set_policy
from tests.factories import as_system, make_cell, make_instance
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]


def limit(
    boss: User, count: int | None = None, percent: int | None = None, scope: str = "fleet", object_id: int = 0
) -> BlastPolicy:
    return set_policy(
        scope=scope, object_id=object_id, max_count=count, max_percent=percent, actor=boss, reason="as agreed"
    )


def restart(instances: list[Instance], boss: User, **more: object) -> tuple[int, int]:
    done = submit_many(
        kind="restart", target_ids=[i.pk for i in instances], params={}, actor=boss, reason="test", **more
    )
    return len(done.operations), len(done.refused)


def test_a_request_takes_as_many_as_there_is_room_for(fleet: Fleet, boss: User) -> None:
    instances = fleet(10)
    limit(boss, count=4)
    assert restart(instances, boss) == (4, 6)
    assert restart(instances[5:], boss)[0] == 0, "a second request sees the first"


def test_the_unhealthy_count_and_may_be_mended(fleet: Fleet, boss: User) -> None:
    instances = fleet(10)
    limit(boss, percent=30)
    Instance.objects.filter(pk__in=[i.pk for i in instances[:3]]).unrecorded_update(health="failing")
    with pytest.raises(Refused, match="Blast radius"):
        submit(kind="restart", target_id=instances[5].pk, actor=boss, reason="one more")
    assert restart(instances[:3], boss) == (3, 0)


def test_what_changes_nothing_is_not_asked(fleet: Fleet, boss: User) -> None:
    instances = fleet(3)
    limit(boss, count=1)
    done = submit_many(
        kind="diagnose", target_ids=[i.pk for i in instances], params={}, actor=boss, reason="look"
    )
    assert len(done.operations) == 3


def test_a_cell_and_an_account_have_limits_of_their_own(fleet: Fleet, boss: User, cell: Cell) -> None:
    instances = [*fleet(3), make_instance(cell=make_cell())]
    limit(boss, count=1, scope="cell", object_id=cell.pk)
    assert restart(instances, boss) == (2, 2)
    limit(boss, count=1, scope="account", object_id=instances[3].cell.region.account_id)
    assert restart(instances[3:], boss) == (1, 0), "it is changing already"


def test_at_the_start_health_is_looked_at_again(fleet: Fleet, boss: User) -> None:
    instances = fleet(10)
    limit(boss, count=2)
    assert restart(instances[:2], boss) == (2, 0)
    Instance.objects.filter(pk__in=[i.pk for i in instances[5:7]]).unrecorded_update(health="failing")
    runner.run_due()
    assert set(Operation.objects.values_list("state", flat=True)) == {State.FAILED}
    assert "Blast radius" in str(Operation.objects.first().error)


def test_of_two_workers_that_start_at_once_not_both_go_beyond(fleet: Fleet, boss: User) -> None:
    """Accepted under a wide limit, started under a narrow one: each claim is committed before it asks."""
    instances = fleet(4)
    limit(boss, count=4)
    assert restart(instances, boss) == (4, 0)
    limit(boss, count=2)
    mine = engine.claim(owner="one", limit=2)
    others = engine.claim(owner="two", limit=2)
    admitted = [*runner._admitted(mine), *runner._admitted(others)]
    assert len(admitted) <= 2


def test_a_rollout_keeps_within_and_comes_to_its_end(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(10)
    limit(boss, count=2)
    rollout = start(release, boss, canary="10")
    driving.advance_all()
    assert Operation.objects.filter(state=State.PENDING).count() == 2
    rollout.refresh_from_db()
    assert "Blast radius" in rollout.note
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert not Operation.objects.exclude(state=State.SUCCEEDED).exists()


def test_a_start_that_is_refused_is_asked_again_by_the_rollout(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(6)
    limit(boss, count=2)
    rollout = start(release, boss, canary="6", growth=1)
    driving.advance_all()
    bystanders = [
        i.pk for i in instances if i.pk not in set(Operation.objects.values_list("target_id", flat=True))
    ]
    Instance.objects.filter(pk__in=bystanders[:2]).unrecorded_update(health="failing")
    runner.run_due()
    assert Operation.objects.filter(state=State.FAILED).count() == 2
    Instance.objects.filter(pk__in=bystanders).unrecorded_update(health="well")
    assert run(rollout).state == RolloutState.SUCCEEDED, rollout.why


def test_lowering_counts_at_once_and_raising_takes_two(boss: User, second: User) -> None:
    policy = limit(boss, count=5)
    assert limit(boss, count=3).max_count == 3
    policy = limit(boss, count=50)
    assert (policy.max_count, policy.wanted_count) == (3, 50)
    with pytest.raises(PermissionDenied, match="alone"):
        approve_policy(policy, actor=boss)
    assert approve_policy(policy, actor=second).max_count == 50
    with pytest.raises(Refused):
        approve_policy(policy, actor=second)


def test_a_limit_that_goes_away_is_raised_too(boss: User) -> None:
    limit(boss, count=5, percent=10)
    policy = limit(boss, count=5)
    assert policy.max_percent == 10
    assert policy.wanted_by == boss


@pytest.mark.parametrize("life", [Life.DRAFT, Life.WITHDRAWN])
def test_a_version_that_is_not_out_is_deployed_by_no_way(fleet: Fleet, boss: User, life: str) -> None:
    instance = fleet(1)[0]
    make_release("9.9.9", life=life)
    with pytest.raises(Refused, match="cannot be deployed"):
        submit(
            kind="deploy", target_id=instance.pk, params={"version": "9.9.9"}, actor=boss, reason="by hand"
        )


def test_a_version_withdrawn_meanwhile_does_not_start(fleet: Fleet, boss: User) -> None:
    instance = fleet(1)[0]
    found = make_release("9.9.9")
    operation = submit(
        kind="deploy", target_id=instance.pk, params={"version": "9.9.9"}, actor=boss, reason="by hand"
    )
    found.life = Life.WITHDRAWN
    with as_system():
        found.save()
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == State.FAILED
    assert "withdrawn" in operation.error


def test_who_agrees_agrees_to_what_they_saw(boss: User, second: User, client: Client) -> None:
    limit(boss, count=5)
    limit(boss, count=10)
    client.force_login(second, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("releases:rules")).text
    assert '<input type="hidden" name="count" value="10">' in page
    seen = limit(boss, count=500)  # after the second person has read the page
    url = reverse("releases:approve_policy", args=[seen.pk])
    answer = client.post(url, {"count": "10", "percent": ""})
    assert (answer.status_code, "asks for something else by now" in answer.text) == (422, True)
    seen.refresh_from_db()
    assert (seen.max_count, seen.wanted_count) == (5, 500)
    for odd in ({}, {"count": "many"}, {"count": "500", "percent": "7"}):
        assert client.post(url, odd).status_code == 422
    assert client.post(url, {"count": "500", "percent": ""}).status_code == 302
    seen.refresh_from_db()
    assert seen.max_count == 500


def test_a_hold_has_no_second_way_past_two_people(boss: User) -> None:
    """In the admin it is shown: who overrides one does it in two, and the tenant is told."""
    shown, request = site._registry[Hold], RequestFactory().get("/")
    request.user = boss
    assert not shown.has_change_permission(request)
    assert not shown.has_delete_permission(request)
    assert not shown.has_add_permission(request)
