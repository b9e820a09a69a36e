"""Each remedy of the library mends a real process: alert → policy → runbook → operation → result, as its page tells it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.alerts import certificates, health, processing, recovery
from apps.alerts.models import Alert, RecoveryDecision, RecoveryPolicy, Runbook, RunbookRun
from apps.alerts.runbooks import keeping, running
from apps.core.models import Event
from apps.fleet import probing
from apps.fleet.certificates import looking
from apps.fleet.models import Diagnostics, Instance, Placement
from apps.fleet.remedies import moving
from apps.operations import runner
from apps.operations.models import Operation
from apps.operations.services import submit
from tests.alerts.conftest import make_recovery, make_source
from tests.alerts.test_signals import firing, payload, post
from tests.factories import make_tenant, place
from tests.fleet.local import Local, local_fleet, wait_for


class Fleet:
    """A local fleet under alerting: `pass_time` is one round of everything that the clock does."""

    def __init__(self, local: Local, boss: User, settings: Any) -> None:
        self.local, self.boss, self.settings = local, boss, settings
        self.token = make_source(boss)[1]
        self.ahead = timedelta()
        keeping.take_over_library()

    def instance(self, name: str = "one", **fields: Any) -> Instance:
        made = self.local.instance(name, **fields)
        self.until(lambda: self.health(made) == "well")
        return made

    def health(self, instance: Instance) -> str:
        return Instance.objects.values_list("health", flat=True).get(pk=instance.pk)

    def policy(self, book: str = "", **fields: Any) -> RecoveryPolicy:
        """One that answers by a runbook of the repository, on its inputs' defaults; without a name by a restart."""
        if book:
            fields |= {"remedy": "runbook", "runbook": Runbook.objects.get(name=book)}
        return make_recovery(self.boss, **{"grace": 600, "cooldown": 0, **fields})

    def pass_time(self) -> None:
        probing.probe()
        looking.look()
        certificates.look()
        health.catch_up()
        processing.process_signals()
        recovery.see_results()
        recovery.decide()
        # A runbook that waits has waited: its clock goes ahead of the world's.
        if RunbookRun.objects.filter(
            state="running", steps__state="running", steps__operation_id=None
        ).exists():
            self.ahead += timedelta(seconds=4)
        running.advance(timezone.now() + self.ahead)
        runner.run_due()

    def until(self, wish: Callable[[], object]) -> None:
        def passed() -> object:
            self.pass_time()
            return wish()

        wait_for(passed, 30)

    def kill(self, instance: Instance) -> None:
        record = self.local.provider.root / "instances" / instance.name / "pid.json"
        os.kill(int(re.search(r'"pid": ?(\d+)', record.read_text())[1]), signal.SIGKILL)  # type: ignore[index]
        self.until(lambda: Alert.objects.filter(instance=instance, state="open").exists())

    def monitor(self, name: str, instance: Instance, status: str = "firing") -> None:
        """An Alertmanager says so, over HTTP."""
        answer = post(self.token, payload(firing(name, status, daytwo_instance=instance.name)))
        assert answer.status_code == 200

    def result(self) -> RecoveryDecision:
        """The one answer, once it is judged."""
        self.until(lambda: not RecoveryDecision.objects.filter(ended_at=None).exists())
        decision: RecoveryDecision = RecoveryDecision.objects.get(verdict="act")
        return decision

    def page(self, decision: RecoveryDecision) -> list[str]:
        """The cells of its line on the policy's page: decision, signal, action, result."""
        client = Client()
        client.force_login(self.boss)
        html = client.get(reverse("alerts:recovery", args=[decision.policy_id])).content.decode()
        line = re.search(rf'<tr id="decision-{decision.pk}">(.*?)</tr>', html, re.S)
        assert line is not None
        cells = re.findall(r"<td.*?>(.*?)</td>", line[1], re.S)
        words = [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells[:4]]
        return [re.sub(r"^\W+", "", text) for text in words]  # without a tag's sign

    def helped(self, *, signal: str, action: str) -> RecoveryDecision:
        """From signal to result, on the policy's page and on the incident's timeline."""
        decision = self.result()
        said = self.page(decision)
        assert (said[0], said[3]) == ("act", "helped"), (said, decision.result)
        assert signal in said[1] and said[2] == action
        told = Event.objects.filter(kind__startswith="incident.recover").order_by("id")
        assert [e.kind for e in told] == ["incident.recovery", "incident.recovered"]
        assert {o.actor.username for o in self.operations()} == {"system:recovery"}
        return decision

    def operations(self) -> list[Operation]:
        return list(Operation.objects.exclude(actor=self.boss).order_by("id"))

    def kinds(self) -> list[tuple[str, str]]:
        return [(o.kind, o.state) for o in self.operations()]


@pytest.fixture
def fleet(boss: User, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    settings.OPERATIONS_PROBE_SECONDS = 0.2
    settings.CERTIFICATES_LOOK_SECONDS = 0.2
    monkeypatch.setattr(moving, "DRAIN", 0.2)
    with local_fleet(tmp_path) as made:
        yield Fleet(made, boss, settings)


def generation(fleet: Fleet, one: Instance) -> int:
    return fleet.local.provider.observe(fleet.local.target(one)).generation


def test_restart(fleet: Fleet) -> None:
    one = fleet.instance()
    fleet.policy()
    fleet.kill(one)
    fleet.helped(signal="one fails", action="Restart succeeded")
    assert (fleet.kinds(), fleet.health(one)) == ([("restart", "succeeded")], "well")
    assert generation(fleet, one) == 2


def test_restart_and_see(fleet: Fleet) -> None:
    one = fleet.instance()
    fleet.policy("restart-and-see")
    fleet.kill(one)
    fleet.helped(signal="one fails", action="Runbook restart-and-see succeeded")
    assert fleet.kinds()[-1] == ("restart", "succeeded")
    steps = RunbookRun.objects.get().steps.order_by("number")
    # What a dead process says is nothing: to collect it fails, and the runbook goes on as it is written.
    assert [s.state for s in steps][1:] == ["done", "done", "done"]
    assert generation(fleet, one) == 2


def test_roll_back_the_last_change(fleet: Fleet) -> None:
    """The new version serves at first, and then crashes on each start."""
    one = fleet.instance()
    fleet.local.provider.install_version("1.1.0")
    submit(kind="deploy", target_id=one.pk, params={"version": "1.1.0"}, actor=fleet.boss, reason="new")
    runner.run_due()
    one.refresh_from_db()
    assert Operation.objects.get(kind="deploy").state == "succeeded"
    program = fleet.local.provider.root / "versions" / "1.1.0" / "app.py"
    program.chmod(0o644)
    program.write_text("import sys\nsys.exit('the disk is gone')\n")
    fleet.policy("take-back-the-last-change")
    fleet.kill(one)
    fleet.helped(signal="one fails", action="Runbook take-back-the-last-change succeeded")
    last = fleet.operations()[-1]
    assert (last.kind, last.params) == ("deploy", {"version": "1.0.0"})
    one.refresh_from_db()
    assert (one.version, one.health) == ("1.0.0", "well")


def test_rotate_the_certificate(fleet: Fleet) -> None:
    one = fleet.instance(days=0.9)
    before = fleet.local.served(one)
    fleet.policy("rotate-certificate", alert_name="CertificateEnds")
    fleet.helped(signal="ends within 1 day", action="Runbook rotate-certificate succeeded")
    after = fleet.local.served(one)
    assert fleet.kinds() == [("rotate_certificate", "succeeded")]
    assert after.fingerprint != before.fingerprint and after.not_after > timezone.now() + timedelta(days=80)
    assert generation(fleet, one) == 1, "nothing restarted"


def test_run_a_command(fleet: Fleet) -> None:
    one = fleet.instance()
    fleet.policy("run-a-command", alert_name="ErrorsSeen")
    fleet.monitor("ErrorsSeen", one)
    fleet.until(lambda: Diagnostics.objects.exists())
    fleet.monitor("ErrorsSeen", one, "resolved")
    fleet.helped(signal="ErrorsSeen is high", action="Runbook run-a-command succeeded")
    parts = Diagnostics.objects.get().parts
    assert (parts["command"], parts["exit"]) == ("errors last=50", "0")


def test_clear_the_disk(fleet: Fleet) -> None:
    one = fleet.instance()
    folder = fleet.local.provider.root / "instances" / one.name
    (folder / "log.1.jsonl").write_text('{"segment": 1}\n' + "x" * 3_000_000)
    fleet.policy("clear-disk", alert_name="DiskFills")
    fleet.monitor("DiskFills", one)
    fleet.until(lambda: fleet.local.provider.disk(fleet.local.target(one)).clearable == 0)
    fleet.monitor("DiskFills", one, "resolved")
    fleet.helped(signal="DiskFills is high", action="Runbook clear-disk succeeded")
    assert fleet.kinds() == [("diagnose", "succeeded"), ("clear_disk", "succeeded")]
    notes = fleet.operations()[1].notes
    assert notes["bytes_before"] - notes["bytes_after"] >= 3_000_000
    assert RunbookRun.objects.get().steps.get(number=3).state == "skipped", "it never failed"


def test_scale(fleet: Fleet) -> None:
    one = fleet.instance()
    target = fleet.local.target(one)
    assert fleet.local.provider.workers(target) == 16
    fleet.policy("scale", alert_name="RequestsWait")
    fleet.monitor("RequestsWait", one)
    fleet.until(lambda: fleet.local.provider.workers(target) == 32)
    fleet.monitor("RequestsWait", one, "resolved")
    fleet.helped(signal="RequestsWait is high", action="Runbook scale succeeded")
    assert (fleet.kinds(), generation(fleet, one)) == ([("scale", "succeeded")], 1)


def test_drain_and_move(fleet: Fleet) -> None:
    """An instance that is dead: its tenant is served by another, and it is stopped."""
    one, other = fleet.instance(), fleet.instance("other")
    tenant = make_tenant("acme")
    place(tenant, one)
    fleet.local.provider.place(fleet.local.target(one))
    fleet.policy("drain-and-move")
    fleet.kill(one)
    fleet.helped(signal="one fails", action="Runbook drain-and-move succeeded")
    assert fleet.kinds()[-1] == ("move", "succeeded")
    assert Placement.objects.get().instance == other
    assert fleet.local.provider.serves(fleet.local.target(other), [tenant.key]) == {tenant.key}
    one.refresh_from_db()
    assert (one.wanted, one.health) == ("stopped", "stopped")


def test_what_does_not_help_says_so_and_stops(fleet: Fleet) -> None:
    """It crashes on each start: two restarts fail, the breaker opens, and the page tells both results."""
    one = fleet.instance()
    program = fleet.local.provider.root / "versions" / "1.0.0" / "app.py"
    program.chmod(0o644)
    program.write_text("import sys\nsys.exit('the disk is gone')\n")
    policy = fleet.policy(breaker_after=2, tries=9)
    fleet.kill(one)
    fleet.until(lambda: RecoveryPolicy.objects.filter(pk=policy.pk, broken_at__isnull=False).exists())
    fleet.until(lambda: Alert.objects.filter(name=recovery.BREAKER, state="open").exists())
    tried = RecoveryDecision.objects.filter(verdict="act").order_by("id")
    assert [d.state for d in tried] == ["no_help", "no_help"]
    said = fleet.page(tried[0])
    assert said[2] == "Restart failed" and said[3].startswith("did not help failed")
    assert "the disk is gone" in said[3]
