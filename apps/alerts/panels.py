"""What stands in the panels of alerting's pages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone

from apps.access.scoping import visible
from apps.accounts.models import Account
from apps.core.templatetags.ui import at, duration

from .choices import Remedy
from .models import EscalationPolicy, EscalationStep, OnCallSchedule, RecoveryPolicy
from .queries import IncidentPage
from .rotations import changes_at, on_call


@dataclass(frozen=True, slots=True)
class Row:
    """A label and its value, as `components/kv.html` draws them."""

    label: str
    value: Any
    note: Any = ""
    url: str = ""


def incident_facts(page: IncidentPage) -> list[Row]:
    """An incident's facts."""
    i = page.incident
    rows = [
        Row("Began", at(i.opened_at)),
        Row("Lasted" if i.resolved_at else "Lasts", duration(page.duration)),
        Row("Commander", i.commander or "nobody yet"),
    ]
    if i.acknowledged_by:
        rows.append(Row("Acknowledged", i.acknowledged_by, at(i.acknowledged_at)))
    if i.resolved_at:
        rows.append(
            Row(
                "Resolved",
                at(i.resolved_at),
                f"by {i.resolved_by}" if i.resolved_by else "by itself, once it was quiet",
            )
        )
    rows.append(_cause(i.cause_key))
    return rows


def _cause(cause_key: str) -> Row:
    kind, _, key = cause_key.partition(":")
    note = "alerts with this in common join it"
    if kind == "rollout":
        return Row("Grouped by", f"rollout {key}", note, reverse("releases:rollout", args=[int(key)]))
    return Row("Grouped by", f"{kind} {key}" if kind in ("version", "dependency") else kind, note)


@dataclass(frozen=True, slots=True)
class OnCallLine:
    """A schedule with who is on call now, until when, and who is next."""

    schedule: OnCallSchedule
    now: Any
    until: datetime | None
    then: Any


def on_call_lines() -> list[OnCallLine]:
    """All schedules as they are now."""
    at_ = timezone.now()
    lines = []
    for schedule in OnCallSchedule.objects.all():
        until = changes_at(schedule, at_)
        then = on_call(schedule, until) if until else None
        lines.append(OnCallLine(schedule, on_call(schedule, at_), until, then))
    return lines


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """An escalation policy and its steps in words."""

    policy: EscalationPolicy
    steps: list[str]
    account: str = ""


def policy_lines(user: Any) -> list[PolicyLine]:
    """All escalation policies, in the order in which they are asked; an account that `user` does not see has no name."""
    rows = EscalationPolicy.objects.select_related("account").prefetch_related(
        "steps__schedule", "steps__channel"
    )
    found = list(rows)
    seen = set(
        visible(user, Account).filter(pk__in=[p.account_id for p in found]).values_list("pk", flat=True)
    )
    return [
        PolicyLine(
            p,
            [_step(s) for s in p.steps.all()],
            str(p.account) if p.account_id in seen else "another account" if p.account_id else "",
        )
        for p in found
    ]


def _step(step: EscalationStep) -> str:
    whom = f"on call: {step.schedule}" if step.schedule else f"channel {step.channel}"
    return f"{whom}, wait {duration(step.wait)}"


def recovery_facts(policy: RecoveryPolicy) -> list[Row]:
    """A recovery policy's rule and limits in words."""
    hours = (
        f"{policy.hours_from:%H:%M} to {policy.hours_until:%H:%M}"
        if policy.hours_from and policy.hours_until
        else "at any hour"
    )
    labels = ", ".join(f"{k}={v}" for k, v in policy.labels.items())
    return [
        Row("Alert", policy.alert_name or "any", labels),
        Row("From severity", policy.get_min_severity_display().lower()),
        Row("On", policy.cell or policy.account or "everything"),
        Row(
            "Answer",
            policy.runbook or Remedy(policy.remedy).label,
            f"after {policy.delay} s" if policy.delay else "at once",
        ),
        Row("Cooldown", f"{policy.cooldown} s", "between two answers on one instance"),
        Row(
            "Within an hour",
            f"{policy.tries} on one instance",
            f"{policy.per_cell} in one cell, {policy.per_fleet} altogether",
        ),
        Row(
            "Asks first",
            f"above {policy.max_affected} tenants on an instance"
            if policy.max_affected is not None
            else "never",
        ),
        Row("Hours", hours, policy.zone if policy.hours_from else ""),
        Row(
            "Breaker",
            f"after {policy.breaker_after} that did not help",
            f"judged {policy.grace} s after the operation",
        ),
    ]
