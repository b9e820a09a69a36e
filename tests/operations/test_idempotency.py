"""The same key again: the same answer for the same request, a refusal for another one."""

from collections.abc import Callable

import pytest

from apps.access.models import User
from apps.fleet.models import Instance
from apps.operations import services
from apps.operations.models import Operation
from apps.operations.services import Refused, Submission
from tests.factories import as_system


def many(targets: list[Instance], actor: User, *, kind: str = "deploy", version: str = "1.0.0") -> Submission:
    return services.submit_many(
        kind=kind,
        target_ids=[one.pk for one in targets],
        params={"version": version} if kind == "deploy" else {},
        actor=actor,
        reason="new one",
        idempotency_key="k",
    )


def lock(targets: list[Instance]) -> None:
    with as_system():
        Instance.objects.filter(pk__in=[one.pk for one in targets]).update(locked_reason="legal hold")


def test_another_version_under_a_batchs_key_is_refused(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    targets = instances(2)
    many(targets, operator, version="1.0.0")
    with pytest.raises(Refused, match="another request"):
        many(targets, operator, version="1.0.1")
    assert Operation.objects.count() == 2


def test_other_targets_under_a_batchs_key_are_refused(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    targets = instances(3)
    many(targets[:2], operator)
    with pytest.raises(Refused, match="another request"):
        many(targets, operator)
    assert Operation.objects.count() == 2


def test_a_batch_is_repeated_though_all_was_locked_since(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    targets = instances(2)
    first = many(targets, operator)
    lock(targets)
    again = many(targets, operator)
    assert (again.is_repeat, again.batch, again.operations) == (True, first.batch, first.operations)


def test_one_operation_is_repeated_though_its_target_was_locked_since(
    instance: Instance, operator: User
) -> None:
    def ask() -> Operation:
        return services.submit(
            kind="restart", target_id=instance.pk, actor=operator, reason="it hangs", idempotency_key="k"
        )

    first = ask()
    lock([instance])
    assert ask() == first


def test_a_batch_does_not_take_in_what_was_asked_for_alone(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    targets = instances(2)
    services.submit(
        kind="restart", target_id=targets[0].pk, actor=operator, reason="it hangs", idempotency_key="k"
    )
    with pytest.raises(Refused, match="another request"):
        many(targets, operator, kind="restart")
    assert Operation.objects.count() == 1
