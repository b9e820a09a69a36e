"""Rings: who is in which, what a plan makes of them, what a rollout keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.access.choices import ScopeKind
from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations.services import Refused
from apps.releases.choices import ReleaseKind, RolloutState, WaveState
from apps.releases.first_run import lay_out
from apps.releases.models import Release, Ring, RingMember, Rollout
from apps.releases.rings import put_in_ring, remove_ring, rings_of, save_ring, seats_in_words, seats_of
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.scheduling import newcomers, take_in_newcomers
from apps.releases.waves import MAX_WAVES, Candidate, amount, plan_waves
from tests.factories import grant, make_instance, make_plan, make_tenant, make_user, place
from tests.releases.conftest import make_release, run, start

WHY = "a test asks for it"


@pytest.fixture
def rings(boss: User) -> list[Ring]:
    """internal, early (rests an hour), everyone."""
    made = [("internal", 0), ("early", 3600), ("everyone", 0)]
    return [save_ring(Ring(name=name, rest_seconds=rest), actor=boss, reason=WHY) for name, rest in made]


def in_ring(ring: Ring, *instances: Instance) -> None:
    boss = User.objects.get(username="boss")
    for instance in instances:
        for placement in instance.placements.all():
            put_in_ring(ring, tenant=placement.tenant, actor=boss, reason=WHY)


def waves_of(rollout: Rollout) -> list[tuple[str, list[int]]]:
    return [
        (
            wave.ring,
            list(rollout.targets.filter(wave=wave.number).order_by("position").values_list("instance_id", flat=True)),
        )
        for wave in rollout.waves.all()
    ]  # fmt: skip


def prepared(release: Release, boss: User, **options: Any) -> Rollout:
    values = {"canary": "2", "growth": 2, "bake_seconds": 0, "concurrency": 50, **options}
    rollout = Rollout(release=release, reason=WHY, **values)
    prepare_rollout(rollout, actor=boss)
    return rollout


# --- Plans ----------------------------------------------------------------------------------------

seats = st.lists(
    st.tuples(st.integers(1, 5), st.frozensets(st.integers(0, 30), max_size=3), st.integers(0, 2)),
    max_size=80,
)
canaries = st.one_of(st.integers(1, 20).map(str), st.integers(1, 100).map(lambda n: f"{n}%"))


@given(seats, canaries, st.integers(1, 10))
def test_waves_never_mix_rings_keep_their_order_and_lose_nobody(
    found: list[tuple[int, frozenset[int], int]], canary: str, growth: int
) -> None:
    candidates = [Candidate(n, tenants, cell, ring) for n, (ring, tenants, cell) in enumerate(found)]
    waves = plan_waves(candidates, canary=canary, growth=growth)
    ring_of = {one.id: one.ring for one in candidates}
    rings_in_turn = [{ring_of[pk] for pk in wave} for wave in waves]
    assert all(len(rings) == 1 for rings in rings_in_turn)
    order = [rings.pop() for rings in rings_in_turn]
    assert order == sorted(order)
    assert sorted(pk for wave in waves for pk in wave) == list(range(len(found)))
    if waves:
        assert order[0] == min(ring_of.values())
        assert len(waves[0]) <= amount(canary, len(found))
    assert len(waves) <= MAX_WAVES + 3 * 5


def test_a_ring_that_ends_early_is_followed_by_a_wave_of_the_size_it_should_have_had() -> None:
    candidates = [Candidate(n, ring=1 if n < 2 else 2) for n in range(40)]
    waves = plan_waves(candidates, canary="5", growth=3)
    assert [len(wave) for wave in waves] == [2, 5, 15, 18]


# --- Who is where ----------------------------------------------------------------------------------


def test_a_tenants_own_entry_wins_over_its_plan_and_who_has_none_is_last(
    rings: list[Ring], boss: User
) -> None:
    gold = make_plan("Gold")
    own, by_plan, neither = make_tenant("own", plan=gold), make_tenant("by-plan", plan=gold), make_tenant("n")
    put_in_ring(rings[1], plan=gold, actor=boss, reason=WHY)
    put_in_ring(rings[0], tenant=own, actor=boss, reason=WHY)
    found = seats_of([own.pk, by_plan.pk, neither.pk])
    assert [found[t.pk].ring.name for t in (own, by_plan, neither)] == ["internal", "early", "everyone"]
    assert "by its plan, Gold" in found[by_plan.pk].why


def test_a_shared_instance_is_in_the_latest_ring_of_its_tenants(
    rings: list[Ring], boss: User, cell: Cell
) -> None:
    one, other = make_tenant("one"), make_tenant("other")
    put_in_ring(rings[0], tenant=one, actor=boss, reason=WHY)
    put_in_ring(rings[1], tenant=other, actor=boss, reason=WHY)
    assert rings_of({7: [one.pk, other.pk], 8: [one.pk]}, [7, 8, 9]) == {
        7: rings[1],
        8: rings[0],
        9: rings[2],
    }


def test_without_rings_everything_is_as_before(release: Release, boss: User, fleet: Any) -> None:
    fleet(3)
    assert [ring for ring, _ in waves_of(prepared(release, boss))] == ["", ""]


# --- Rollouts --------------------------------------------------------------------------------------


def test_earlier_rings_come_first_and_the_canary_is_drawn_from_the_first_that_has_targets(
    rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]]
) -> None:
    made = fleet(6)
    in_ring(rings[1], made[4], made[5])
    found = waves_of(prepared(release, boss, canary="1"))
    assert [ring for ring, _ in found] == ["early", "early", "everyone", "everyone"]
    assert {pk for ring, ids in found if ring == "early" for pk in ids} == {made[4].pk, made[5].pk}


def test_the_next_ring_begins_only_after_the_rest(
    rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]]
) -> None:
    made = fleet(3)
    in_ring(rings[1], made[0])
    rollout = run(start(release, boss, canary="5"))
    assert rollout.state == RolloutState.RUNNING
    assert "“everyone” begins" in rollout.note
    assert [wave.state for wave in rollout.waves.all()] == [WaveState.PASSED, WaveState.PLANNED]
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        rollout = run(rollout)
    assert rollout.state == RolloutState.SUCCEEDED
    assert rollout.note == ""


def test_the_rest_can_be_ended_by_hand(
    rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]]
) -> None:
    made = fleet(3)
    in_ring(rings[1], made[0])
    rollout = run(start(release, boss, canary="5"))
    steer(rollout, "end_rest", actor=boss, reason="all is well")
    assert run(rollout).state == RolloutState.SUCCEEDED
    with pytest.raises(Refused, match="No ring rests"):
        steer(rollout, "end_rest", actor=boss, reason="once more")


def test_a_security_release_does_not_wait(
    rings: list[Ring], boss: User, fleet: Callable[[int], list[Instance]]
) -> None:
    made = fleet(3)
    in_ring(rings[1], made[0])
    fix = make_release("2.0.1", kind=ReleaseKind.SECURITY)
    assert run(start(fix, boss, canary="5")).state == RolloutState.SUCCEEDED


def test_a_rollout_goes_no_further_than_it_was_told(
    rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]], cell: Cell
) -> None:
    made = fleet(4)
    in_ring(rings[0], made[0])
    in_ring(rings[1], made[1])
    rollout = prepared(release, boss, up_to_ring="early")
    assert {pk for _, ids in waves_of(rollout) for pk in ids} == {made[0].pk, made[1].pk}
    late, soon = make_instance("late", cell=cell), make_instance("soon", cell=cell)
    place(make_tenant("late"), late)
    place(make_tenant("soon"), soon)
    in_ring(rings[0], soon)
    assert list(newcomers(rollout, boss)) == [soon]
    take_in_newcomers(rollout, actor=boss, reason="it is new")
    assert waves_of(rollout)[-1] == ("internal", [soon.pk])
    with pytest.raises(Refused, match="no ring “nowhere”"):
        prepared(release, boss, up_to_ring="nowhere")


def test_to_change_rings_changes_no_rollout_that_is_under_way(
    rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]]
) -> None:
    made = fleet(4)
    in_ring(rings[0], made[0])
    rollout = prepared(release, boss)
    before = waves_of(rollout)
    in_ring(rings[0], made[3])
    rings[0].name, rings[0].position, rings[0].rest_seconds = "ours", 3, 999
    save_ring(rings[0], actor=boss, reason=WHY)
    assert waves_of(rollout) == before
    assert not rollout.waves.filter(rest_seconds__gt=0).exists()


# --- Changing them ---------------------------------------------------------------------------------


def test_a_ring_that_is_put_between_moves_the_others(rings: list[Ring], boss: User) -> None:
    save_ring(Ring(name="pilot", position=2), actor=boss, reason=WHY)
    assert list(Ring.objects.values_list("position", "name")) == [
        (1, "internal"), (2, "pilot"), (3, "early"), (4, "everyone"),
    ]  # fmt: skip


def test_a_ring_goes_only_when_nobody_is_named_in_it(rings: list[Ring], boss: User) -> None:
    tenant = make_tenant("acme")
    put_in_ring(rings[0], tenant=tenant, actor=boss, reason=WHY)
    with pytest.raises(Refused, match="put them in another first"):
        remove_ring(rings[0], actor=boss, reason=WHY)
    put_in_ring(rings[1], tenant=tenant, actor=boss, reason=WHY)
    assert RingMember.objects.get().ring == rings[1]
    remove_ring(rings[0], actor=boss, reason=WHY)
    assert list(Ring.objects.values_list("position", "name")) == [(1, "early"), (2, "everyone")]
    put_in_ring(None, tenant=tenant, actor=boss, reason=WHY)
    with pytest.raises(Refused, match="in no ring of its own"):
        put_in_ring(None, tenant=tenant, actor=boss, reason=WHY)


def test_only_who_manages_releases_everywhere_changes_them(rings: list[Ring], cell: Cell) -> None:
    operator = make_user("operator")
    grant(operator, "operator", ScopeKind.ACCOUNT, cell.region.account)
    with pytest.raises(Refused, match="on everything"):
        save_ring(Ring(name="mine"), actor=operator, reason=WHY)
    with pytest.raises(Refused, match="on everything"):
        put_in_ring(rings[0], tenant=make_tenant("acme"), actor=operator, reason=WHY)


def test_the_first_run_lays_rings_out_once(boss: User) -> None:
    lay_out(boss)
    rests = [("internal", 3_600), ("early", 86_400), ("everyone", 0)]
    assert list(Ring.objects.values_list("name", "rest_seconds")) == rests
    assert all(Ring.objects.values_list("lets_security_through", flat=True)), "a fix does not wait for them"
    lay_out(boss)
    assert Ring.objects.count() == 3


def test_a_tenants_page_tells_the_ring_that_rollouts_go_by(rings: list[Ring], boss: User) -> None:
    plan = make_plan("gold")
    own, by_plan = make_tenant("own", plan=plan), make_tenant("by-plan", plan=plan)
    neither = make_tenant("neither")
    put_in_ring(rings[1], plan=plan, actor=boss, reason=WHY)
    put_in_ring(rings[0], tenant=own, actor=boss, reason=WHY)
    ids = [own.pk, by_plan.pk, neither.pk]
    seats = {pk: (seat.ring.name, seat.why) for pk, seat in seats_of(ids).items()}
    assert seats_in_words(ids) == seats
    assert [seats[pk][0] for pk in ids] == ["internal", "early", "everyone"]


def test_without_rings_a_tenant_is_in_none(boss: User) -> None:
    ring, tenant = save_ring(Ring(name="only"), actor=boss, reason=WHY), make_tenant("acme")
    assert seats_in_words([tenant.pk])[tenant.pk][0] == "only"
    remove_ring(ring, actor=boss, reason=WHY)
    assert seats_in_words([tenant.pk]) == {}


# --- Pages -----------------------------------------------------------------------------------------


@pytest.fixture
def page(boss: User, client: Client) -> Client:
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_rings_are_seen_and_changed_on_their_page(page: Client, boss: User) -> None:
    tenant = make_tenant("acme", name="Acme")
    page.post(reverse("releases:save_ring"), {"name": "early", "rest_seconds": 60, "reason": WHY})
    page.post(reverse("releases:save_ring"), {"name": "all", "rest_seconds": 0, "reason": WHY})
    ring = Ring.objects.get(name="early")
    assert (ring.position, ring.rest_seconds) == (1, 60)
    page.post(reverse("releases:put_in_ring"), {"tenant": "acme", "ring": ring.pk, "reason": WHY})
    assert "Acme" in page.get(reverse("releases:rings")).text
    assert "ring early" in page.get(reverse("tenants:tenant", args=[tenant.pk])).text
    answer = page.post(reverse("releases:put_in_ring"), {"tenant": "nobody", "ring": ring.pk, "reason": WHY})
    assert answer.status_code == 422
    assert "no such tenant" in answer.text
    answer = page.post(reverse("releases:remove_ring", args=[ring.pk]), {"reason": WHY})
    assert (answer.status_code, "put them in another" in answer.text) == (422, True)


def test_a_prepared_rollout_shows_the_ring_of_each_wave(
    page: Client, rings: list[Ring], release: Release, fleet: Callable[[int], list[Instance]]
) -> None:
    in_ring(rings[1], fleet(2)[0])
    form = {
        "release": release.pk, "canary": "1", "growth": 2, "concurrency": 1, "bake_seconds": 0, "gate": "health",
        "min_requests": 1, "on_fail": "abort", "reason": WHY, "up_to_ring": "early",
    }  # fmt: skip
    answer = page.post(reverse("releases:new_rollout"), form, follow=True)
    assert "· ring early" in answer.text
    assert "up to ring early" in answer.text


def test_a_rollout_whose_last_ring_was_renamed_takes_nobody_in_and_says_why(
    page: Client, rings: list[Ring], release: Release, boss: User, fleet: Callable[[int], list[Instance]], cell: Cell
) -> None:  # fmt: skip
    in_ring(rings[0], fleet(2)[0])
    rollout = prepared(release, boss, up_to_ring="internal")
    url = reverse("releases:rollout", args=[rollout.pk])
    assert "renamed or taken away" not in page.get(url).text
    place(make_tenant("new"), make_instance("new", cell=cell))
    rings[0].name = "ours"
    save_ring(rings[0], actor=boss, reason=WHY)
    assert not newcomers(rollout, boss).exists()
    assert "up to ring “internal”, which was renamed or taken away" in page.get(url).text
    with pytest.raises(Refused, match="renamed or taken away"):
        take_in_newcomers(rollout, actor=boss, reason="it is new")
