"""Alerts with one cause, what people did about it, and what is not to be heard for a while."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.fleet.models import Cell, Instance

from ..choices import OPEN_INCIDENT, IncidentState, Severity


class Incident(BaseModel):
    """Alerts with one cause. `cause_key` names it: `instance:7`, `cell:3`, `version:4.12.5`, `account:1`, `name:x`."""

    title = models.CharField(max_length=300)
    cause_key = models.CharField(max_length=120)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    state = models.CharField(max_length=12, choices=IncidentState.choices, default=IncidentState.TRIGGERED)
    commander = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField(default=timezone.now)
    last_joined_at = models.DateTimeField(default=timezone.now, help_text="when its newest alert joined")
    quiet_since = models.DateTimeField(
        null=True, blank=True, help_text="since when none of its alerts is open"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    AUDIT_EXCLUDE = (
        "created_at", "updated_at", "title", "cause_key", "severity", "last_joined_at", "quiet_since",
    )  # fmt: skip

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=(models.Q(state=IncidentState.RESOLVED, resolved_at__isnull=False))
                | (~models.Q(state=IncidentState.RESOLVED) & models.Q(resolved_at__isnull=True)),
                name="incident_resolved_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="incident_by_state"),
            models.Index(fields=["cause_key", "-id"], name="incident_by_cause"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state in OPEN_INCIDENT


class IncidentEvent(models.Model):
    """Which events are an incident's own. By id: the table of events is partitioned and outlives what it tells of."""

    AUDIT_EXEMPT = "a link from an incident to its events"

    id = models.BigAutoField(primary_key=True)
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="own_events")
    event_id = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "event_id"], name="incidentevent_once")]

    def __str__(self) -> str:
        return f"event {self.event_id} of incident {self.incident_id}"


class IncidentNote(BaseModel):
    """What somebody found or decided, for the others and for afterwards."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField(max_length=4_000)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"note on incident {self.incident_id}"


class Silence(BaseModel):
    """Alerts that page nobody for a while, and why. Nothing given but a place: all of that place."""

    name = models.CharField("alert", max_length=120, blank=True, help_text="its exact name; empty: any")
    labels = models.JSONField(
        default=dict, blank=True, help_text="labels that all have to be there with these values"
    )
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    instance = models.ForeignKey(Instance, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ["-ends_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="silence_ends_after_start"
            ),
        ]
        indexes = [models.Index(fields=["ends_at"], name="silence_by_end")]

    def __str__(self) -> str:
        return f"{self.name or 'any alert'} on {self.instance or self.cell or self.account or 'everything'}"

    def event_context(self) -> dict[str, int | None]:
        return {"instance_id": self.instance_id, "cell_id": self.cell_id, "account_id": self.account_id}
