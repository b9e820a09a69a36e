"""A small world with two accounts, and people who may see the one, the other, or all."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from apps.access import asking, breaking, pre_approvals, reviewing, sso, tokens
from apps.access.choices import ScopeKind
from apps.access.models import Grant, User
from apps.alerts import managing, overriding
from apps.alerts.models import (
    Alert,
    AlertRule,
    Channel,
    EscalationPolicy,
    EscalationStep,
    Heartbeat,
    Incident,
    OnCallSchedule,
    RecoveryDecision,
    RecoveryPolicy,
    RunbookSchedule,
    Silence,
    TelemetrySource,
)
from apps.alerts.models import (
    CustomerNotice as IncidentNotice,
)
from apps.alerts.rules import keeping as rules_keeping
from apps.alerts.runbooks import keeping, running, scheduling
from apps.alerts.telemetry import keeping as telemetry_keeping
from apps.audit import sealing
from apps.audit.models import AuditEntry
from apps.core.models import SavedView
from apps.cost.models import Bill, Rate, Rule, RuleSet
from apps.fleet.certificates import issuers, renewing
from apps.fleet.models import CertificateIssuer, Diagnostics, RenewalPolicy
from apps.operations.models import ApprovalRule, ApprovalRuleChange, Schedule
from apps.operations.rules import says
from apps.operations.services import submit, submit_many
from apps.releases.models import (
    Advisory,
    BlastPolicy,
    ClockStep,
    CustomerNotice,
    Freeze,
    Hold,
    HotPatch,
    Release,
    Ring,
    Rollout,
    RolloutTarget,
    Wave,
    Window,
)
from tests import factories

RUNBOOK = "name: one-step\ntitle: Restart it\nsteps:\n  - {do: restart}\n"
#: In the order in which they knock: who may not comes before who may, so that nothing was changed before.
ROLES = ("anonymous", "viewer_out", "operator_out", "viewer_in", "support", "operator_in", "admin")


class World:
    """Everything that an address can name lies in the account `here`; `out` looks after the account `there`."""

    def __init__(self) -> None:
        here, there = factories.make_account("here"), factories.make_account("there")
        self.cell = factories.make_cell("cell-here", account=here)
        self.instance = factories.make_instance("instance-here", cell=self.cell)
        self.tenant = factories.make_tenant("tenant-here")
        factories.place(self.tenant, self.instance)
        self.patched = factories.make_tenant("tenant-here-patched")
        factories.place(self.patched, factories.make_instance("instance-here-patched", cell=self.cell))
        factories.place(
            factories.make_tenant("t-there"), factories.make_instance(cell=factories.make_cell(account=there))
        )
        self.root = factories.make_user("root", superuser=True)
        self.people = {role: factories.make_user(role) for role in ROLES if role != "anonymous"}
        for name, account in (("in", here), ("out", there)):
            factories.grant(self.people[f"viewer_{name}"], "viewer", ScopeKind.ACCOUNT, account)
            factories.grant(self.people[f"operator_{name}"], "operator", ScopeKind.ACCOUNT, account)
        for role in ("support", "admin"):
            factories.grant(self.people[role], role)
        asked: dict[str, Any] = {
            "kind": "restart",
            "actor": self.root,
            "reason": "made by the test",
            "params": {},
        }
        self.operation = submit(target_id=self.instance.pk, **asked)
        batch = submit_many(target_ids=[self.instance.pk], **asked).batch
        assert batch is not None
        self.batch = batch
        with factories.as_system():
            rule = ApprovalRule.objects.create(kind="stop", note="two people")
        self.awaiting = submit(target_id=self.instance.pk, **{**asked, "kind": "stop"})
        awaiting_batch = submit_many(target_ids=[self.instance.pk], **{**asked, "kind": "stop"}).batch
        assert awaiting_batch is not None
        self.awaiting_batch = awaiting_batch
        with factories.as_system():
            rule.delete()
            self.approval_rule = ApprovalRule.objects.create(kind="stop", min_targets=1000, note="two people")
            self.rule_change = ApprovalRuleChange.objects.create(
                rule_ref=self.approval_rule.pk, label="stop from 1000", wanted={"is_enabled": False},
                seen=says(self.approval_rule), proposed_by=self.root, reason="x y z",
            )  # fmt: skip
        with factories.as_system():
            self.schedule = Schedule.objects.create(
                name="nightly",
                kind="restart",
                target_id=self.instance.pk,
                cron="0 3 * * *",
                owner=self.root,
                reason="x y z",
            )
            self.diagnostics = Diagnostics.objects.create(
                instance=self.instance, operation_id=self.operation.pk, parts={"logs": "line"}, size=4
            )
            self.bill = Bill.objects.create(
                name="bill.csv", digest="0" * 64, state="refused", received_by=self.root
            )
            ruleset = RuleSet.objects.create(version=2)
            self.rate = Rate.objects.create(currency="USD", into="EUR", day=date(2020, 1, 1), rate=1)
            self.rule = Rule.objects.create(ruleset=ruleset, position=1, kind="tag", tag="tenant")
            self.saved_view = SavedView.objects.create(owner=self.root, page="fleet:instances", name="mine")
            self._releases(here, there)
        self._alerts()
        self.grant = Grant.objects.filter(user=self.people["viewer_in"]).get()
        self.grant = Grant.objects.filter(user=self.people["viewer_in"], until__isnull=True).get()
        self.spare_role = factories.make_role("spare", ["view"])
        with factories.as_system():
            self.group = Group.objects.create(name="team")
            self.people["viewer_in"].groups.add(self.group)
        asking_for = {"person": self.people["viewer_in"], "minutes": 60, "reason": "for a while"}
        self.asked = asking.ask(
            role=factories.make_role("support"), kind="tenant", name="tenant-here", **asking_for
        )
        # Who may comes last when they knock, so what only its owner may touch is the last one's.
        asking_for["person"] = self.people["admin"]
        self.own_asked = asking.ask(
            role=factories.make_role("viewer"), kind="tenant", name="tenant-here", **asking_for
        )
        granted = asking.ask(
            role=factories.make_role("extra", ["view"]), kind="tenant", name="tenant-here", **asking_for
        )
        self.granted = asking.decide(granted, actor=self.root, yes=True, words="")
        self.standing = pre_approvals.make(
            actor=self.root, group=self.group, role=factories.make_role("operator"), kind="tenant", name="tenant-here",
            max_minutes=60, reason="on call",
        )  # fmt: skip
        self.sso_group = sso.map_group(
            claim="team", group=self.group, actor=self.root, reason="the same people"
        )
        self.review = reviewing.start(name="Q4", actor=self.root, reason="as each quarter")
        self.review_item = self.review.items.get(grant_ref=self.grant.pk)
        responder = factories.make_user("responder")
        factories.grant(responder, "on-call")
        self.glass = breaking.break_glass(
            person=responder, role=factories.make_role("operator"), kind="account", name="here", minutes=60,
            reason="everything is down",
        )  # fmt: skip
        self.token, _ = tokens.issue(owner=self.people["admin"], name="ci", permissions=["view"], days=7)
        self.session = UserSession.objects.create(
            user=self.root, ip="127.0.0.1", session_key="another", user_agent="x"
        )
        self.audit_entry = AuditEntry.objects.latest("pk")
        self.seal = sealing.seal()[-1]

    def _releases(self, here: Any, there: Any) -> None:
        """A draft, a prepared rollout of another release to the instance here, and the rules there are."""
        at, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
        self.release = Release.objects.create(version="9.0.0")
        self.released = Release.objects.create(version="8.0.0", life="released")
        self.other_release = Release.objects.create(version="8.0.1", life="released")
        self.rollout = Rollout.objects.create(release=self.released, reason="made by the test")
        Wave.objects.create(rollout=self.rollout, number=1, size=1)
        self.target = RolloutTarget.objects.create(
            rollout=self.rollout, instance=self.instance, wave=1, from_version="1.0.0"
        )
        self.finished = Rollout.objects.create(
            release=self.released, reason="made by the test", state="succeeded", started_by=self.root
        )
        Wave.objects.create(rollout=self.finished, number=1, size=1, state="passed")
        there_now = self.patched.placements.get().instance
        RolloutTarget.objects.create(
            rollout=self.finished, instance=there_now, wave=1, from_version="1.0.0", state="done"
        )
        HotPatch.objects.create(
            rollout=self.finished,
            tenant=self.patched,
            until=timezone.now() + timedelta(days=5),
            asked_by=self.root,
        )
        CustomerNotice.objects.create(
            tenant=self.patched, rollout=self.finished, subject="x", body="y", written_by=self.root
        )
        self.advisory = Advisory.objects.create(osv_id="GHSA-test", known_at=at, deadline=later)
        self.hold = Hold.objects.create(tenant=self.tenant, until=later, reason="x y z", set_by=self.root)
        self.window = Window.objects.create(tenant=self.tenant, days=[5], opens_at="23:00")
        self.further = Window.objects.create(
            tenant=self.tenant, days=[6], opens_at="23:00", is_on=False, asked_by=self.root
        )
        self.freeze = Freeze.objects.create(
            name="holidays", account=here, starts_at=at, ends_at=later, reason="x y z"
        )
        self.policy = BlastPolicy.objects.create(
            scope="account", object_id=there.pk, max_percent=50, wanted_percent=60, wanted_by=self.root
        )

        self.ring = Ring.objects.create(name="early", position=1)
        self.step = ClockStep.objects.create(percent=50, name="security", address="s@example.com")
        self.notice = CustomerNotice.objects.create(
            tenant=self.tenant, subject="x", body="y", written_by=self.root
        )

    def _alerts(self) -> None:
        """Something is wrong with the instance here, and everything that may be done about it is there."""
        now = timezone.now()
        made: dict[str, Any] = {"actor": self.root}
        self.source, _ = managing.make_source(name="signed", kind="webhook", account=None, **made)
        self.heartbeat, self.heartbeat_token = managing.make_heartbeat(
            Heartbeat(name="beat", every=60), **made
        )
        self.on_call = managing.save_schedule(
            OnCallSchedule(name="turns", starts_on=now.date()), people=[self.root], **made
        )
        self.override = overriding.stand_in(
            schedule=self.on_call, user=self.root, starts_at=now, ends_at=now + timedelta(hours=1), reason="swapped", **made
        )  # fmt: skip
        step = EscalationStep(schedule=self.on_call)
        self.escalation = managing.save_escalation(EscalationPolicy(name="tell root"), steps=[step], **made)
        self.channel = managing.save_channel(
            Channel(name="roots", owner=self.root), address="json://127.0.0.1:9/", **made
        )
        self.rule_alert = rules_keeping.save(AlertRule(name="errors", cell=self.cell), **made)
        self.telemetry = telemetry_keeping.save(
            TelemetrySource(name="metrics", prometheus_url="http://127.0.0.1:9"), **made
        )
        self.runbook = keeping.save(RUNBOOK, note="", actor=self.root)
        self.run = running.start(
            runbook=self.runbook,
            instance=self.instance,
            inputs={},
            reason="made by the test",
            key="world",
            **made,
        )
        self.runbook_schedule = scheduling.save(
            RunbookSchedule(
                name="weekly", runbook=self.runbook, instance=self.instance, cron="0 3 * * 1", reason="made by the test"
            ),
            actor=self.root,
        )  # fmt: skip
        factories.make_instance("instance-two", cell=self.cell)
        self.recovery = managing.save_recovery(RecoveryPolicy(name="mend", cell=self.cell), **made)
        self.renewal = renewing.save_policy(RenewalPolicy(account=self.cell.region.account), actor=self.root)
        self.issuer = issuers.save_issuer(
            CertificateIssuer(
                name="acme-here", account=self.cell.region.account, directory_url="https://127.0.0.1:9/dir",
                domain="fleet.test",
            ),
            actor=self.root,
        )  # fmt: skip
        with factories.as_system():
            self.silence = Silence.objects.create(
                instance=self.instance, ends_at=now + timedelta(hours=1), author=self.root, reason="known"
            )
            self.incident = Incident.objects.create(
                title="instance-here fails", cause_key=f"cell:{self.cell.pk}", severity="critical"
            )
            alert = Alert.objects.create(
                fingerprint="x", source_name="daytwo", name="InstanceFailing", severity="critical", labels={},
                summary="instance-here fails", instance=self.instance, cell=self.cell,
                account_id=self.cell.region.account_id, incident=self.incident, opened_at=now, last_at=now,
            )  # fmt: skip
            self.customer_notice = IncidentNotice.objects.create(
                incident=self.incident,
                stage="investigating",
                subject="It is slow",
                body="…",
                author=self.root,
            )
            self.decision = RecoveryDecision.objects.create(
                policy=self.recovery, alert=alert, incident=self.incident, instance=self.instance, number=1,
                verdict="act", state="waiting", why="large", kind="restart", actor=self.root,
            )  # fmt: skip

    def client(self, role: str) -> Client:
        client = Client()
        if role != "anonymous":
            person: User = self.people[role]
            client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def arguments(self, name: str) -> dict[str, Any]:
        """What stands in the address of the route `name`."""
        found: dict[str, dict[str, Any]] = {
            "core:delete_view": {"pk": self.saved_view.pk},
            "fleet:renewal": {"pk": self.renewal.pk},
            "fleet:issuer": {"pk": self.issuer.pk},
            "fleet:test_issuer": {"pk": self.issuer.pk},
            "fleet:cell": {"pk": self.cell.pk},
            **{f"fleet:{name}": {"pk": self.tenant.pk} for name in ("tenant_charts", "tenant_metrics")},
            "fleet:diagnostics": {"pk": self.diagnostics.pk, "kind": "txt"},
            "tenants": {"pk": self.tenant.pk},
            "accounts": {"pk": self.cell.region.account_id},
            "operations:act": {"kind": "restart", "target_id": self.instance.pk},
            "operations:batch": {"pk": self.batch.pk},
            "operations:approve": {"pk": self.awaiting.pk},
            "operations:approve_batch": {"pk": self.awaiting_batch.pk},
            "operations:cancel_batch": {"pk": self.batch.pk},
            "operations:schedule": {"pk": self.schedule.pk},
            "operations:switch_schedule": {"pk": self.schedule.pk},
            "operations:delete_schedule": {"pk": self.schedule.pk},
            "operations:end_rule": {"pk": self.approval_rule.pk},
            "operations:decide_rule_change": {"pk": self.rule_change.pk},
            "operations": {"pk": self.operation.pk},
            "alerts:webhook": {"pk": self.source.pk},
            "alerts:heartbeat": {"token": self.heartbeat_token},
            "alerts:end_silence": {"pk": self.silence.pk},
            **{
                f"alerts:{name}": {"pk": self.runbook.pk}
                for name in ("runbook", "edit_runbook", "switch_runbook", "run_runbook")
            },
            **{f"alerts:{name}": {"pk": self.run.pk} for name in ("run", "cancel_run")},
            "alerts:rule": {"pk": self.rule_alert.pk},
            "alerts:notice": {"pk": self.customer_notice.pk},
            **{
                f"alerts:{name}": {"pk": self.runbook_schedule.pk}
                for name in ("runbook_schedule", "switch_runbook_schedule")
            },
            **{f"alerts:{name}": {"pk": self.telemetry.pk} for name in ("telemetry", "try_telemetry")},
            "alerts:approve_recovery": {"pk": self.decision.pk},
            "alerts:schedule": {"pk": self.on_call.pk},
            "alerts:end_override": {"pk": self.override.pk},
            "alerts:escalation": {"pk": self.escalation.pk},
            "alerts:channel": {"pk": self.channel.pk},
            "alerts:test_channel": {"pk": self.channel.pk},
            **{
                f"alerts:{name}": {"pk": self.recovery.pk}
                for name in ("recovery", "edit_recovery", "switch_recovery", "close_breaker")
            },
            "alerts": {"pk": self.incident.pk},
            "access:take": {"pk": self.grant.pk},
            "access:role": {"pk": self.spare_role.pk},
            "access:request": {"pk": self.asked.pk},
            "access:decide": {"pk": self.asked.pk},
            "access:withdraw": {"pk": self.own_asked.pk},
            "access:give_back": {"pk": self.granted.pk},
            "access:extend": {"pk": self.granted.pk},
            "access:delete_pre_approval": {"pk": self.standing.pk},
            **{
                f"access:{name}": {"pk": self.glass.pk}
                for name in ("glass", "end_glass", "explain_glass", "review_glass")
            },
            "access:decide_review": {"pk": self.review_item.pk},
            **{
                f"access:{name}": {"pk": self.review.pk}
                for name in ("review", "close_review", "review_evidence")
            },
            "access:unmap_group": {"pk": self.sso_group.pk},
            "access:revoke_token": {"pk": self.token.pk},
            "access:end_session": {"pk": self.session.pk},
            "access:delete_role": {"pk": self.spare_role.pk},
            **{
                f"access:{name}": {"pk": self.group.pk}
                for name in ("group", "give_to_group", "put_in_group", "take_out_of_group")
            },
            "access": {"pk": self.people["viewer_in"].pk},
            "scim:type": {"name": "User"},
            "scim:schema": {"name": "x"},
            "scim": {"pk": "1"},
            "audit:checkpoint": {"number": self.seal.number},
            "cost:tenant": {"pk": self.tenant.pk},
            "cost:remove_rule": {"pk": self.rule.pk},
            "cost:bring": {"kind": "usage"},
            "cost:ledger": {"book": "rates"},
            "cost:add_entry": {"book": "rates"},
            "cost:remove_entry": {"book": "rates", "pk": self.rate.pk},
            "cost": {"pk": self.bill.pk},
            "audit": {"pk": self.audit_entry.pk},
            "fleet": {"pk": self.instance.pk},
            "releases:rollout": {"pk": self.rollout.pk},
            "releases:report": {"pk": self.rollout.pk},
            "releases:steer": {"pk": self.rollout.pk},
            "releases:steer_target": {"target_pk": self.target.pk},
            "releases:advisory": {"advisory_pk": self.advisory.pk},
            "releases:burn_down": {"advisory_pk": self.advisory.pk},
            "releases:vex": {"advisory_pk": self.advisory.pk},
            "releases:schedule": {"pk": self.rollout.pk},
            "releases:take_in": {"pk": self.rollout.pk},
            "releases:end_window": {"window_pk": self.window.pk},
            "releases:agree_window": {"window_pk": self.further.pk},
            "releases:end_hold": {"hold_pk": self.hold.pk},
            "releases:end_freeze": {"freeze_pk": self.freeze.pk},
            **{f"releases:{name}": {"pk": self.rollout.pk} for name in ("retarget", "draft_notices")},
            **{f"releases:{name}": {"pk": self.finished.pk} for name in ("extend_hot_patch", "send_notices")},
            "releases:roll_back_wave": {"pk": self.finished.pk, "number": 1},
            "releases:remove_ring": {"ring_pk": self.ring.pk},
            "releases:remove_step": {"step_pk": self.step.pk},
            **{f"releases:{name}": {"notice_pk": self.notice.pk} for name in ("notice", "notice_told")},
            "releases:approve_policy": {"policy_pk": self.policy.pk},
            "releases": {"pk": self.release.pk},
            "releases_api:sbom": {"version": self.release.version},
        }
        return found.get(name) or found.get(name.split(":")[0], {})


def missing(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same address with numbers, and names of the money's books, that name nothing."""
    return {
        key: uuid.uuid4()
        if isinstance(value, uuid.UUID)
        else 999_999_999
        if isinstance(value, int)
        else "no-such-book"
        if key in ("book", "kind") and name.startswith("cost:")
        else value
        for key, value in arguments.items()
    }
