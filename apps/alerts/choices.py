"""Words of alerting, and which state may follow which."""

from datetime import timedelta

from django.db import models

#: A time that lies further ahead than it was put off, and this more, was put off while the clock was wrong. Two machines'
#: clocks differ by less.
JUMP = timedelta(minutes=1)


class Severity(models.TextChoices):
    CRITICAL = "critical", "Critical"
    WARNING = "warning", "Warning"
    INFO = "info", "Info"


#: Worst first.
RANK = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def at_least(severity: str) -> list[str]:
    """The severities that are as bad as this one, or worse."""
    return [s for s, rank in RANK.items() if rank <= RANK[Severity(severity)]]


def worst(severities: list[str]) -> str:
    """The worst of them; `info` of none."""
    return min(severities, key=lambda s: RANK[Severity(s)], default=Severity.INFO)


class SourceKind(models.TextChoices):
    ALERTMANAGER = "alertmanager", "Alertmanager webhook"
    WEBHOOK = "webhook", "Signed webhook"
    DISCOVERY = "discovery", "Prometheus service discovery"


class SignalState(models.TextChoices):
    FIRING = "firing", "Firing"
    RESOLVED = "resolved", "Resolved"


class AlertState(models.TextChoices):
    OPEN = "open", "Open"
    RESOLVED = "resolved", "Resolved"


class IncidentState(models.TextChoices):
    TRIGGERED = "triggered", "Triggered"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"


#: The only ways from state to state.
INCIDENT_TRANSITIONS: dict[str, frozenset[str]] = {
    IncidentState.TRIGGERED: frozenset({IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED}),
    IncidentState.ACKNOWLEDGED: frozenset({IncidentState.RESOLVED}),
    IncidentState.RESOLVED: frozenset(),
}
OPEN_INCIDENT = (IncidentState.TRIGGERED, IncidentState.ACKNOWLEDGED)


class NoticeStage(models.TextChoices):
    """What customers can be told of an incident, in the order of its life."""

    INVESTIGATING = "investigating", "Investigating"
    IDENTIFIED = "identified", "Cause found"
    MONITORING = "monitoring", "Mended, being watched"
    RESOLVED = "resolved", "Resolved"


class EscalationState(models.TextChoices):
    ACTIVE = "active", "Active"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    EXHAUSTED = "exhausted", "Nobody left to ask"
    NOBODY = "nobody", "No policy fits"
    ENDED = "ended", "Ended"


class PageState(models.TextChoices):
    PENDING = "pending", "Waiting"
    SENDING = "sending", "Being sent"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Not needed any more"


class Remedy(models.TextChoices):
    """What a recovery policy may do."""

    RESTART = "restart", "Restart"
    START = "start", "Start"
    ROLL_BACK = "roll_back", "Deploy the version before the last deploy"
    RUNBOOK = "runbook", "Run a runbook"


class Verdict(models.TextChoices):
    """What a recovery policy decided about an alert."""

    ACT = "act", "Act"
    HELD = "held", "Held"
    DRY_RUN = "dry_run", "Would act"


class DecisionState(models.TextChoices):
    WAITING = "waiting", "Waits for approval"
    DECIDED = "decided", "Decided"
    ACTING = "acting", "Under way"
    HELPED = "helped", "Helped"
    NO_HELP = "no_help", "Did not help"
    REFUSED = "refused", "Refused"
    CLOSED = "closed", "Nothing to do"


class RunState(models.TextChoices):
    """A runbook's run."""

    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class RunStepState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    SKIPPED = "skipped", "Skipped"
    FAILED = "failed", "Failed"


class RuleKind(models.TextChoices):
    """How a rule of our own finds what is wrong."""

    THRESHOLD = "threshold", "A figure over or under a threshold"
    ABSENCE = "absence", "No measurement"
    CHANGE = "change", "A figure that changed by per cent"
    BURN = "burn", "Error budget burns in two windows"
    PROMQL = "promql", "A query that gives samples (PromQL)"


class Metric(models.TextChoices):
    """Figures of the coarse history, and their units."""

    REQUESTS = "requests", "Requests a second"
    ERRORS = "errors", "Errors in per cent of requests"
    LATENCY = "latency", "Mean latency in ms"
    CPU = "cpu", "CPU cores"
    MEMORY = "memory", "Memory in MB"


class Direction(models.TextChoices):
    OVER = "over", "over"
    UNDER = "under", "under"
