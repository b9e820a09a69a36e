"""Runbooks in versions, and their runs."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.core.models import BaseModel
from apps.fleet.models import Instance

from ..choices import RunState, RunStepState


class Runbook(BaseModel):
    """A named list of steps; what it says stands in its versions. Its texts here are for the catalogue."""

    name = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    about = models.TextField(blank=True)
    tags = models.JSONField(default=list, blank=True)
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.title


class RunbookVersion(BaseModel):
    """What a runbook said from then on. Never changed; `number` counts from 1."""

    runbook = models.ForeignKey(Runbook, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField(help_text="YAML, see alerts/runbooks/reading.py")
    note = models.CharField(max_length=200, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["runbook", "number"], name="runbookversion_once")]

    def __str__(self) -> str:
        return f"version {self.number} of runbook {self.runbook_id}"


class RunbookRun(BaseModel):
    """One run of one version on one instance; what it does are operations."""

    version = models.ForeignKey(RunbookVersion, on_delete=models.PROTECT, related_name="runs")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="runbook_runs")
    inputs = models.JSONField(default=dict)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    key = models.CharField(
        max_length=100, unique=True, editable=False, help_text="asked for twice is run once"
    )
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.RUNNING)
    error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "error", "finished_at", "key")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["instance"], condition=models.Q(state=RunState.RUNNING), name="runbookrun_one_open"
            )
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of runbook version {self.version_id}"

    def event_context(self) -> dict[str, int | None]:
        return {"instance_id": self.instance_id}


class RunbookStep(models.Model):
    """One step of a run: what was done, or why not."""

    AUDIT_EXEMPT = "moved by the clock; the run and its operations are recorded"

    run = models.ForeignKey(RunbookRun, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveSmallIntegerField()
    title = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=RunStepState.choices, default=RunStepState.WAITING)
    operation_id = models.BigIntegerField(null=True, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="runbookstep_once")]

    def __str__(self) -> str:
        return f"step {self.number} of run {self.run_id}"


class RunbookSchedule(BaseModel):
    """Runs a runbook on an instance again and again, with the rights that its owner has at that moment."""

    name = models.CharField(max_length=80, unique=True)
    runbook = models.ForeignKey(Runbook, on_delete=models.CASCADE, related_name="schedules")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    inputs = models.JSONField(default=dict, blank=True)
    cron = models.CharField(max_length=80, help_text="five fields, as in cron: 0 3 * * 1")
    zone = models.CharField(
        max_length=64, default="UTC", help_text="IANA time zone in which the cron line is read"
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField("why", max_length=400)
    is_enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "next_at", "last_at", "last_error")

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(fields=["next_at"], name="runbookschedule_due", condition=models.Q(is_enabled=True))
        ]

    def __str__(self) -> str:
        return self.name

    def event_context(self) -> dict[str, int | None]:
        return {"instance_id": self.instance_id}
