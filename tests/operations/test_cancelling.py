"""A cancel between two tries, and past a step that may have done its part; what the trail says of each."""

from collections.abc import Callable

from apps.access.models import User
from apps.audit.models import AuditEntry
from apps.fleet.models import Instance, SimulatedEffect, SimulatedInstance
from apps.operations import engine, runner, services
from apps.operations.choices import State
from apps.operations.kinds import Failed
from apps.operations.models import Operation


def test_one_that_waits_for_its_next_try_is_not_tried_again(instance: Instance, operator: User) -> None:
    operation = services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="it hangs")
    work = engine.claim(owner="a", limit=1)[0]
    engine.advance({work.id: (work, Failed("net"))})
    services.cancel(operation, actor=operator, reason="wrong one")
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == State.CANCELLED
    assert not SimulatedEffect.objects.exists()


def test_a_try_that_failed_may_have_changed_something_and_goes_back(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    one, other = instances(2)
    SimulatedInstance.objects.filter(pk=other.pk).update(version="1.1.0")
    operation = services.submit(
        kind="deploy", target_id=one.pk, params={"version": "1.1.0"}, actor=operator, reason="new one"
    )
    works = runner._round(engine.claim(owner="a", limit=1))
    [(work, _)] = runner._run_step(runner.find_kind("deploy"), False, 1, works)  # it took the order ...
    services.cancel(operation, actor=operator, reason="wrong one")
    left = engine.advance({work.id: (work, Failed("no answer in time"))})  # ... and its answer was lost
    engine.release([(work.id, work.fence) for work in left])
    runner.run_due()
    operation.refresh_from_db()
    one.refresh_from_db()
    assert operation.state == State.CANCELLED
    assert (one.version, one.wanted_version) == ("1.0.0", "1.0.0")


def test_each_change_is_recorded_with_the_reason_of_its_own_operation(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    for number, instance in enumerate(instances(3)):
        services.submit(kind="stop", target_id=instance.pk, actor=operator, reason=f"ticket {number}")
    runner.run_due()
    entries = AuditEntry.objects.filter(
        content_type__model="instance", changes__has_key="wanted", via="engine"
    )
    told = {entry.operation_id: entry.reason for entry in entries}
    assert told == dict(Operation.objects.values_list("pk", "reason"))
