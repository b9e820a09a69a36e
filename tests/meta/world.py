"""A small world with two accounts, and people who may see the one, the other, or all."""

from __future__ import annotations

import uuid
from typing import Any

from django.test import Client

from apps.access.choices import ScopeKind
from apps.access.models import Grant, User
from apps.audit.models import AuditEntry
from apps.core.models import SavedView
from apps.cost.models import Bill, Rule, RuleSet
from apps.fleet.models import Diagnostics
from apps.operations.models import ApprovalRule, Schedule
from apps.operations.services import submit, submit_many
from tests import factories

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
            self.rule = Rule.objects.create(ruleset=ruleset, position=1, kind="tag", tag="tenant")
            self.saved_view = SavedView.objects.create(owner=self.root, page="fleet:instances", name="mine")
        self.grant = Grant.objects.filter(user=self.people["viewer_in"]).get()
        self.audit_entry = AuditEntry.objects.latest("pk")

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
            "fleet:cell": {"pk": self.cell.pk},
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
            "operations": {"pk": self.operation.pk},
            "access:take": {"pk": self.grant.pk},
            "access": {"pk": self.people["viewer_in"].pk},
            "cost:tenant": {"pk": self.tenant.pk},
            "cost:remove_rule": {"pk": self.rule.pk},
            "cost": {"pk": self.bill.pk},
            "audit": {"pk": self.audit_entry.pk},
            "fleet": {"pk": self.instance.pk},
        }
        return found.get(name) or found.get(name.split(":")[0], {})


def missing(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same address with numbers that name nothing."""
    return {
        key: uuid.uuid4()
        if isinstance(value, uuid.UUID)
        else 999_999_999
        if isinstance(value, int)
        else value
        for key, value in arguments.items()
    }
