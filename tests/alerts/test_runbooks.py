"""Runbooks: read with every complaint, kept in versions, run step by step as operations, by hand and by recovery."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.test import Client
from django.utils import timezone

from apps.access import hands
from apps.access.choices import HandKind
from apps.access.models import User
from apps.access.services import system_actor
from apps.alerts import approving, managing, recovery
from apps.alerts.models import RecoveryDecision, Runbook, RunbookRun, RunbookStep, RunbookVersion
from apps.alerts.runbooks import keeping, reading, running
from apps.alerts.services import Refused
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations import runner
from apps.operations.models import Operation
from tests.alerts.conftest import fail, make_recovery, mend, only_incident, recover
from tests.alerts.test_recovery import end, states
from tests.factories import grant, make_cell, make_instance, make_tenant, make_user, place

Many = Callable[[int], list[Instance]]

TEXT = """name: two-steps
title: Restart, and see
inputs:
  - {name: watch, label: Watch, type: integer, default: 5, min: 0, max: 60}
  - {name: deep, label: Look deep, type: boolean, default: false}
steps:
  - {title: Collect, do: diagnose, when: {input: {deep: true}}, on_failure: continue}
  - {title: Restart, do: restart}
  - {title: Watch, do: wait, seconds: $watch}
  - {title: See, do: check, health: [well], seconds: 10}
"""


@pytest.fixture
def book(boss: User) -> Runbook:
    return keeping.save(TEXT, note="first", actor=boss)


def start(book: Runbook, instance: Instance, actor: User, key: str = "k", **inputs: object) -> RunbookRun:
    return running.start(
        runbook=book, instance=instance, inputs=inputs, actor=actor, reason="it hangs", key=key
    )


def steps(run: RunbookRun) -> list[str]:
    return list(run.steps.order_by("number").values_list("state", flat=True))


class TestReading:
    def test_the_repositorys_own_are_good(self) -> None:
        found = [reading.read(path.read_text()) for path in keeping.LIBRARY.glob("*.yaml")]
        assert len(found) >= 5
        for one in found:
            assert all(step.words for step in one.steps)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (("name: two-steps", "name: Two Steps"), "small letters"),
            (("do: restart", "do: explode"), "must be one of"),
            (("seconds: $watch", "seconds: $nothing"), "no input nothing"),
            (("seconds: $watch", "seconds: 99999"), "whole number up to"),
            (("type: integer", "type: float"), "must be one of text"),
            (("default: 5", "default: 99"), "between 0 and 60"),
            (("health: [well]", "health: [happy]"), "must be of"),
            (("on_failure: continue", "on_failure: pray"), "stop or continue"),
            (("title: Restart, and see", "titel: x"), "not known"),
            (("steps:", "stages:"), "“stages” is not known"),
            (("do: restart}", "do: restart, with: {colour: red}}"), "no parameters"),
            (("do: restart}", "do: deploy}"), "version"),
            (("name: two-steps", "name: &a two-steps\nabout: *a"), "aliases"),
            (("name: two-steps", "name: [two"), "no YAML"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, change: tuple[str, str], complaint: str) -> None:
        with pytest.raises(reading.Malformed, match=complaint):
            reading.read(TEXT.replace(*change))

    @pytest.mark.parametrize(
        "text", ["", "[]", "just words", "a" * 30_000, "!!python/object/apply:os.system [ls]"]
    )
    def test_what_is_no_runbook_is_told(self, text: str) -> None:
        with pytest.raises(reading.Malformed):
            reading.read(text)

    def test_all_complaints_come_at_once(self) -> None:
        with pytest.raises(reading.Malformed) as caught:
            reading.read(TEXT.replace("do: restart", "do: x").replace("name: two-steps", "name: A"))
        assert len(caught.value.complaints) == 2

    def test_inputs_are_checked_by_their_types(self) -> None:
        definition = reading.read(TEXT)
        assert definition.clean({}) == {"watch": 5, "deep": False}
        assert definition.clean({"watch": "7", "deep": "on"}) == {"watch": 7, "deep": True}
        for bad in ({"watch": "many"}, {"watch": 61}, {"deep": "perhaps"}, {"else": 1}):
            with pytest.raises(reading.Malformed):
                definition.clean(bad)

    def test_how_long_a_step_takes_is_a_number_whatever_the_inputs_type(
        self, boss: User, instances: Many
    ) -> None:
        """Else a run would begin that nothing could end."""
        text = TEXT.replace("type: integer, default: 5, min: 0, max: 60", "type: text, default: soon")
        definition = reading.read(text)
        for given in ({}, {"watch": "-5"}, {"watch": "1e3"}, {"watch": "²"}):
            with pytest.raises(reading.Malformed, match="how long “Watch” takes"):
                definition.clean(given)
        assert definition.clean({"watch": "5"})["watch"] == "5"
        book = keeping.save(text, note="x", actor=boss)
        with pytest.raises(reading.Malformed):
            start(book, instances(1)[0], boss)
        with pytest.raises(ValidationError):
            make_recovery(boss, remedy="runbook", runbook=book)
        assert not RunbookRun.objects.exists()

    def test_limits_between_which_nothing_lies(self) -> None:
        with pytest.raises(reading.Malformed, match="nothing would fit"):
            reading.read(TEXT.replace("min: 0, max: 60", "min: 60, max: 0"))


class TestKeeping:
    def test_each_change_is_a_version_and_the_same_text_none(self, boss: User, book: Runbook) -> None:
        changed = TEXT.replace("Restart, and see", "Restart, and look")
        keeping.save(changed, note="better words", actor=boss, runbook=book)
        keeping.save(changed, note="again", actor=boss, runbook=book)
        assert list(book.versions.values_list("number", flat=True)) == [2, 1]
        book.refresh_from_db()
        assert book.title == "Restart, and look"

    def test_a_name_is_taken_once_and_stays(self, boss: User, book: Runbook) -> None:
        with pytest.raises(Refused, match="already"):
            keeping.save(TEXT, note="", actor=boss)
        with pytest.raises(Refused, match="stays"):
            keeping.save(TEXT.replace("two-steps", "three-steps"), note="", actor=boss, runbook=book)

    def test_it_takes_managing_alerts_on_everything(self, olga: User) -> None:
        with pytest.raises(PermissionDenied):
            keeping.save(TEXT, note="", actor=olga)

    def test_the_library_is_taken_over_once_and_leaves_what_people_changed(self, boss: User) -> None:
        made = keeping.take_over_library()
        assert made == Runbook.objects.count() >= 5
        assert keeping.take_over_library() == 0
        book = Runbook.objects.get(name="rotate-certificate")
        mine = book.versions.get().text.replace("Nothing restarts.", "We like it.")
        keeping.save(mine, note="ours", actor=boss, runbook=book)
        assert keeping.take_over_library() == 0
        assert RunbookVersion.objects.filter(runbook=book).count() == 2


class TestRunning:
    def test_an_edit_meanwhile_changes_no_run_that_goes_on(
        self, book: Runbook, boss: User, instances: Many
    ) -> None:
        """It keeps the version it began with; the next run has the new one."""
        one, two = instances(2)
        first = start(book, one, boss, "a")
        running.advance()
        changed = TEXT.replace("do: restart", "do: diagnose", 1)
        assert changed != TEXT
        keeping.save(changed, note="not so hard", actor=boss, runbook=book)
        second = start(book, two, boss, "b")
        for _ in range(3):
            runner.run_due()
            running.advance()
        assert (first.version.number, second.version.number) == (1, 2)
        kinds = Operation.objects.order_by("id").values_list("target_id", "kind")
        assert dict(kinds)[one.pk] == "restart" and dict(kinds)[two.pk] == "diagnose"
        assert first.steps.count() == len(running.definition_of(first.version).steps)

    def test_step_by_step_as_operations(self, book: Runbook, olga: User, instances: Many) -> None:
        (one,) = instances(1)
        run = start(book, one, olga, watch=3)
        assert running.advance() == 1
        assert steps(run) == ["skipped", "running", "waiting", "waiting"]
        operation = Operation.objects.get()
        assert (operation.kind, operation.actor, operation.target_id) == ("restart", olga, one.pk)
        assert running.advance() == 0
        end()
        running.advance()
        assert steps(run)[1:3] == ["done", "running"]
        running.advance(timezone.now() + timedelta(seconds=4))
        run.refresh_from_db()
        assert (run.state, steps(run)) == ("succeeded", ["skipped", "done", "done", "done"])
        told = Event.objects.filter(kind__startswith="runbook.", instance_id=one.pk).values_list(
            "kind", flat=True
        )
        assert set(told) == {"runbook.started", "runbook.succeeded"}

    def test_a_failed_step_ends_it_or_not_as_written(
        self, book: Runbook, olga: User, instances: Many
    ) -> None:
        (one,) = instances(1)
        run = start(book, one, olga, deep=True)
        running.advance()
        assert Operation.objects.get().kind == "diagnose"
        end("failed")
        running.advance()
        assert steps(run)[:2] == ["failed", "running"]
        end("failed")
        running.advance()
        run.refresh_from_db()
        assert run.state == "failed"
        assert "it crashes" in run.error
        assert steps(run) == ["failed", "failed", "waiting", "waiting"]

    def test_a_check_that_does_not_come_true_fails(self, book: Runbook, olga: User, instances: Many) -> None:
        (one,) = instances(1)
        run = start(book, one, olga, watch=0)
        running.advance()
        end()
        fail(one)
        running.advance()
        running.advance(timezone.now() + timedelta(seconds=11))
        run.refresh_from_db()
        assert run.state == "failed"
        assert "failing" in run.error

    def test_a_worker_that_dies_between_step_and_operation_asks_once(
        self, book: Runbook, olga: User, instances: Many
    ) -> None:
        run = start(book, instances(1)[0], olga)
        running.advance()
        RunbookStep.objects.filter(run=run, number=2).update(operation_id=None)
        running.advance()
        assert Operation.objects.count() == 1
        assert RunbookStep.objects.get(run=run, number=2).operation_id == Operation.objects.get().pk

    def test_twice_is_once_and_one_at_a_time(self, book: Runbook, olga: User, instances: Many) -> None:
        one, two = instances(2)
        run = start(book, one, olga, "a")
        assert start(book, one, olga, "a") == run
        with pytest.raises(Refused, match="already"):
            start(book, one, olga, "b")
        start(book, two, olga, "c")

    def test_who_may_not_do_its_steps_may_not_run_it(
        self, book: Runbook, cell: Cell, instances: Many
    ) -> None:
        (one,) = instances(1)
        viewer, stranger = make_user("vera"), make_user("stefan")
        grant(viewer, "viewer", "account", cell.region.account)
        grant(stranger, "operator", "account", make_cell("far").region.account)
        with pytest.raises(PermissionDenied):
            start(book, one, viewer)
        with pytest.raises(Http404):
            start(book, one, stranger)
        assert not RunbookRun.objects.exists()

    def test_a_right_that_is_taken_meanwhile_stops_it(
        self, book: Runbook, olga: User, instances: Many
    ) -> None:
        from apps.access.models import Grant
        from apps.access.services import take_grant

        run = start(book, instances(1)[0], olga)
        take_grant(Grant.objects.get(user=olga), actor=system_actor("command"), reason="left")
        running.advance()
        run.refresh_from_db()
        assert run.state == "failed"
        assert "refused" in run.error
        assert not Operation.objects.exists()

    def test_cancel(self, book: Runbook, olga: User, instances: Many) -> None:
        run = start(book, instances(1)[0], olga)
        running.advance()
        running.cancel(run, actor=olga)
        end()
        running.advance()
        assert steps(run)[2:] == ["waiting", "waiting"]
        with pytest.raises(Refused):
            running.cancel(run, actor=olga)


class TestByRecovery:
    def test_a_policy_names_a_runbook(self, boss: User, book: Runbook, instances: Many) -> None:
        make_recovery(boss, remedy="runbook", runbook=book)
        (one,) = instances(1)
        fail(one)
        assert recover() == 1
        run = RunbookRun.objects.get()
        assert (run.actor.username, run.instance) == ("system:recovery", one)
        running.advance()
        assert Operation.objects.get().actor.username == "system:recovery"
        end()
        mend(one)
        running.advance()
        running.advance(timezone.now() + timedelta(seconds=6))
        recovery.see_results()
        assert states() == ["helped"]

    def test_a_run_that_fails_did_not_help(self, boss: User, book: Runbook, instances: Many) -> None:
        make_recovery(boss, remedy="runbook", runbook=book, breaker_after=1)
        fail(instances(1)[0])
        recover()
        running.advance()
        end("failed")
        running.advance()
        recovery.see_results()
        assert states() == ["no_help"]

    def test_a_runbook_that_asks_cannot_run_by_itself(self, boss: User) -> None:
        from django.core.exceptions import ValidationError

        text = TEXT.replace("default: 5, min: 0, max: 60", "required: true")
        book = keeping.save(text, note="", actor=boss)
        with pytest.raises(ValidationError, match="by itself"):
            make_recovery(boss, remedy="runbook", runbook=book)


class TestApproval:
    def shared(self, cell: Cell, tenants: int) -> Instance:
        shared = make_instance(cell=cell, kind="shared")
        for _ in range(tenants):
            place(make_tenant(), shared)
        return shared

    def test_above_a_size_it_waits_for_somebody(self, boss: User, cell: Cell, olga: User) -> None:
        make_recovery(boss, max_affected=2)
        small, large = self.shared(cell, 2), self.shared(cell, 3)
        fail([small, large])
        assert recover() == 1
        assert Operation.objects.get().target_id == small.pk
        waits = RecoveryDecision.objects.get(state="waiting")
        assert recover() == 0, "it waits, and is not decided anew"
        with pytest.raises(PermissionDenied):
            approving.decide(waits, yes=True, actor=olga)
        other = make_user("other", superuser=True)
        approving.decide(waits, yes=True, actor=other)
        with pytest.raises(Refused):
            approving.decide(waits, yes=True, actor=other)
        assert recover() == 1
        assert Operation.objects.filter(target_id=large.pk).count() == 1

    def test_who_set_the_policy_is_the_first_person(self, boss: User, cell: Cell) -> None:
        policy = make_recovery(boss, max_affected=0)
        fail(self.shared(cell, 1))
        recover()
        waits = RecoveryDecision.objects.get()
        other, second = make_user("other", superuser=True), make_user("boss2", superuser=True)
        managing.switch_recovery(policy, on=True, actor=other)  # which says nothing of what it does
        hands.note(by=boss, how=HandKind.MADE, words="boss made the account of boss2", people=[second.pk])
        with pytest.raises(PermissionDenied, match="You set this recovery policy"):
            approving.decide(waits, yes=True, actor=boss)
        with pytest.raises(PermissionDenied, match="boss made the account"):
            approving.decide(waits, yes=True, actor=second)
        assert states() == ["waiting"]
        approving.decide(waits, yes=True, actor=other)

    def test_declined_or_needless_it_is_not_done(self, boss: User, cell: Cell) -> None:
        make_recovery(boss, max_affected=0)
        one, two = self.shared(cell, 1), self.shared(cell, 1)
        fail([one, two])
        recover()
        approving.decide(RecoveryDecision.objects.get(instance=one), yes=False, actor=boss)
        mend(two)
        recovery.see_results()
        assert set(states()) == {"closed"}
        assert not Operation.objects.exists()

    def test_by_the_page(self, boss: User, cell: Cell) -> None:
        make_recovery(boss, max_affected=0)
        fail(self.shared(cell, 1))
        recover()
        client = Client()
        client.force_login(
            make_user("other", superuser=True), backend="django.contrib.auth.backends.ModelBackend"
        )
        page = client.get(f"/alerts/incidents/{only_incident().pk}/").content.decode()
        assert "waits for approval" in page
        assert "Approve" in page
        pk = RecoveryDecision.objects.get().pk
        assert client.post(f"/alerts/recovery/decisions/{pk}/approve/", {"yes": "1"}).status_code == 302
        assert RecoveryDecision.objects.get().state == "decided"
        assert client.post(f"/alerts/recovery/decisions/{pk}/approve/", {"yes": "1"}).status_code == 422


class TestPages:
    def client(self, user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def test_written_found_run_and_seen(self, boss: User, instances: Many) -> None:
        client, (one,) = self.client(boss), instances(1)
        sent = {"text": TEXT.replace("\n", "\r\n"), "note": "first"}
        assert client.post("/alerts/runbooks/new/", sent).status_code == 302
        book = Runbook.objects.get()
        again = client.post(f"/alerts/runbooks/{book.pk}/edit/", sent)
        assert again.status_code == 302
        assert book.versions.count() == 1, "line ends are no change"
        assert "Restart, and see" in client.get("/alerts/runbooks/?q=restart+two").content.decode()
        assert "Restart, and see" not in client.get("/alerts/runbooks/?q=restart+nothing").content.decode()
        page = client.get(f"/alerts/runbooks/{book.pk}/?instance={one.name}").content.decode()
        assert f'value="{one.name}"' in page
        data = {"instance": one.name, "in_watch": "2", "reason": "it hangs", "key": "abc"}
        assert client.post(f"/alerts/runbooks/{book.pk}/run/", {**data, "in_watch": "99"}).status_code == 422
        assert client.post(f"/alerts/runbooks/{book.pk}/run/", {**data, "instance": "no"}).status_code == 422
        for _ in range(2):
            assert client.post(f"/alerts/runbooks/{book.pk}/run/", data).status_code == 302
        run = RunbookRun.objects.get()
        assert run.inputs == {"watch": 2, "deep": False}
        running.advance()
        page = client.get(f"/alerts/runbooks/runs/{run.pk}/").content.decode()
        assert "only when deep is yes" in page
        assert "operation" in page

    def test_a_definition_is_shown_as_text(self, boss: User) -> None:
        book = keeping.save(TEXT.replace("Watch,", '"<script>alert(1)</script>",'), note="", actor=boss)
        page = self.client(boss).get(f"/alerts/runbooks/{book.pk}/").content.decode()
        assert "<script>alert(1)" not in page
