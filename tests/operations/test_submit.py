"""Accepting operations: what is checked, what is written, and that it is written once."""

import threading
from collections.abc import Callable

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test.utils import CaptureQueriesContext

from apps.access.models import User
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations import guard_rails, services
from apps.operations.choices import State
from apps.operations.models import ApprovalRule, Operation
from tests.factories import as_system, grant, make_cell, make_instance, make_user


def submit(instance: Instance, actor: User, **more: str) -> Operation:
    return services.submit(
        **{"kind": "restart", "target_id": instance.pk, "actor": actor, "reason": "it hangs", **more}
    )  # type: ignore[arg-type]


def test_it_writes_row_audit_entry_and_event(instance: Instance, operator: User) -> None:
    operation = submit(instance, operator)
    entry = AuditEntry.objects.get(object_id=operation.pk, content_type__model="operation")
    event = Event.objects.get(operation_id=operation.pk)
    assert operation.state == State.PENDING
    assert (entry.actor, entry.reason, entry.via) == (operator, "it hangs", "page")
    assert (event.actor, event.why, event.instance_id, event.cell_id) == (
        operator,
        "it hangs",
        instance.pk,
        instance.cell_id,
    )


@pytest.mark.django_db(transaction=True)
def test_it_nudges_after_the_commit(instance: Instance, operator: User, nudges: list[int]) -> None:
    submit(instance, operator)
    assert nudges == [1]


def test_the_same_key_gives_the_same_operation(instance: Instance, operator: User) -> None:
    first, second = (submit(instance, operator, idempotency_key="form-1") for _ in range(2))
    assert first.pk == second.pk
    assert Operation.objects.count() == 1
    assert AuditEntry.objects.filter(content_type__model="operation").count() == 1


def test_the_same_key_for_something_else_is_refused(instance: Instance, operator: User) -> None:
    submit(instance, operator, idempotency_key="form-1")
    with pytest.raises(services.Refused, match="used for another request"):
        submit(instance, operator, idempotency_key="form-1", kind="stop")


@pytest.mark.django_db(transaction=True)
def test_one_key_from_twenty_threads_is_one_operation(instance: Instance, operator: User) -> None:
    seen: list[int] = []
    start = threading.Barrier(20)

    def press() -> None:
        try:
            start.wait()
            seen.append(submit(instance, operator, idempotency_key="form-1").pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20
    assert len(set(seen)) == 1
    assert Operation.objects.count() == 1


@pytest.mark.parametrize("reason", ["", "  ", "x"])
def test_a_reason_is_needed(instance: Instance, operator: User, reason: str) -> None:
    with pytest.raises(services.Refused, match="Say why"):
        submit(instance, operator, reason=reason)
    assert not Operation.objects.exists()


def test_out_of_scope_it_does_not_exist(operator: User) -> None:
    with pytest.raises(Http404):
        submit(make_instance("elsewhere"), operator)


def test_who_only_sees_may_not(instance: Instance) -> None:
    viewer = make_user()
    grant(viewer, "viewer")
    with pytest.raises(PermissionDenied):
        submit(instance, viewer)
    assert not Operation.objects.exists()


def test_an_unknown_kind_is_named(instance: Instance, operator: User) -> None:
    with pytest.raises(services.Refused, match=r"no operation kind “explode”"):
        submit(instance, operator, kind="explode")


def test_bad_parameters_change_nothing(instance: Instance, operator: User) -> None:
    with pytest.raises(services.Refused, match="Choose the version"):
        services.submit(kind="deploy", target_id=instance.pk, params={}, actor=operator, reason="new one")
    assert not Operation.objects.exists()


def test_what_is_locked_is_not_changed(instance: Instance, operator: User) -> None:
    with as_system():
        Instance.objects.filter(pk=instance.pk).update(locked_reason="legal hold until May")
    with pytest.raises(services.Refused, match="legal hold until May"):
        submit(instance, operator)
    services.submit(kind="diagnose", target_id=instance.pk, actor=operator, reason="only looks")


def test_a_locked_cell_locks_its_instances(instance: Instance, operator: User, cell: Cell) -> None:
    with as_system():
        Cell.objects.filter(pk=cell.pk).update(locked_reason="migration")
    with pytest.raises(services.Refused, match="migration"):
        submit(instance, operator)


def test_a_guard_rail_of_an_upper_floor_is_asked(instance: Instance, operator: User) -> None:
    guard_rails.register("test", lambda request: {instance.pk: guard_rails.Objection("freeze")})
    try:
        with pytest.raises(services.Refused, match="freeze"):
            submit(instance, operator)
    finally:
        guard_rails.unregister("test")


def test_many_are_accepted_with_queries_that_do_not_grow(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    counts = []
    for number in (1, 2, 40):  # the first one fills Django's caches
        ids = [instance.pk for instance in instances(number)]
        with CaptureQueriesContext(connection) as queries:
            done = services.submit_many(
                kind="restart", target_ids=ids, params={}, actor=operator, reason="kernel fix"
            )
        assert len(done.operations) == number
        counts.append(len(queries))
    assert counts[1] == counts[2]


def test_of_many_those_out_of_scope_come_back_refused(instance: Instance, operator: User) -> None:
    other = make_instance("elsewhere", cell=make_cell("cell-2"))
    done = services.submit_many(
        kind="restart",
        target_ids=[instance.pk, other.pk, 10**9],
        params={},
        actor=operator,
        reason="kernel fix",
    )
    assert [operation.target_id for operation in done.operations] == [instance.pk]
    assert {refusal.target_id for refusal in done.refused} == {other.pk, 10**9}
    # Its name would tell that it exists.
    assert all("elsewhere" not in refusal.label + refusal.why for refusal in done.refused)


def test_a_bulk_request_sent_twice_is_one(instances: Callable[[int], list[Instance]], operator: User) -> None:
    ids = [instance.pk for instance in instances(5)]
    first, second = (
        services.submit_many(
            kind="restart",
            target_ids=ids,
            params={},
            actor=operator,
            reason="kernel fix",
            idempotency_key="bulk-1",
        )
        for _ in range(2)
    )
    assert second.is_repeat
    assert [o.pk for o in first.operations] == [o.pk for o in second.operations]
    assert Operation.objects.count() == 5


def test_the_plan_tells_what_would_be_waited_for(instance: Instance, operator: User) -> None:
    first = submit(instance, operator)
    plan = services.plan(kind="stop", target_ids=[instance.pk], params={}, actor=operator)
    assert plan.waits[instance.pk].pk == first.pk
    second = submit(instance, operator, kind="stop")
    waits_for = services.waits_for(second)
    assert waits_for is not None
    assert waits_for.pk == first.pk


class TestApproval:
    @pytest.fixture
    def waiting(self, instance: Instance, operator: User) -> Operation:
        with as_system():
            ApprovalRule.objects.create(kind="restart", min_targets=1, note="restarts need two people")
        return submit(instance, operator)

    @pytest.fixture
    def approver(self, cell: Cell) -> User:
        user = make_user("axel")
        grant(user, "admin", "cell", cell)
        return user

    def test_it_waits_for_somebody_else(self, waiting: Operation) -> None:
        assert waiting.state == State.AWAITING_APPROVAL
        assert waiting.approval_reason == "restarts need two people"

    def test_somebody_else_approves(self, waiting: Operation, approver: User) -> None:
        services.approve(waiting, actor=approver)
        waiting.refresh_from_db()
        assert (waiting.state, waiting.approved_by) == (State.PENDING, approver)
        entry = AuditEntry.objects.filter(
            object_id=waiting.pk, content_type__model="operation", action=1
        ).get()
        assert entry.actor == approver
        assert "approved_by" in entry.changes

    def test_nobody_approves_their_own(self, waiting: Operation, operator: User, cell: Cell) -> None:
        grant(operator, "admin", "cell", cell)
        with pytest.raises(PermissionDenied, match="their own"):
            services.approve(waiting, actor=operator)

    def test_approving_needs_the_permission(self, waiting: Operation, cell: Cell) -> None:
        colleague = make_user()
        grant(colleague, "operator", "cell", cell)
        with pytest.raises(PermissionDenied):
            services.approve(waiting, actor=colleague)

    def test_out_of_scope_there_is_nothing_to_approve(self, waiting: Operation) -> None:
        stranger = make_user()
        grant(stranger, "admin", "cell", make_cell("cell-9"))
        with pytest.raises(Http404):
            services.approve(waiting, actor=stranger)

    def test_twice_is_refused(self, waiting: Operation, approver: User) -> None:
        services.approve(waiting, actor=approver)
        with pytest.raises(services.Refused, match="does not wait"):
            services.approve(waiting, actor=approver)


class TestCancel:
    def test_what_waits_is_cancelled_at_once(self, instance: Instance, operator: User) -> None:
        operation = services.cancel(submit(instance, operator), actor=operator, reason="not needed")
        assert operation.state == State.CANCELLED
        assert operation.finished_at is not None

    def test_twice_is_refused(self, instance: Instance, operator: User) -> None:
        operation = services.cancel(submit(instance, operator), actor=operator, reason="not needed")
        with pytest.raises(services.Refused, match="ended already"):
            services.cancel(operation, actor=operator, reason="again")

    def test_who_could_not_ask_for_it_cannot_cancel_it(self, instance: Instance, operator: User) -> None:
        viewer = make_user()
        grant(viewer, "viewer")
        with pytest.raises(PermissionDenied):
            services.cancel(submit(instance, operator), actor=viewer, reason="no reason")
