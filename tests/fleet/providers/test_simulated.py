"""What the simulated provider promises beyond the contract: ordered faults, and effects counted once."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connection
from django.db.models import QuerySet

from apps.fleet.models import Instance, SimulatedEffect, SimulatedInstance
from apps.fleet.observing import assess
from apps.fleet.providers.base import ProviderError, Target
from apps.fleet.providers.simulated import SimulatedProvider

from .conftest import Stage, elsewhere


def order(target: Target, **faults: object) -> None:
    SimulatedInstance.objects.filter(pk=target.instance_id).update(**faults)


def effects(target: Target) -> list[tuple[str, str, int]]:
    rows = SimulatedEffect.objects.filter(instance_id=target.instance_id).order_by("id")
    return list(rows.values_list("kind", "version", "generation"))


@pytest.mark.django_db
class TestFaults:
    def test_slow_is_starting_for_its_seconds(self, simulated_stage: Stage) -> None:
        provider, target = simulated_stage.provider, simulated_stage.deployed()
        order(target, fault="slow", fault_value=0.3)
        provider.restart(target, generation=1)
        seen = provider.observe(target)
        assert (seen.state, seen.healthy, seen.generation) == ("starting", False, 2)
        assert simulated_stage.well(target).state == "running"

    def test_hang_takes_the_order_and_never_becomes_ready(self, simulated_stage: Stage) -> None:
        provider, target = simulated_stage.provider, simulated_stage.deployed()
        order(target, fault="hang")
        provider.apply(target, version="1.1.0")
        seen = provider.observe(target)
        assert (seen.state, seen.healthy, seen.version) == ("starting", False, "1.1.0")
        assert seen.detail == "ordered fault: hang"
        assert SimulatedInstance.objects.get(pk=target.instance_id).ready_at.year > 2100

    def test_unhealthy_runs_and_is_not_well(self, simulated_stage: Stage) -> None:
        target = simulated_stage.deployed()
        order(target, fault="unhealthy")
        seen = simulated_stage.provider.observe(target)
        assert (seen.state, seen.healthy, seen.detail) == ("running", False, "ordered fault: unhealthy")

    def test_a_version_that_crashes_is_down_until_another_is_applied(self, simulated_stage: Stage) -> None:
        provider, target = simulated_stage.provider, simulated_stage.deployed()
        order(target, crash_on_version="1.1.0")
        provider.apply(target, version="1.1.0")
        seen = provider.observe(target)
        assert (seen.state, seen.detail) == ("stopped", "crashes on version 1.1.0")
        provider.apply(target, version="1.1.0")
        provider.start(target)
        assert effects(target) == [("apply", "1.0.0", 1), ("apply", "1.1.0", 2)]
        provider.apply(target, version="1.0.0")
        assert simulated_stage.well(target).generation == 3

    def test_flaky_fails_before_the_effect_or_after_it(self, simulated_stage: Stage) -> None:
        provider, target = simulated_stage.provider, simulated_stage.deployed()
        order(target, fault="flaky", fault_value=1.0)
        moments = set()
        for _ in range(60):
            before = provider.observe(target).generation
            with pytest.raises(ProviderError, match="'flaky' struck") as failed:
                provider.restart(target, generation=before)
            assert failed.value.retryable
            happened = provider.observe(target).generation - before
            assert happened == ("after" in str(failed.value))
            moments.add(happened)
        assert moments == {0, 1}

    def test_flaky_is_as_probable_as_ordered(self, simulated_stage: Stage) -> None:
        provider = simulated_stage.provider
        targets = [simulated_stage.target(f"inst-{number}") for number in range(40)]
        provider.apply_many([(target, "1.0.0") for target in targets])
        ids = [target.instance_id for target in targets]
        SimulatedInstance.objects.filter(pk__in=ids).update(fault="flaky", fault_value=0.3)
        failed = sum(error is not None for _ in range(20) for error in provider.stop_many(targets).values())
        assert 150 < failed < 330  # 240 expected of 800; 7 standard deviations

    def test_it_serves_no_certificate_and_says_so(self, simulated_stage: Stage) -> None:
        with pytest.raises(ProviderError, match="there is no certificate") as refused:
            simulated_stage.provider.served_certificate(simulated_stage.deployed())
        assert not refused.value.retryable


@pytest.mark.django_db
class TestSetWise:
    def test_any_number_is_one_statement(
        self, simulated_stage: Stage, django_assert_num_queries: pytest.FixtureRequest
    ) -> None:
        provider = simulated_stage.provider
        targets = [simulated_stage.target(f"inst-{number}") for number in range(30)]
        with django_assert_num_queries(1):
            assert provider.apply_many([(target, "1.0.0") for target in targets]).keys() == {
                target.instance_id for target in targets
            }
        for call in (provider.stop_many, provider.start_many, provider.observe_many):
            with django_assert_num_queries(1):
                call(targets)
        with django_assert_num_queries(1):
            provider.restart_many([(target, 2) for target in targets])
        assert {seen.generation for seen in provider.observe_many(targets).values()} == {3}

    def test_one_named_twice_is_changed_once(self, simulated_stage: Stage) -> None:
        target = simulated_stage.target("inst-1")
        simulated_stage.provider.apply_many([(target, "1.0.0"), (target, "1.1.0")])
        assert effects(target) == [("apply", "1.0.0", 1)]


@pytest.mark.django_db
class TestWhatChanged:
    """`observe_changed` gives exactly the rows that the portal has written down otherwise."""

    def test_nothing_once_it_is_written_down_and_again_after_a_change(self, simulated_stage: Stage) -> None:
        provider = SimulatedProvider()
        still, moved = simulated_stage.target("inst-1"), simulated_stage.target("inst-2")
        provider.apply_many([(still, "1.0.0"), (moved, "1.0.0")])
        ours = {still.instance_id, moved.instance_id}
        assert ours <= provider.observe_changed(limit=100).keys()
        kept = {"version": "1.0.0", "generation": 1, "health": "well"}
        QuerySet(Instance).filter(pk__in=ours).update(**kept)
        assert not ours & provider.observe_changed(limit=100).keys()
        provider.stop(moved)
        seen = provider.observe_changed(limit=100)
        assert seen[moved.instance_id].state == "stopped"
        assert still.instance_id not in seen

    @pytest.mark.parametrize("fault", ["none", "slow", "hang", "unhealthy"])
    @pytest.mark.parametrize("wanted", ["running", "stopped"])
    @pytest.mark.parametrize("call", ["apply", "stop", "destroy"])
    def test_its_idea_of_health_is_that_of_the_portal(
        self, simulated_stage: Stage, fault: str, wanted: str, call: str
    ) -> None:
        provider, target = SimulatedProvider(), simulated_stage.deployed()
        order(target, fault=fault, fault_value=60)
        provider.apply(target, version="1.1.0")
        if call != "apply":
            getattr(provider, call)(target)
        seen = provider.observe(target)
        health = assess(seen, wanted=wanted).health
        kept = {"version": seen.version, "generation": seen.generation, "health": health, "wanted": wanted}
        QuerySet(Instance).filter(pk=target.instance_id).update(**kept)
        assert target.instance_id not in provider.observe_changed(limit=100)


@pytest.mark.django_db
class TestEffectsAreCountedOnce:
    def test_one_restart_of_twenty_at_once(self, committed: Stage) -> None:
        target = committed.target("inst-1")
        provider = committed.provider
        elsewhere(partial(provider.apply, target, version="1.0.0"))
        for generation in (1, 2, 3):
            elsewhere(*[partial(provider.restart, target, generation=generation)] * 20)
        kinds = effects(target)
        assert kinds == [("apply", "1.0.0", 1), *(("restart", "1.0.0", number) for number in (2, 3, 4))]
        assert SimulatedInstance.objects.get(pk=target.instance_id).effects == len(kinds)

    def test_first_deployments_at_once(self, committed: Stage) -> None:
        target = committed.target("inst-1")
        elsewhere(*[partial(committed.provider.apply, target, version="1.0.0")] * 20)
        assert effects(target) == [("apply", "1.0.0", 1)]

    def test_batches_that_meet_do_not_block_each_other_for_good(self, committed: Stage) -> None:
        targets = [committed.target(f"inst-{number}") for number in range(20)]
        provider = committed.provider
        elsewhere(lambda: provider.apply_many([(target, "1.0.0") for target in targets]))
        there = [(target, 1) for target in targets]
        back = list(reversed(there))
        elsewhere(*[partial(provider.restart_many, orders) for orders in (there, back) * 10])
        assert {len(effects(target)) for target in targets} == {2}

    def test_the_row_and_the_record_agree(self, committed: Stage) -> None:
        targets = [committed.target(f"inst-{number}") for number in range(5)]
        provider = committed.provider
        elsewhere(lambda: provider.apply_many([(target, "1.0.0") for target in targets]))
        elsewhere(*[partial(provider.stop_many, targets), partial(provider.start_many, targets)] * 8)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT s.effects = count(e.id) FROM fleet_simulatedinstance s JOIN fleet_simulatedeffect e"
                " USING (instance_id) WHERE instance_id = ANY(%s) GROUP BY s.instance_id, s.effects",
                [[target.instance_id for target in targets]],
            )
            assert cursor.fetchall() == [(True,)] * 5
