"""Advisories, what they match, who is exposed and since when, and why somebody is not."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.models import BaseModel
from apps.fleet.models import Instance

from ..choices import Severity, VexWhy
from .releases import Component, Release


class Advisory(BaseModel):
    """A known vulnerability, as OSV tells it. The clock runs from `known_at`, when it came in here."""

    osv_id = models.CharField(max_length=60, unique=True)
    aliases = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    summary = models.CharField(max_length=300, blank=True)
    details = models.TextField(blank=True)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.NONE)
    score = models.DecimalField(
        max_digits=3, decimal_places=1, null=True, blank=True, help_text="CVSS base score"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    modified = models.CharField(max_length=40, blank=True, help_text="as the document says it")
    known_at = models.DateTimeField()
    deadline = models.DateTimeField()
    withdrawn = models.BooleanField(default=False)
    affected = models.JSONField(default=list, help_text="packages with ranges of versions, by purl")

    AUDIT_EXCLUDE = ("created_at", "updated_at", "affected", "details")

    class Meta:
        ordering = ["-known_at", "-id"]
        verbose_name_plural = "advisories"
        indexes = [models.Index(fields=["-known_at", "-id"], name="advisory_newest")]

    def __str__(self) -> str:
        return self.osv_id


class AdvisoryMatch(models.Model):
    """A component that an advisory speaks of: computed, kept so that pages need not compare versions."""

    AUDIT_EXEMPT = "computed from advisories and SBOMs"

    id = models.BigAutoField(primary_key=True)
    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="matches")
    component = models.ForeignKey(Component, on_delete=models.CASCADE, related_name="matches")
    fixed_in = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["advisory", "component"], name="advisorymatch_once")]

    def __str__(self) -> str:
        return f"advisory {self.advisory_id} on component {self.component_id}"


class VexStatement(BaseModel):
    """Why a release, or every release, is not affected by an advisory although it holds the package."""

    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="vex")
    release = models.ForeignKey(
        Release,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="vex",
        help_text="empty: every release",
    )
    justification = models.CharField(max_length=60, choices=VexWhy.choices)
    reason = models.CharField(max_length=500)
    stated_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "VEX statement"
        constraints = [
            models.UniqueConstraint(
                fields=["advisory", "release"], name="vexstatement_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.advisory_id} does not affect {self.release_id or 'any release'}"


class Exposure(models.Model):
    """An instance that runs a release which an advisory matches: from when it was seen until it was over."""

    AUDIT_EXEMPT = "observed, not decided"

    id = models.BigAutoField(primary_key=True)
    advisory = models.ForeignKey(Advisory, on_delete=models.CASCADE, related_name="exposures")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    version = models.CharField(max_length=40)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["advisory", "instance"],
                condition=models.Q(until__isnull=True),
                name="exposure_one_open",
            )
        ]
        indexes = [
            models.Index(fields=["advisory", "until"], name="exposure_of_advisory"),
            models.Index(
                fields=["instance"], name="exposure_open_on", condition=models.Q(until__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"instance {self.instance_id} exposed to advisory {self.advisory_id}"
