"""What nobody would be told of: severities for which no escalation policy is there, people who cannot be reached."""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from .choices import Severity, at_least
from .models import Channel, EscalationPolicy, EscalationStep, OnCallSchedule
from .rotations import on_call

#: What somebody has to be told of; what is only information is to be seen.
TOLD = (Severity.CRITICAL, Severity.WARNING)


def gaps() -> list[str]:
    """In words, of which incidents nobody is told because no policy fits them; empty where all are. Two queries."""
    rows = EscalationPolicy.objects.filter(is_enabled=True).select_related("account")
    policies = [p for p in rows.prefetch_related("steps") if p.steps.all()]
    found: dict[str, list[str]] = {}
    for severity in TOLD:
        if (outside := _outside(policies, severity)) is not None:
            found.setdefault(outside, []).append(severity.label.lower())
    return [
        f"No escalation policy fits {' or '.join(words)} incidents{outside}: nobody is told of them."
        for outside, words in found.items()
    ]


def unreachable(at: datetime | None = None) -> list[str]:
    """In words, of whom policies tell and who could not be told now: nobody on call, or no channel of theirs. Some queries a schedule."""
    at = at or timezone.now()
    found = []
    steps = EscalationStep.objects.filter(policy__is_enabled=True, schedule__isnull=False)
    for schedule in OnCallSchedule.objects.filter(pk__in=steps.values("schedule_id")):
        person = on_call(schedule, at)
        if person is None:
            found.append(f"Nobody is on call on {schedule}, of which an escalation policy tells.")
        elif not Channel.objects.filter(owner=person, is_enabled=True).exists():
            found.append(f"{person} is on call on {schedule} and has no channel that is enabled.")
    return found


def _outside(policies: Sequence[EscalationPolicy], severity: str) -> str | None:
    """Where nobody is told of such incidents, in words; None where somebody is everywhere."""
    mine = [p for p in policies if severity in at_least(p.min_severity)]
    if any(p.account is None for p in mine):
        return None
    names = sorted({str(p.account) for p in mine})
    return f" outside of {', '.join(names)}" if names else ""
