"""Signals, alerts, incidents, on-call, recovery."""

from .incidents import Incident, IncidentEvent, IncidentNote, Silence
from .notices import CustomerNotice
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
from .runbooks import Runbook, RunbookRun, RunbookSchedule, RunbookStep, RunbookVersion
from .signals import Alert, Heartbeat, SeenSignature, Signal, SignalCount, Source
from .telemetry import TelemetrySource

__all__ = [
    "Alert",
    "AlertRule",
    "Channel",
    "CustomerNotice",
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
    "RunbookSchedule",
    "RunbookStep",
    "RunbookVersion",
    "SeenSignature",
    "Signal",
    "SignalCount",
    "Silence",
    "Source",
    "TelemetrySource",
]
