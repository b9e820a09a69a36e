"""What nobody would be told of: severities for which no escalation policy is there."""

from collections.abc import Sequence

from .choices import Severity, at_least
from .models import EscalationPolicy

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


def _outside(policies: Sequence[EscalationPolicy], severity: str) -> str | None:
    """Where nobody is told of such incidents, in words; None where somebody is everywhere."""
    mine = [p for p in policies if severity in at_least(p.min_severity)]
    if any(p.account is None for p in mine):
        return None
    names = sorted({str(p.account) for p in mine})
    return f" outside of {', '.join(names)}" if names else ""
