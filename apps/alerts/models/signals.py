"""What monitors say, who may say it, and the alerts it becomes."""

import uuid

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.fleet.models import Cell, Instance
from apps.tenants.models import Tenant

from ..choices import AlertState, Severity, SignalState, SourceKind


class Source(BaseModel):
    """Something that may send signals, or ask for what there is to scrape.

    A token is kept as its SHA-256 alone; a signing secret, which must be known again, encrypted.
    """

    name = models.SlugField(max_length=60, unique=True)
    kind = models.CharField(max_length=12, choices=SourceKind.choices, default=SourceKind.ALERTMANAGER)
    token_hash = models.CharField(max_length=64, blank=True, editable=False)
    secret_sealed = models.TextField(blank=True, editable=False)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+",
        help_text="signals about anything outside this account are refused; empty: about anything",
    )  # fmt: skip
    is_enabled = models.BooleanField(default=True)
    last_at = models.DateTimeField(null=True, blank=True, editable=False)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "token_hash", "secret_sealed", "last_at")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Signal(models.Model):
    """One thing a monitor said, normalised. Written before its sender is answered; `processed_at` empty: still to do."""

    AUDIT_EXEMPT = "what monitors say, not what people decide"

    id = models.BigAutoField(primary_key=True)
    source_name = models.CharField(max_length=60)
    fingerprint = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=SignalState.choices)
    name = models.CharField(max_length=120)
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    summary = models.CharField(max_length=300, blank=True)
    labels = models.JSONField(default=dict)
    url = models.CharField(max_length=500, blank=True)
    instance = models.ForeignKey(
        Instance, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    cell = models.ForeignKey(Cell, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    account = models.ForeignKey(
        Account, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    at = models.DateTimeField(default=timezone.now, help_text="when it began or ended, by its sender")
    received_at = models.DateTimeField(default=timezone.now)
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["id"], name="signal_to_do", condition=models.Q(processed_at__isnull=True)),
            models.Index(fields=["fingerprint", "-id"], name="signal_by_fingerprint"),
            models.Index(fields=["received_at"], name="signal_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class SeenSignature(models.Model):
    """A signed request that was taken, so that it is not taken again."""

    AUDIT_EXEMPT = "kept a day against replays"

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="+")
    signature = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "signature"], name="seensignature_once")]
        indexes = [models.Index(fields=["at"], name="seensignature_by_age")]

    def __str__(self) -> str:
        return f"signature at {self.at:%H:%M:%S}"


class SignalCount(models.Model):
    """How many requests and signals a day were taken or refused, by source and reason."""

    AUDIT_EXEMPT = "counters, kept by the intake"

    day = models.DateField()
    source_name = models.CharField(max_length=60)
    outcome = models.CharField(max_length=40)
    requests = models.PositiveBigIntegerField(default=0)
    signals = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "source_name", "outcome"]
        constraints = [
            models.UniqueConstraint(fields=["day", "source_name", "outcome"], name="signalcount_once")
        ]

    def __str__(self) -> str:
        return f"{self.source_name} {self.outcome} on {self.day}"


class Alert(models.Model):
    """Signals with one fingerprint, from the first that fired until it was resolved. One open row for each fingerprint."""

    AUDIT_EXEMPT = "what monitors say, not what people decide; incidents and silences are recorded"

    id = models.BigAutoField(primary_key=True)
    fingerprint = models.CharField(max_length=64)
    source_name = models.CharField(max_length=60)
    name = models.CharField(max_length=120)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    state = models.CharField(max_length=8, choices=AlertState.choices, default=AlertState.OPEN)
    summary = models.CharField(max_length=300, blank=True)
    labels = models.JSONField(default=dict)
    url = models.CharField(max_length=500, blank=True)
    version = models.CharField(max_length=40, blank=True, help_text="what the instance ran when it opened")
    instance = models.ForeignKey(
        Instance, null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts"
    )
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts")
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts"
    )
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts"
    )
    incident = models.ForeignKey(
        "alerts.Incident", null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts"
    )
    silence = models.ForeignKey(
        "alerts.Silence", null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts"
    )
    inhibited_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="inhibits"
    )
    opened_at = models.DateTimeField()
    last_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    signals = models.PositiveIntegerField(default=1, help_text="how often it was said")
    flaps = models.PositiveSmallIntegerField(
        default=0, help_text="how often it came back soon after it was resolved"
    )
    resolve_after = models.DateTimeField(
        null=True, blank=True, help_text="it flaps: resolved when it has been quiet until then"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=models.Q(state=AlertState.OPEN), name="alert_one_open"
            ),
            models.CheckConstraint(
                condition=models.Q(state=AlertState.OPEN, resolved_at__isnull=True)
                | models.Q(state=AlertState.RESOLVED, resolved_at__isnull=False),
                name="alert_resolved_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["fingerprint", "-id"], name="alert_by_fingerprint"),
            models.Index(fields=["state", "-id"], name="alert_by_state"),
            models.Index(fields=["-opened_at"], name="alert_by_opened"),
            models.Index(
                fields=["resolve_after"],
                name="alert_flapping",
                condition=models.Q(resolve_after__isnull=False),
            ),
            GinIndex(OpClass(Upper("summary"), name="gin_trgm_ops"), name="alert_summary_trgm"),
        ]

    def __str__(self) -> str:
        return self.summary or self.name

    def event_context(self) -> dict[str, int | None]:
        return {
            "instance_id": self.instance_id,
            "cell_id": self.cell_id,
            "account_id": self.account_id,
            "tenant_id": self.tenant_id,
        }

    @property
    def is_open(self) -> bool:
        """Whether it has not been resolved."""
        return self.state == AlertState.OPEN

    @property
    def is_muted(self) -> bool:
        """Whether it pages nobody: silenced, or explained by a larger one."""
        return self.silence_id is not None or self.inhibited_by_id is not None


class Heartbeat(BaseModel):
    """A dead man's switch: something that must be heard of every so many seconds."""

    name = models.CharField(max_length=80, unique=True)
    token_hash = models.CharField(max_length=64, unique=True, editable=False, default=uuid.uuid4)
    every = models.PositiveIntegerField(default=60, help_text="seconds between two beats")
    grace = models.PositiveIntegerField(default=30, help_text="seconds it may be late")
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.CRITICAL)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    is_enabled = models.BooleanField(default=True)
    last_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_late = models.BooleanField(default=False, editable=False)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "token_hash", "last_at", "is_late")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(every__gte=5), name="heartbeat_every_five_at_least")
        ]

    def __str__(self) -> str:
        return self.name
