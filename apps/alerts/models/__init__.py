"""Signals, alerts, incidents, on-call, recovery."""

from .incidents import Incident, IncidentEvent, IncidentNote, Silence
from .oncall import (
    Channel,
    Delivery,
    Escalation,
    EscalationPolicy,
    EscalationStep,
    OnCallMember,
    OnCallOverride,
    OnCallSchedule,
    Page,
)
from .recovery import RecoveryDecision, RecoveryPolicy
from .rules import AlertRule
from .runbooks import Runbook, RunbookRun, RunbookStep, RunbookVersion
from .signals import Alert, Heartbeat, SeenSignature, Signal, SignalCount, Source

__all__ = [
    "Alert",
    "AlertRule",
    "Channel",
    "Delivery",
    "Escalation",
    "EscalationPolicy",
    "EscalationStep",
    "Heartbeat",
    "Incident",
    "IncidentEvent",
    "IncidentNote",
    "OnCallMember",
    "OnCallOverride",
    "OnCallSchedule",
    "Page",
    "RecoveryDecision",
    "RecoveryPolicy",
    "Runbook",
    "RunbookRun",
    "RunbookStep",
    "RunbookVersion",
    "SeenSignature",
    "Signal",
    "SignalCount",
    "Silence",
    "Source",
]
