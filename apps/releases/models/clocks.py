"""The security clock's policy: how long each severity has, who is asked when how much of it is used; and who was."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from apps.core.models import BaseModel

from ..choices import Severity
from .exposure import Advisory


class ClockPolicy(BaseModel):
    """How many hours an advisory of a severity has, in place of what is built in (`choices.CLOCK_HOURS`)."""

    severity = models.CharField(max_length=10, choices=Severity.choices, unique=True)
    hours = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(24 * 366)])

    class Meta:
        ordering = ["severity"]
        verbose_name_plural = "clock policies"

    def __str__(self) -> str:
        return f"security clock of {self.severity}"


class ClockStep(BaseModel):
    """Somebody who is asked, by letter, from so much of the clock's time on while anybody is still exposed."""

    severity = models.CharField(
        max_length=10, choices=Severity.choices, blank=True, help_text="empty: every severity"
    )
    percent = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(100)])
    name = models.CharField(max_length=100, help_text="a person, a role or a channel")
    address = models.EmailField(help_text="of the person, or one that the channel takes letters at")

    class Meta:
        ordering = ["percent", "name"]
        constraints = [
            models.UniqueConstraint(fields=["severity", "percent", "address"], name="clockstep_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.percent} %"


class ClockAsk(models.Model):
    """A stage of an advisory's clock that was reached with somebody exposed: who was asked, once."""

    AUDIT_EXEMPT = "written by the clock alone, which tells each as an event"

    id = models.BigAutoField(primary_key=True)
    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="asks")
    percent = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    exposed = models.PositiveIntegerField(help_text="instances that were exposed then")
    asked = ArrayField(models.CharField(max_length=400), default=list, help_text="name and address of each")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="when nobody was exposed any more")

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["advisory", "percent"],
                condition=models.Q(ended_at__isnull=True),
                name="clockask_once",
            )
        ]

    def __str__(self) -> str:
        return f"advisory {self.advisory_id} at {self.percent} %"
