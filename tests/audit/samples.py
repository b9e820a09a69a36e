"""One unsaved row of every model of ours that the trail records, and a change of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count, cycle
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models
from django.utils import timezone

from apps.access.models import (
    AccessRequest,
    AccessReview,
    ApiToken,
    BreakGlass,
    Grant,
    PreApproval,
    ReviewItem,
    Role,
    ScimGroup,
    Scope,
    SsoGroup,
    User,
)
from apps.access.services import system_actor
from apps.accounts.models import Account, Region
from apps.alerts.models import (
    AlertRule,
    Channel,
    EscalationPolicy,
    EscalationStep,
    Heartbeat,
    Incident,
    IncidentNote,
    OnCallMember,
    OnCallOverride,
    OnCallSchedule,
    RecoveryPolicy,
    Runbook,
    RunbookRun,
    RunbookSchedule,
    RunbookVersion,
    Silence,
    Source,
    TelemetrySource,
)
from apps.alerts.models import (
    CustomerNotice as IncidentNotice,
)
from apps.audit.models import AuditStream
from apps.core.models import SavedView
from apps.cost.models import (
    Bill,
    BillSource,
    Budget,
    Commitment,
    Discount,
    Price,
    ProductComponent,
    Rate,
    Rule,
    RuleSet,
    Run,
    Statement,
    SubAccount,
)
from apps.fleet.models import (
    AcmeOrder,
    Cell,
    CertificateIssuer,
    Diagnostics,
    Instance,
    Placement,
    RenewalPolicy,
)
from apps.operations.models import ApprovalRule, ApprovalRuleChange, Operation, Schedule
from apps.releases.models import (
    Advisory,
    Artifact,
    BlastPolicy,
    ClockPolicy,
    ClockStep,
    CustomerNotice,
    Exclusion,
    Freeze,
    Hold,
    HotPatch,
    MetricSource,
    Release,
    Ring,
    RingMember,
    Rollout,
    VexStatement,
    Window,
)
from apps.tenants.models import Contact, Domain, ExternalId, Plan, Subscription, Tenant
from tests import factories

numbers = count(1)


def recorded_models() -> list[type[models.Model]]:
    """Every model of ours that does not say why it stays out of the trail."""
    return [
        m
        for m in apps.get_models()
        if m.__module__.startswith("apps.") and not getattr(m, "AUDIT_EXEMPT", "")
    ]


def _saved(row: Any) -> Any:
    with factories.as_system():
        row.save()
    return row


def _incident() -> Incident:
    return Incident(title="x", cause_key=_n("cause"), severity="critical")


def _runbook_version() -> RunbookVersion:
    book = _saved(Runbook(name=_n("book"), title="x"))
    return RunbookVersion(runbook=book, number=1, text="x", author=factories.make_user())


def _turns() -> OnCallSchedule:
    return OnCallSchedule(name=_n("turns"), starts_on=date(2026, 1, 5))


def _in_an_hour() -> Any:
    return timezone.now() + timedelta(hours=1)


def _issuer() -> CertificateIssuer:
    return CertificateIssuer(
        name=_n("issuer"),
        account=factories.make_account(),
        directory_url="https://ca.example/dir",
        domain="a.test",
    )


_severities = cycle(["low", "medium", "high", "critical"])


def _n(word: str) -> str:
    return f"{word}-{next(numbers)}"


def _region() -> Region:
    return factories.make_cell().region


def _group() -> Group:
    with factories.as_system():
        return Group.objects.create(name=_n("group"))


def _operation() -> Operation:
    key = _n("key")
    return Operation(
        kind="restart", target_type="instance", target_id=next(numbers), target_label="x", is_changing=True,
        actor=factories.make_user(), reason="because", idempotency_key=key, fingerprint=key,
    )  # fmt: skip


def _schedule() -> Schedule:
    return Schedule(
        name=_n("schedule"),
        kind="restart",
        target_id=1,
        cron="0 3 * * 1",
        owner=factories.make_user(),
        reason="because",
    )


def _scope() -> Scope:
    return Scope(kind="account", object_id=next(numbers), label="x")


def _saved_scope() -> Scope:
    made: Scope = _saved(_scope())
    return made


def _grant() -> Grant:
    return Grant(
        user=factories.make_user(), role=factories.make_role("viewer"), scope=_saved_scope(), reason="because",
        given_by=system_actor("command"),
    )  # fmt: skip


def _review_item() -> ReviewItem:
    review = _saved(AccessReview(name=_n("review"), started_by=factories.make_user()))
    return ReviewItem(
        review=review, grant_ref=next(numbers), holder="ada", role="viewer", scope=_saved_scope(), given_at=timezone.now(),
        given="x", proposal="keep", why="used",
    )  # fmt: skip


def _subscription() -> Subscription:
    return Subscription(
        tenant=factories.make_tenant(),
        plan=factories.make_plan(),
        starts_on=date(2025, 1, 1),
        ends_on=date(2025, 12, 31),
    )


AT, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def _release() -> Release:
    with factories.as_system():
        return Release.objects.create(version=_n("v"))


def _ring() -> Ring:
    made: Ring = _saved(Ring(name=_n("ring"), position=next(numbers)))
    return made


def _advisory() -> Advisory:
    return Advisory(osv_id=_n("GHSA"), known_at=AT, deadline=LATER)


def _vex() -> VexStatement:
    advisory = _advisory()
    with factories.as_system():
        advisory.save()
    return VexStatement(
        advisory=advisory,
        justification="component_not_present",
        reason="because",
        stated_by=factories.make_user(),
    )


def _statement() -> Statement:
    with factories.as_system():
        bill = Bill.objects.create(name="b.csv", digest=_n("d"), received_by=factories.make_user())
    return Statement(
        bill=bill, provider="AWS", billing_account=_n("p"), currency="USD", period_start=date(2026, 1, 1),
        period_end=date(2026, 2, 1), lines=1, billed=1, effective=1, listed=1,
    )  # fmt: skip


def _ruleset() -> RuleSet:
    with factories.as_system():
        return RuleSet.objects.create(version=next(numbers), state="retired")


def _run() -> Run:
    statement = _statement()
    with factories.as_system():
        statement.save()
    return Run(statement=statement, ruleset=_ruleset())


#: By model: how to make one, and which change shows in the trail.
SAMPLES: dict[type[models.Model], tuple[Callable[[], models.Model], dict[str, Any]]] = {
    SavedView: (
        lambda: SavedView(owner=factories.make_user(), page="x:list", name=_n("view")),
        {"query": "q=2"},
    ),
    User: (lambda: User(username=_n("someone"), password="!"), {"first_name": "Ada"}),
    Scope: (_scope, {"label": "renamed"}),
    Role: (lambda: Role(name=_n("role"), permissions=["view"]), {"permissions": ["view", "export"]}),
    Grant: (_grant, {"reason": "another reason"}),
    AccessRequest: (
        lambda: AccessRequest(
            person=factories.make_user(),
            role=factories.make_role("viewer"),
            scope=_saved_scope(),
            minutes=60,
            reason="SUP-1",
        ),
        {"decision": "yes"},
    ),
    PreApproval: (
        lambda: PreApproval(
            group=_group(),
            role=factories.make_role("viewer"),
            scope=_saved_scope(),
            max_minutes=60,
            given_by=factories.make_user(),
            reason="on call",
        ),
        {"max_minutes": 30},
    ),
    BreakGlass: (
        lambda: BreakGlass(
            person=factories.make_user(),
            role=factories.make_role("viewer"),
            scope=_saved_scope(),
            reason="fire",
            grant_ref=next(numbers),
            started_at=timezone.now(),
            until=timezone.now() + timedelta(minutes=5),
        ),
        {"explanation": "it burned"},
    ),
    ScimGroup: (lambda: ScimGroup(display_name=_n("pushed")), {"display_name": "renamed"}),
    SsoGroup: (lambda: SsoGroup(claim=_n("claim"), group=_group()), {"claim": "renamed"}),
    AccessReview: (lambda: AccessReview(name=_n("review"), started_by=factories.make_user()), {"days": 30}),
    ReviewItem: (_review_item, {"outcome": "kept"}),
    ApiToken: (
        lambda: ApiToken(
            owner=factories.make_user(),
            name=_n("token"),
            start="dt_",
            digest=_n("digest"),
            permissions=["view"],
            expires_at=timezone.now() + timedelta(days=1),
        ),
        {"permissions": ["view", "export"]},
    ),
    Operation: (_operation, {"cancel_reason": "enough"}),
    ApprovalRule: (lambda: ApprovalRule(kind=_n("kind"), note="x"), {"note": "y"}),
    ApprovalRuleChange: (
        lambda: ApprovalRuleChange(
            rule_ref=next(numbers), label="x", proposed_by=factories.make_user(), reason="x y z"
        ),
        {"state": "refused"},
    ),
    Schedule: (_schedule, {"is_enabled": False}),
    AuditStream: (
        lambda: AuditStream(name=_n("stream"), kind="syslog", url="syslog://localhost:514"),
        {"is_enabled": False},
    ),
    Account: (lambda: Account(name=_n("account"), cloud="aws"), {"notes": "x"}),
    Region: (lambda: Region(account=factories.make_account(), code=_n("r")), {"jurisdiction": "EU"}),
    Plan: (lambda: Plan(name=_n("plan")), {"monthly_price": 7}),
    Tenant: (lambda: Tenant(key=_n("tenant"), name="Acme"), {"name": "Acme & Sons"}),
    Subscription: (_subscription, {"seats": 12}),
    Contact: (
        lambda: Contact(tenant=factories.make_tenant(), name="Ada", email="ada@example.com"),
        {"name": "Eve"},
    ),
    Domain: (
        lambda: Domain(tenant=factories.make_tenant(), name=_n("d") + ".example.com"),
        {"is_primary": True},
    ),
    ExternalId: (
        lambda: ExternalId(tenant=factories.make_tenant(), system="crm", value=_n("v")),
        {"system": "erp"},
    ),
    Cell: (lambda: Cell(region=_region(), name=_n("cell")), {"locked_reason": "moving"}),
    Instance: (
        lambda: Instance(cell=factories.make_cell(), name=_n("instance"), wanted_version="1.0.0"),
        {"wanted": "stopped"},
    ),
    RenewalPolicy: (lambda: RenewalPolicy(account=factories.make_account()), {"share": 50}),
    CertificateIssuer: (lambda: _issuer(), {"domain": "other.test"}),
    AcmeOrder: (
        lambda: AcmeOrder(
            issuer=_saved(_issuer()), instance=factories.make_instance(), operation_id=next(numbers)
        ),
        {"state": "failed"},
    ),
    Placement: (
        lambda: Placement(tenant=factories.make_tenant(), instance=factories.make_instance()),
        {"since": "2026-01-01T00:00:00Z"},
    ),
    Bill: (
        lambda: Bill(name="b.csv", digest=_n("d"), received_by=factories.make_user()),
        {"state": "reading"},
    ),
    SubAccount: (lambda: SubAccount(provider="AWS", external_id=_n("s")), {"name": "Prod"}),
    Statement: (_statement, {"is_current": False}),
    RuleSet: (lambda: RuleSet(version=next(numbers), state="retired"), {"note": "why"}),
    Rule: (lambda: Rule(ruleset=_ruleset(), position=1, kind="tag", tag="t"), {"tag": "u"}),
    Run: (_run, {"is_current": False}),
    Price: (
        lambda: Price(
            plan=factories.make_plan(_n("plan")),
            meter="requests",
            currency="EUR",
            starts_on=date(2026, 1, 1),
            tiers=[{"up_to": None, "price": "0.1"}],
        ),
        {"ends_on": date(2026, 2, 1)},
    ),
    Discount: (
        lambda: Discount(tenant=factories.make_tenant(), percent=5, starts_on=date(2026, 1, 1)),
        {"percent": 6},
    ),
    Commitment: (
        lambda: Commitment(
            tenant=factories.make_tenant(), currency="EUR", monthly_minimum=5, starts_on=date(2026, 1, 1)
        ),
        {"monthly_minimum": 6},
    ),
    Budget: (lambda: Budget(name=_n("budget"), currency="EUR", amount=5), {"amount": 6}),
    BillSource: (lambda: BillSource(url=f"s3://{_n('bucket')}/bills/"), {"url": "s3://other/bills/"}),
    ProductComponent: (lambda: ProductComponent(name="search", service=_n("service")), {"position": 2}),
    Rate: (
        lambda: Rate(
            currency="USD", into="EUR", day=date(2020, 1, 1) + timedelta(days=next(numbers)), rate=1
        ),
        {"rate": 2},
    ),
    Diagnostics: (
        lambda: Diagnostics(instance=factories.make_instance(), operation_id=next(numbers), parts={"a": "b"}),
        {"size": 5},
    ),
    Release: (lambda: Release(version=_n("v")), {"notes": "mends things"}),
    Artifact: (lambda: Artifact(release=_release(), name=_n("a"), sha256="0" * 64), {"uri": "https://x"}),
    Rollout: (lambda: Rollout(release=_release(), reason="because"), {"why": "as decided"}),
    Exclusion: (
        lambda: Exclusion(
            rollout=_saved(Rollout(release=_release(), reason="because")),
            what="tenant",
            object_id=1,
            label="x",
            reason="because",
        ),
        {"reason": "another reason"},
    ),
    Ring: (lambda: Ring(name=_n("ring"), position=next(numbers)), {"description": "first"}),
    RingMember: (
        lambda: RingMember(ring=_ring(), tenant=factories.make_tenant()),
        {"ring": _ring},
    ),
    Advisory: (_advisory, {"summary": "SQL injection"}),
    VexStatement: (_vex, {"reason": "another reason"}),
    Hold: (
        lambda: Hold(
            tenant=factories.make_tenant(), until=LATER, reason="because", set_by=factories.make_user()
        ),
        {"reason": "another reason"},
    ),
    HotPatch: (
        lambda: HotPatch(
            rollout=_saved(Rollout(release=_release(), reason="because")),
            tenant=factories.make_tenant(),
            until=LATER,
            asked_by=factories.make_user(),
        ),
        {"until": LATER + timedelta(days=1)},
    ),
    ClockPolicy: (lambda: ClockPolicy(severity=next(_severities), hours=5), {"hours": 6}),
    MetricSource: (lambda: MetricSource(name=_n("source")), {"step_seconds": 30}),
    ClockStep: (
        lambda: ClockStep(percent=50, name="security", address=f"{_n('security')}@example.com"),
        {"percent": 75},
    ),
    CustomerNotice: (
        lambda: CustomerNotice(
            tenant=factories.make_tenant(), subject="x", body="y", written_by=factories.make_user()
        ),
        {"subject": "z"},
    ),
    Freeze: (
        lambda: Freeze(name=_n("freeze"), starts_at=AT, ends_at=LATER, reason="because"),
        {"reason": "another reason"},
    ),
    Window: (
        lambda: Window(tenant=factories.make_tenant(), days=[5], opens_at="22:00"),
        {"minutes": 240},
    ),
    BlastPolicy: (
        lambda: BlastPolicy(scope="cell", object_id=next(numbers), max_count=5),
        {"max_count": 4},
    ),
    Source: (lambda: Source(name=_n("source")), {"is_enabled": False}),
    Heartbeat: (lambda: Heartbeat(name=_n("beat"), token_hash=_n("hash")), {"every": 90}),
    Incident: (_incident, {"state": "acknowledged"}),
    IncidentNote: (
        lambda: IncidentNote(incident=_saved(_incident()), author=factories.make_user(), text="x"),
        {"text": "y"},
    ),
    Silence: (
        lambda: Silence(ends_at=_in_an_hour(), author=factories.make_user(), reason="known"),
        {"reason": "known better"},
    ),
    OnCallSchedule: (_turns, {"days": 3}),
    OnCallMember: (
        lambda: OnCallMember(schedule=_saved(_turns()), user=factories.make_user(), position=1),
        {"position": 2},
    ),
    OnCallOverride: (
        lambda: OnCallOverride(
            schedule=_saved(_turns()),
            user=factories.make_user(),
            starts_at=timezone.now(),
            ends_at=_in_an_hour(),
            reason="x",
        ),
        {"reason": "y"},
    ),
    AlertRule: (lambda: AlertRule(name=_n("rule")), {"threshold": 7}),
    Runbook: (lambda: Runbook(name=_n("book"), title="x"), {"title": "y"}),
    RunbookVersion: (_runbook_version, {"note": "y"}),
    RunbookRun: (
        lambda: RunbookRun(
            version=_saved(_runbook_version()),
            instance=factories.make_instance(),
            actor=factories.make_user(),
            reason="x",
            key=_n("run"),
        ),
        {"reason": "y"},
    ),
    Channel: (lambda: Channel(name=_n("channel"), scheme="json"), {"rank": 2}),
    EscalationPolicy: (lambda: EscalationPolicy(name=_n("policy")), {"rank": 2}),
    EscalationStep: (
        lambda: EscalationStep(
            policy=_saved(EscalationPolicy(name=_n("policy"))), schedule=_saved(_turns()), position=1
        ),
        {"wait": 60},
    ),
    RecoveryPolicy: (lambda: RecoveryPolicy(name=_n("recovery")), {"tries": 2}),
    IncidentNotice: (
        lambda: IncidentNotice(
            incident=_saved(_incident()),
            stage="resolved",
            subject="x",
            body="y",
            author=factories.make_user(),
        ),
        {"subject": "z"},
    ),
    RunbookSchedule: (
        lambda: RunbookSchedule(
            name=_n("schedule"),
            runbook=_saved(Runbook(name=_n("book"), title="x")),
            instance=factories.make_instance(),
            cron="0 3 * * 1",
            owner=factories.make_user(),
            reason="x",
        ),
        {"reason": "y"},
    ),
    TelemetrySource: (
        lambda: TelemetrySource(name=_n("telemetry"), prometheus_url="http://127.0.0.1:9"),
        {"tenant_label": "customer"},
    ),
}
