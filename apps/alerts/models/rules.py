"""Rules of the portal's own."""

from django.db import models

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.fleet.models import Cell

from ..choices import Direction, Metric, RuleKind, Severity


class AlertRule(BaseModel):
    """What is wrong when. Over the coarse history it holds for each instance of its place; a PromQL query for each sample."""

    name = models.CharField(max_length=100, unique=True, help_text="also the alert's name")
    kind = models.CharField(max_length=10, choices=RuleKind.choices, default=RuleKind.THRESHOLD)
    metric = models.CharField(max_length=10, choices=Metric.choices, default=Metric.ERRORS)
    direction = models.CharField(max_length=6, choices=Direction.choices, default=Direction.OVER)
    threshold = models.FloatField(
        default=5,
        help_text="in the figure's unit; for a change: per cent; for a burn: times the budget's even pace",
    )
    objective = models.FloatField(
        default=99.9, help_text="for a burn: per cent of requests that are to succeed"
    )
    window = models.PositiveIntegerField(default=300, help_text="seconds that are looked at")
    least_requests = models.PositiveIntegerField(
        default=20, help_text="fewer requests in the window say nothing about errors, latency, burn or change"
    )
    query = models.TextField(
        blank=True, max_length=2_000, help_text="PromQL; each sample that it gives is an alert"
    )
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    is_enabled = models.BooleanField(default=True)
    evaluated_at = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.CharField(
        max_length=300, blank=True, editable=False, help_text="why the last evaluation failed"
    )

    AUDIT_EXCLUDE = ("created_at", "updated_at", "evaluated_at", "error")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(window__gte=30, window__lte=86_400, objective__gt=0, objective__lt=100),
                name="rule_makes_sense",
            ),
            models.CheckConstraint(
                condition=(models.Q(kind=RuleKind.PROMQL) & ~models.Q(query=""))
                | (~models.Q(kind=RuleKind.PROMQL) & models.Q(query="")),
                name="rule_query_for_promql",
            ),
        ]

    def __str__(self) -> str:
        return self.name
