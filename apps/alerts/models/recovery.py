"""Which alert is answered by which operation, within which limits; and each decision about it."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.fleet.models import Cell, Instance

from ..choices import DecisionState, Remedy, Severity, Verdict
from .incidents import Incident
from .signals import Alert


class RecoveryPolicy(BaseModel):
    """An alert, an answer, and limits. It acts as the system actor `recovery`, with the rights given for its place."""

    name = models.CharField(max_length=80, unique=True)
    alert_name = models.CharField(
        max_length=120, blank=True, default="InstanceFailing", help_text="exact name; empty: any"
    )
    min_severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    labels = models.JSONField(default=dict, blank=True, help_text="labels that all have to be there")
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    remedy = models.CharField(max_length=10, choices=Remedy.choices, default=Remedy.RESTART)
    runbook = models.ForeignKey(
        "alerts.Runbook", null=True, blank=True, on_delete=models.PROTECT, related_name="policies",
        help_text="for the answer “run a runbook”: it is run with its inputs' defaults",
    )  # fmt: skip
    max_affected = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="an instance that serves more tenants than this is answered only once somebody approved; empty: any",
    )  # fmt: skip
    rank = models.PositiveSmallIntegerField(default=100, help_text="of policies that fit, the lowest decides")
    delay = models.PositiveIntegerField(
        default=0, help_text="seconds an alert has to be open before it is answered"
    )
    cooldown = models.PositiveIntegerField(
        default=60, help_text="seconds between two answers on one instance"
    )
    tries = models.PositiveSmallIntegerField(default=3, help_text="answers on one instance within an hour")
    per_cell = models.PositiveSmallIntegerField(default=5, help_text="answers in one cell within an hour")
    per_fleet = models.PositiveSmallIntegerField(default=20, help_text="answers altogether within an hour")
    hours_from = models.TimeField(null=True, blank=True, help_text="acts only from then …")
    hours_until = models.TimeField(null=True, blank=True, help_text="… until then")
    zone = models.CharField(max_length=64, default="UTC")
    grace = models.PositiveIntegerField(
        default=20, help_text="seconds after an answer within which the alert has to be resolved"
    )
    breaker_after = models.PositiveSmallIntegerField(
        default=3, help_text="answers in a row that do not help open the breaker"
    )
    broken_at = models.DateTimeField(null=True, blank=True, help_text="the breaker is open since then")
    counts_from = models.DateTimeField(
        null=True, blank=True, help_text="the breaker was closed then: answers before it no longer count"
    )
    is_dry_run = models.BooleanField(default=False, help_text="decides, and does nothing")
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["rank", "name"]
        verbose_name_plural = "recovery policies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(tries__gte=1, per_cell__gte=1, per_fleet__gte=1, breaker_after__gte=1),
                name="recovery_has_limits",
            ),
            models.CheckConstraint(
                condition=models.Q(remedy=Remedy.RUNBOOK, runbook__isnull=False)
                | (~models.Q(remedy=Remedy.RUNBOOK) & models.Q(runbook__isnull=True)),
                name="recovery_names_its_runbook",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from ..rotations import check_hours, check_zone

        check_zone(self.zone)
        check_hours(self.hours_from, self.hours_until, "hours_until")


#: How the result of an answer begins that somebody declined.
DECLINED = "declined by "


class RecoveryDecision(models.Model):
    """What a policy decided about an alert, and what came of it: signal → decision → action → result."""

    AUDIT_EXEMPT = "a record of its own; the operation it asks for is recorded"

    id = models.BigAutoField(primary_key=True)
    policy = models.ForeignKey(RecoveryPolicy, on_delete=models.CASCADE, related_name="decisions")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="decisions")
    incident = models.ForeignKey(
        Incident, null=True, blank=True, on_delete=models.SET_NULL, related_name="decisions"
    )
    instance = models.ForeignKey(Instance, null=True, on_delete=models.SET_NULL, related_name="+")
    cell = models.ForeignKey(Cell, null=True, on_delete=models.SET_NULL, related_name="+")
    number = models.PositiveSmallIntegerField(help_text="which try on this alert")
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    why = models.CharField(max_length=300)
    kind = models.CharField(max_length=60, blank=True)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=DecisionState.choices, default=DecisionState.DECIDED)
    operation_id = models.BigIntegerField(null=True, blank=True)
    run_id = models.BigIntegerField(
        null=True, blank=True, help_text="the runbook's run, where that is the answer"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    result = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    operation_ended_at = models.DateTimeField(null=True, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "alert", "number"], name="decision_once_for_a_try")
        ]
        indexes = [
            models.Index(fields=["policy", "-id"], name="decision_by_policy"),
            models.Index(fields=["-at"], name="decision_by_time"),
            models.Index(
                fields=["id"],
                name="decision_open",
                condition=models.Q(state__in=[DecisionState.DECIDED, DecisionState.ACTING]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_verdict_display()} on alert {self.alert_id}"

    @property
    def is_declined(self) -> bool:
        """Whether somebody said no: while the alert is open nobody is asked again."""
        return self.state == DecisionState.CLOSED and self.result.startswith(DECLINED)
